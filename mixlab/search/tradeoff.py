"""Two objectives at once: the optima of (1 - w) A + w B along w, which are the convex part of their Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mixlab.laws.surface import Draw, Surface
from mixlab.mixture import Mixture
from mixlab.objective import Objective
from mixlab.search.frontier import trace
from mixlab.search.held import require_limits
from mixlab.search.optimum import pose
from mixlab.search.question import Question

WHOLE = 1e-12  # a smaller weight is none


@dataclass(frozen=True)
class TradeOffPoint:
    """The optimum at one weight.

    Attributes:
        weight: w, of B.
        first, second: predicted A and B.
        mixture, params, tokens: what gives them.
        losses: by column.
    """

    weight: float
    first: float
    second: float
    mixture: dict[str, float]
    params: float
    tokens: float
    losses: dict[str, float]


def trade_off(
    surface: Surface,
    second: Draw,
    question: Question,
    weights: Sequence[float],
    starts: list[Mixture],
    seed: int = 0,
) -> list[TradeOffPoint]:
    """Search (1 - w) A + w B at each weight, each also from the answers at its neighbours.

    Args:
        surface: of A.
        second: of B; where both have a column, A's fit is used.
        question: what is asked.
        weights: w, ascending.
        starts: mixtures to begin from.
        seed: of the searches' random starts.

    Raises:
        InfeasibleError: when no mixture keeps bounds, caps, constraints and limits.
    """
    first = surface.point
    both = replace(first, blends={**second.blends, **first.blends})
    posed = pose(surface, question)
    points = [(replace(both, weights=_mean(first.weights, second.weights, weight)), posed) for weight in weights]
    found = trace(points, starts, seed=seed)
    rows = []
    for weight, (draw, _), best in zip(weights, points, found, strict=True):
        require_limits(draw, question, best.mixture, best.params, best.tokens)
        h = best.mixture.array(first.domains) if best.mixture is not None else None
        losses = {
            column: float(replace(both, weights={column: 1.0}).predict(h, best.params, best.tokens)[0])
            for column in {**first.weights, **second.weights}
        }
        rows.append(
            TradeOffPoint(
                weight=float(weight),
                first=Objective(tuple(first.weights.items())).of(losses),
                second=Objective(tuple(second.weights.items())).of(losses),
                mixture=dict(best.mixture) if best.mixture is not None else {},
                params=best.params,
                tokens=best.tokens,
                losses=losses,
            )
        )
    return rows


def _mean(first: Mapping[str, float], second: Mapping[str, float], weight: float) -> dict[str, float]:
    columns = {**first, **second}
    mean = {name: (1 - weight) * first.get(name, 0.0) + weight * second.get(name, 0.0) for name in columns}
    return {name: value for name, value in mean.items() if value > WHOLE}
