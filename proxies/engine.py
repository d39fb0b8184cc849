"""What trains a stack of runs step by step: the contract, and the engine on PyTorch.

An engine holds the whole state of K members of one shape and nothing about text, schedules or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixlab.errors import SweepError
from mixlab.shapes import ModelShape
from mixlab.specs import RunSpec
from proxies.compute import Compute
from proxies.model import Stack
from proxies.native.engine import NativeEngine
from proxies.optim import AdamW

SCORED_PER_PASS = 16  # sequences


class Engine(Protocol):
    """Members of one shape; they share nothing, and each is trained as it would be alone.

    Attributes:
        flat, first, second: parameters and AdamW's moments, each of shape (K, P), fp32; may be written between calls.
    """

    flat: Tensor
    first: Tensor
    second: Tensor

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> NDArray[np.float32]:
        """Do S steps.

        Args:
            sequences: token ids, shape (K, sum of sizes, T + 1), step after step.
            sizes: sequences in each step's batch, length S.
            factors: share of the peak learning rate at each step, length S.
            first_step: how many steps these parameters have seen before.

        Returns:
            Mean loss of each batch in nats per token, shape (K, S). A member that is no longer finite has NaN.
        """
        ...

    def score(self, sequences: NDArray[np.int32]) -> NDArray[np.float64]:
        """Mean loss of each of the same `sequences`, shape (n, T + 1), under every member: shape (K, n)."""
        ...

    def describe(self) -> dict[str, str]:
        """What a record should say of how it went, beside device, engine and precision."""
        ...


def make_engine(compute: Compute, specs: Sequence[RunSpec]) -> Engine:
    """The engine of runs that can be stacked, at their initial parameters."""
    shape = specs[0].shape
    seeds, recipes = [spec.seed for spec in specs], [spec.recipe for spec in specs]
    if compute.engine == "native":
        return NativeEngine(shape, seeds, recipes, compute.precision == "bf16")
    stack = Stack(shape, seeds, torch.device(compute.device))
    return TorchEngine(stack, AdamW(stack.flat, shape, recipes), compute.precision)


class TorchEngine:
    """See `Engine`. Where a pass over a batch does not fit into memory, it is cut into smaller ones for good.

    Args:
        stack: the members.
        optimizer: over `stack.flat`.
        precision: of the operands of matrix products.
    """

    def __init__(self, stack: Stack, optimizer: AdamW, precision: str) -> None:
        self._stack, self._optimizer = stack, optimizer
        self._bf16 = precision == "bf16"
        self._members, self._sequences = stack.members, 1 << 30  # in one pass
        self._cut = False
        self.flat, self.first, self.second = stack.flat, optimizer.first, optimizer.second

    @property
    def shape(self) -> ModelShape:
        return self._stack.shape

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> NDArray[np.float32]:
        """See `Engine.train`."""
        text = torch.from_numpy(sequences).to(self._stack.device).long()
        losses = [
            self._step(batch, first_step + index, factor)
            for index, (batch, factor) in enumerate(zip(text.split(list(sizes), dim=1), factors, strict=True))
        ]
        return torch.stack(losses, dim=1).cpu().numpy()

    @torch.no_grad()
    def score(self, sequences: NDArray[np.int32]) -> NDArray[np.float64]:
        """See `Engine.score`."""
        text = torch.from_numpy(sequences).to(self._stack.device).long()
        parts = [
            self._stack.losses(chunk.expand(self._stack.members, -1, -1)).double().mean(dim=2)
            for chunk in text.split(SCORED_PER_PASS)
        ]
        return torch.cat(parts, dim=1).cpu().numpy()

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        if not self._cut:
            return {}
        return {"out_of_memory": f"passes cut to {self._sequences} sequences of {self._members} models"}

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
            raise SweepError(
                f"one sequence of {self.shape.context} tokens through one model of {self.shape.params:,} parameters "
                f"does not fit into the memory of {self._stack.device}",
                "choose smaller proxies.sizes, or a shorter proxies.context",
            )
        if self._stack.device.type == "cuda":
            torch.cuda.empty_cache()
