"""Points of the compute-optimal frontier, as figures and the report show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixlab.api.fit import Fit
from mixlab.api.frontier import frontier
from mixlab.search.recommendation import Recommendation

STEPS = 25  # budgets along the frontier


@dataclass(frozen=True)
class FrontierPoint:
    """The best that the law knows at one budget: FLOPs, N, D, and the loss with its 90% interval, nats per token."""

    flops: float
    params: float
    tokens: float
    loss: float
    low: float
    high: float
    mixture: dict[str, float]

    @classmethod
    def of(cls, answer: Recommendation) -> FrontierPoint:
        """A recommendation as a point."""
        loss = answer.loss
        return cls(
            flops=float(answer.flops),
            params=float(answer.params),
            tokens=float(answer.tokens),
            loss=float(loss["mean"]),
            low=float(loss["low"]),
            high=float(loss["high"]),
            mixture=dict(answer.mixture),
        )


def trace_frontier(fit: Fit, until: float) -> list[FrontierPoint]:
    """The best mixture, size and tokens at `STEPS` budgets from the smallest run's to twice `until`."""
    start = float(fit.runs.flops().min())
    budgets = np.geomspace(start, 2 * max(until, fit.surface.max_flops), STEPS)
    return [FrontierPoint.of(one) for one in frontier(fit, [float(budget) for budget in budgets])]
