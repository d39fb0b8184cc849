"""The engine on PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixlab.errors import SweepError
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.engine import State
from proxies.model.memory import SCORED_PER_PASS
from proxies.model.parameters import Floats, initial_parameters
from proxies.pytorch.compiled import WithFallback, compiled, with_free_size
from proxies.pytorch.optim import AdamW
from proxies.pytorch.stack import ModelStack


class TorchEngine:
    """An `Engine`. Where a pass does not fit into memory, passes are cut into smaller ones for good.

    Args:
        shape: of every member.
        seeds: one per member.
        recipes: one per member; they may differ in the learning rate alone.
        device: "cpu" or "cuda".
        bf16: whether matrix products take bf16 operands.
        compile: whether steps are compiled, and on a GPU replayed as CUDA graphs; where that fails, they are eager.
    """

    def __init__(
        self,
        shape: ModelShape,
        seeds: Sequence[int],
        recipes: Sequence[Recipe],
        device: str,
        bf16: bool,
        compile: bool = False,
    ) -> None:
        parameters = np.stack([initial_parameters(shape, seed) for seed in seeds])
        self._stack = ModelStack(shape, parameters, torch.device(device))
        self._optimizer = AdamW(self._stack.flat, shape, recipes, compile)
        self.device = torch.cuda.get_device_name() if device == "cuda" else device
        self._bf16 = bf16
        self._members, self._sequences = len(seeds), sys.maxsize  # at most in one pass
        self._cut = False
        self._compiled = WithFallback(self._compiled_pass(), self._eager_pass) if compile else None
        self._pass = self._compiled or self._eager_pass

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Floats:
        """See `Engine.train`."""
        text = torch.from_numpy(sequences).to(self._stack.device).long()
        scales = self._optimizer.scales(first_step, factors)
        losses = [self._step(batch, scale) for batch, scale in zip(text.split(list(sizes), dim=1), scales, strict=True)]
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
        about = {"torch": str(torch.__version__), "compile": self._compile_status()}
        if self._cut:
            about["out_of_memory"] = f"passes cut to {self._sequences} sequences of {self._members} models"
        return about

    def _compile_status(self) -> str:
        if self._compiled is None:
            return "off"
        failure = self._compiled.failure or self._optimizer.failure
        return f"failed, {failure}" if failure else "on"

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._stack.flat, self._optimizer.first, self._optimizer.second

    def _step(self, batch: Tensor, scales: Tensor) -> Tensor:
        while True:
            try:
                losses, gradient = self._gradient(batch)
            except torch.OutOfMemoryError:
                pass  # as long as it is being handled, its traceback keeps what was computed
            else:
                self._optimizer.step(gradient, scales)
                return losses
            self._cut_passes(batch.shape[1])

    def _gradient(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's mean losses, shape (K,), and each member's gradient of its own, shape (K, P)."""
        flat, count = self._stack.flat, batch.shape[1]
        if self._members >= self._stack.members and self._sequences >= count:
            return self._pass(flat, batch)
        losses, gradient = torch.zeros(len(flat), device=flat.device), torch.zeros_like(flat, requires_grad=False)
        for first in range(0, self._stack.members, self._members):
            members = slice(first, first + self._members)
            leaf = flat.detach()[members].requires_grad_()
            for part in batch[members].split(self._sequences, dim=1):
                found, slopes = self._pass(leaf, part)
                losses[members].add_(found, alpha=part.shape[1] / count)
                gradient[members].add_(slopes, alpha=part.shape[1] / count)
        return losses, gradient

    def _eager_pass(self, flat: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (k,) and gradients (k, P) of the k members whose parameters are `flat`."""
        return self._differentiated(self._stack.mean_losses, flat, sequences)

    def _compiled_pass(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Like `_eager_pass`; on a GPU its gradients are overwritten by the next pass."""
        graphs = self._stack.device.type == "cuda"
        mean_losses = compiled(self._stack.mean_losses, graphs)

        def run(flat: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor]:
            if graphs:
                torch.compiler.cudagraph_mark_step_begin()
                torch._dynamo.mark_static_address(self._stack.flat)  # else every replay would copy all parameters
            losses, gradient = self._differentiated(mean_losses, flat, with_free_size(sequences, 1))
            return losses.clone(), gradient

        return run

    def _differentiated(
        self, mean_losses: Callable[[Tensor, Tensor], Tensor], flat: Tensor, sequences: Tensor
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(self._stack.device.type, torch.bfloat16, enabled=self._bf16):
            losses = mean_losses(flat, sequences)
        # Members share no parameter, so the sum of their mean losses has each member's own gradient.
        (gradient,) = torch.autograd.grad(losses, flat, torch.ones_like(losses))
        return losses.detach(), gradient

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
            if self._compiled is not None:
                torch.compiler.reset()  # graphs of larger passes keep their memory
            torch.cuda.empty_cache()
