"""Cross-entropy and RMS scaling with their derivatives written out.

Autograd's composition of these two takes a third of a small model's step on a CPU: it keeps log-probabilities where
the gradient wants probabilities, fills a one-hot matrix, and differentiates the norm in a dozen element-wise passes.
Inductor fuses all of that by itself, and better where it sees PyTorch's own functions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor

from proxies.model.parameters import NORM_EPSILON


class _CrossEntropy(torch.autograd.Function):
    """Loss by row; saves the probabilities, from which the gradient is one subtraction away."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        probabilities = torch.softmax(logits, dim=-1)
        highest, index = logits.max(dim=-1, keepdim=True)
        # log of the sum of exponentials, by the one probability that cannot underflow
        log_sum = highest - probabilities.gather(-1, index).log_()
        ctx.save_for_backward(probabilities, targets)
        return (log_sum - logits.gather(-1, targets.unsqueeze(-1))).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        probabilities, targets = ctx.saved_tensors
        scale = grads[0].unsqueeze(-1)
        return (probabilities * scale).scatter_add_(-1, targets.unsqueeze(-1), -scale), None


class _UnitScale(torch.autograd.Function):
    """x / rms(x) over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inverse = (
            torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_()
        )
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        y, inverse = ctx.saved_tensors
        grad = grads[0]
        along = (grad * y).sum(dim=-1, keepdim=True).div_(-y.shape[-1])
        return torch.addcmul(grad, y, along) * inverse


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(logits)[target] in nats: (..., V), (...) -> (...)."""
    if torch.compiler.is_compiling():
        return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
    return _CrossEntropy.apply(logits, targets)


def unit_scale(x: Tensor) -> Tensor:
    """`x` scaled to a root mean square of 1 over its last dimension (RMSNorm without gain, Zhang & Sennrich 2019)."""
    if torch.compiler.is_compiling():
        return F.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)
    return _UnitScale.apply(x)
