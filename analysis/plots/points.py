"""Points of the compute-optimal frontier, as figures and the report show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from mixlab.api.asked import Asking
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


def trace_frontier(
    fit: Fit, until: float, answer: Recommendation | None = None, **asking: Unpack[Asking]
) -> list[FrontierPoint]:
    """The best mixture, size and tokens at `STEPS` budgets from the smallest run's to twice `until`.

    Args:
        fit: a fit whose runs vary N apart from D.
        until: FLOPs.
        answer: a recommendation, whose budget is one of them, and where the curve goes through it or below it; what it
            was asked is asked at every budget.
        asking: what else is asked; see `mixlab.recommend`.
    """
    start = float(fit.runs.flops().min())
    budgets = np.geomspace(start, 2 * max(until, fit.surface.max_flops), STEPS)
    if answer is not None and start <= answer.flops <= budgets[-1]:
        budgets[np.argmin(np.abs(np.log(budgets / answer.flops)))] = answer.flops
        asking = {**answer.asked, **asking}  # type: ignore[typeddict-item]  # what was asked are keywords
    known = [answer] if answer is not None else []
    return [FrontierPoint.of(one) for one in frontier(fit, budgets.tolist(), known=known, **asking)]
