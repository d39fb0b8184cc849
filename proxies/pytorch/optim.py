"""AdamW over the flat buffer of a stack.

The whole state is three tensors of shape (K, P), and a step is a handful of in-place operations, whatever the number
of layers. Each member has its own rate and its own gradient clipping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from proxies.parameters import peak_decays, peak_rates
from proxies.recipe import ADAM_EPSILON


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.

    Args:
        flat: parameters, shape (K, P), updated in place from `flat.grad`, which `step` consumes.
        shape: for the rate and the decay of each parameter.
        recipes: one per member; they may differ in the learning rate alone.
    """

    def __init__(self, flat: Tensor, shape: ModelShape, recipes: Sequence[Recipe]) -> None:
        self._flat = flat
        self._recipe = recipes[0]
        self._rate = torch.from_numpy(peak_rates(shape, recipes)).to(flat.device)
        self._decay = torch.from_numpy(peak_decays(shape, recipes)).to(flat.device)
        self.first = torch.zeros_like(flat, requires_grad=False)
        self.second = torch.zeros_like(flat, requires_grad=False)

    @torch.no_grad()
    def step(self, step: int, factor: float) -> None:
        """Update number `step` (from 0) at `factor` of the peak rates."""
        beta1, beta2 = self._recipe.beta1, self._recipe.beta2
        grad, self._flat.grad = self._flat.grad, None
        assert grad is not None
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        grad.mul_((self._recipe.clip_norm / (norm + 1e-6)).clamp_(max=1.0))
        self.first.lerp_(grad, 1 - beta1)
        self.second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = self.second.sqrt().div_(math.sqrt(1 - beta2 ** (step + 1))).add_(ADAM_EPSILON)
        self._flat.addcmul_(self._decay, self._flat, value=-factor)
        self._flat.addcdiv_(self.first * self._rate, denominator, value=-factor / (1 - beta1 ** (step + 1)))
