"""Training and serving as one cost (Sardana and Frankle 2024, "Beyond Chinchilla-Optimal", 2401.00448).

A model of N parameters that is trained on D tokens and will read and write S tokens in its life costs, at F(N) training
FLOPs per token,

    C = F(N) D + F(N) S / 3,        with F(N) = 6 N:  C = 6 N D + 2 N S,

since a forward pass is a third of a training step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.runs.cost import Cost

FORWARD = 1 / 3  # of the FLOPs of a training step: the backward pass costs twice the forward pass
ALMOST_NONE = 1e-30  # tokens, where serving alone takes more than the budget: any law calls that a bad model


@dataclass(frozen=True)
class ServedCost:
    """The cost of training and of serving `served` tokens: a `Cost` like any other.

    Attributes:
        training: what training costs.
        served: tokens S, read or written.
    """

    training: Cost
    served: float

    def flops(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """C = F(N) (D + S / 3)."""
        return self.training.flops(params, np.asarray(tokens, dtype=float) + FORWARD * self.served)

    def tokens(self, flops: ArrayLike, params: ArrayLike) -> NDArray[np.float64]:
        """D = C / F(N) - S / 3."""
        return np.maximum(self.training.tokens(flops, params) - FORWARD * self.served, ALMOST_NONE)

    def serving_flops(self, params: ArrayLike) -> NDArray[np.float64]:
        """F(N) S / 3."""
        return self.training.flops(params, FORWARD * self.served)


def training_flops(cost: Cost, params: float, tokens: float) -> float:
    """FLOPs of training alone, also where a cost counts more."""
    return float((cost.training if isinstance(cost, ServedCost) else cost).flops(params, tokens))


def serving_flops(cost: Cost, params: float) -> float:
    """FLOPs of serving, where a cost counts it."""
    return float(cost.serving_flops(params)) if isinstance(cost, ServedCost) else 0.0
