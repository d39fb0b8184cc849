"""AdamW over the flat buffer of a stack, with muP's learning rate by kind of parameter.

The whole state is three tensors of shape (K, P), and a step is a handful of in-place operations, whatever the number
of layers. Each member has its own rate and its own gradient clipping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from proxies.model import parameter_shapes
from proxies.recipe import BASE_WIDTH

EPSILON = 1e-8


def rate_multipliers(shape: ModelShape) -> Tensor:
    """Learning-rate multiplier of each parameter, shape (P,).

    Matrices take BASE_WIDTH / width, the embedding and the norms 1 (Yang et al. 2022, table 8, for Adam).
    """
    return _by_parameter(shape, lambda name: 1.0 if _is_vector_like(name) else BASE_WIDTH / shape.width)


def decay_mask(shape: ModelShape) -> Tensor:
    """1 where weight decay applies (matrices inside the network and the head), else 0, shape (P,)."""
    return _by_parameter(shape, lambda name: 0.0 if _is_vector_like(name) else 1.0)


def _is_vector_like(name: str) -> bool:
    return name == "embed" or name.endswith("norm")


def _by_parameter(shape: ModelShape, value: Callable[[str], float]) -> Tensor:
    return torch.cat([torch.full((math.prod(size),), value(name)) for name, size in parameter_shapes(shape).items()])


def rates(shape: ModelShape, recipes: Sequence[Recipe]) -> Tensor:
    """Peak learning rate of each parameter of each member, shape (K, P)."""
    return torch.tensor([[recipe.learning_rate] for recipe in recipes]) * rate_multipliers(shape)


def decays(shape: ModelShape, recipes: Sequence[Recipe]) -> Tensor:
    """What weight decay takes of each parameter in a step at the peak rate, shape (K, P)."""
    return rates(shape, recipes) * decay_mask(shape) * recipes[0].weight_decay


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.

    Args:
        flat: parameters, shape (K, P), updated in place from `flat.grad`, which `step` consumes.
        shape: for the multipliers.
        recipes: one per member; they may differ in the learning rate alone.
    """

    def __init__(self, flat: Tensor, shape: ModelShape, recipes: Sequence[Recipe]) -> None:
        self._flat = flat
        self._recipe = recipes[0]
        self._rate = rates(shape, recipes).to(flat.device)
        self._decay = decays(shape, recipes).to(flat.device)
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
        denominator = self.second.sqrt().div_(math.sqrt(1 - beta2 ** (step + 1))).add_(EPSILON)
        self._flat.addcmul_(self._decay, self._flat, value=-factor)
        self._flat.addcdiv_(self.first * self._rate, denominator, value=-factor / (1 - beta1 ** (step + 1)))
