"""AdamW over the flat buffer of a stack.

The whole state is three tensors of shape (K, P), and a step is a handful of in-place operations, whatever the number
of layers. Each member has its own rate and its own gradient clipping.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.parameters import peak_decays, peak_rates
from proxies.model.recipe import ADAM_EPSILON, CLIP_EPSILON
from proxies.pytorch.compiled import WithFallback, compiled


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.

    Args:
        flat: parameters, shape (K, P), updated in place.
        shape: for the rate and the decay of each parameter.
        recipes: one per member; they may differ in the learning rate alone.
        compile: whether the update is compiled into one pass over the buffers.

    Attributes:
        first, second: the moments, each of shape (K, P).
        failure: why the update is not compiled though it should be; else empty.
    """

    def __init__(self, flat: Tensor, shape: ModelShape, recipes: Sequence[Recipe], compile: bool = False) -> None:
        self._flat = flat.detach()
        self._recipe = recipes[0]
        self._rate = torch.from_numpy(peak_rates(shape, recipes)).to(flat.device)
        self._decay = torch.from_numpy(peak_decays(shape, recipes)).to(flat.device)
        self.first, self.second = torch.zeros_like(self._flat), torch.zeros_like(self._flat)
        self._update = WithFallback(compiled(_update), _update) if compile else _update

    @property
    def failure(self) -> str:
        return self._update.failure if isinstance(self._update, WithFallback) else ""

    def scales(self, first_step: int, factors: Sequence[float]) -> Tensor:
        """What differs from step to step, for steps from `first_step` (from 0) at these shares of the peak rates.

        Returns:
            Shape (S, 3), on the device: the share of the decay, and what corrects the bias of the first moment, the
            share of the rate included, and of the root of the second.
        """
        done = np.arange(first_step + 1, first_step + 1 + len(factors))
        shares = np.asarray(factors, dtype=np.float64)
        first = shares / (1 - self._recipe.beta1**done)
        second = 1 / np.sqrt(1 - self._recipe.beta2**done)
        return torch.from_numpy(np.stack([shares, first, second], axis=1).astype(np.float32)).to(self._flat.device)

    @torch.no_grad()
    def step(self, gradient: Tensor, scales: Tensor) -> None:
        """One update from `gradient`, shape (K, P); `scales` is a row of what `scales` gives."""
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        clip = (self._recipe.clip_norm / (norm + CLIP_EPSILON)).clamp_(max=1.0)
        state, rates = (self._flat, self.first, self.second), (self._rate, self._decay)
        self._update(state, rates, gradient, clip, scales, (self._recipe.beta1, self._recipe.beta2))


def _update(
    state: tuple[Tensor, Tensor, Tensor],
    rates: tuple[Tensor, Tensor],
    gradient: Tensor,
    clip: Tensor,
    scales: Tensor,
    betas: tuple[float, float],
) -> None:
    """Element by element, so that inductor makes it one pass; what a step sets is a tensor, so that it does so once."""
    (flat, first, second), (rate, decay) = state, rates
    share, correction, root_correction = scales.unbind()
    gradient = gradient * clip
    first.lerp_(gradient, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    denominator = second.sqrt().mul_(root_correction).add_(ADAM_EPSILON)
    flat.addcmul_(decay * flat, share, value=-1)
    flat.addcdiv_((first * rate).mul_(correction), denominator, value=-1)
