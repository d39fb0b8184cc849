"""The engine on PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixlab.errors import SweepError
from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from proxies.engine import State
from proxies.parameters import Floats, initial_parameters
from proxies.pytorch.model import Stack
from proxies.pytorch.optim import AdamW

SCORED_PER_PASS = 16  # sequences


class TorchEngine:
    """See `proxies.engine.Engine`. Where a pass does not fit into memory, passes are cut into smaller ones for good.

    Args:
        shape: of every member.
        seeds: one per member.
        recipes: one per member; they may differ in the learning rate alone.
        device: "cpu" or "cuda".
        bf16: whether matrix products take bf16 operands.
    """

    def __init__(
        self, shape: ModelShape, seeds: Sequence[int], recipes: Sequence[Recipe], device: str, bf16: bool
    ) -> None:
        parameters = np.stack([initial_parameters(shape, seed) for seed in seeds])
        self._stack = Stack(shape, parameters, torch.device(device))
        self._optimizer = AdamW(self._stack.flat, shape, recipes)
        self.device = torch.cuda.get_device_name() if device == "cuda" else device
        self._bf16 = bf16
        self._members, self._sequences = len(seeds), 1 << 30  # in one pass
        self._cut = False

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Floats:
        """See `Engine.train`."""
        text = torch.from_numpy(sequences).to(self._stack.device).long()
        losses = [
            self._step(batch, first_step + index, factor)
            for index, (batch, factor) in enumerate(zip(text.split(list(sizes), dim=1), factors, strict=True))
        ]
        return torch.stack(losses, dim=1).cpu().numpy()

    @torch.no_grad()
    def score(self, sequences: NDArray[np.int32]) -> Floats:
        """See `Engine.score`."""
        text = torch.from_numpy(sequences).to(self._stack.device).long()
        parts = [
            self._stack.losses(chunk.expand(self._stack.members, -1, -1)).cpu() for chunk in text.split(SCORED_PER_PASS)
        ]
        return torch.cat(parts, dim=1).numpy()

    def state(self) -> State:
        """See `Engine.state`."""
        return State(*(tensor.detach().cpu().numpy().copy() for tensor in self._tensors()))

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        for tensor, values in zip(self._tensors(), state, strict=True):
            tensor.copy_(torch.from_numpy(values))

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        about = {"torch": str(torch.__version__)}
        if self._cut:
            about["out_of_memory"] = f"passes cut to {self._sequences} sequences of {self._members} models"
        return about

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._stack.flat, self._optimizer.first, self._optimizer.second

    def _step(self, batch: Tensor, step: int, factor: float) -> Tensor:
        while True:
            try:
                losses = self._gradient(batch)
            except torch.OutOfMemoryError:
                self._stack.flat.grad = None
                self._cut_passes(batch.shape[1])
                continue
            self._optimizer.step(step, factor)
            return losses

    def _gradient(self, batch: Tensor) -> Tensor:
        """Leave the gradient of the batch's mean losses in `flat.grad`; returns them, shape (K,)."""
        losses = torch.zeros(self._stack.members, device=self._stack.device)
        for first in range(0, self._stack.members, self._members):
            members = slice(first, first + self._members)
            for part in batch[members].split(self._sequences, dim=1):
                with torch.autocast(self._stack.device.type, torch.bfloat16, enabled=self._bf16):
                    by_token = self._stack.losses(part, first)
                share = by_token.mean(dim=(1, 2)) * (part.shape[1] / batch.shape[1])
                # Members share no parameter, so the sum of their mean losses has each member's own gradient.
                share.sum().backward()
                losses[members] += share.detach()
        return losses

    def _cut_passes(self, sequences: int) -> None:
        """Halve the sequences of a pass, and where there is one left its members.

        Raises:
            SweepError: when one sequence of one member is too much.
        """
        self._cut = True
        self._sequences = min(self._sequences, sequences)
        if self._sequences > 1:
            self._sequences = (self._sequences + 1) // 2
        elif self._members > 1:
            self._members = (self._members + 1) // 2
        else:
            shape = self._stack.shape
            raise SweepError(
                f"one sequence of {shape.context} tokens through one model of {shape.params:,} parameters "
                f"does not fit into the memory of {self._stack.device}",
                "choose smaller proxies.sizes, or a shorter proxies.context",
            )
        if self._stack.device.type == "cuda":
            torch.cuda.empty_cache()
