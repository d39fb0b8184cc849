"""`mixlab.trade_off`: what one objective costs the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd

from mixlab.api import given
from mixlab.api.asked import Asked, Asking, pose_asked
from mixlab.api.fit import Fit, fit_problem
from mixlab.api.recommend import budget_of, require_scale
from mixlab.errors import ConfigError, require_kind
from mixlab.objective import Objective
from mixlab.search.frontier import starts_of
from mixlab.search.tradeoff import TradeOffPoint
from mixlab.search.tradeoff import trade_off as search_trade_off
from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

POINTS = 11


@dataclass(frozen=True, repr=False)
class TradeOff(Shown):
    """Two objectives along a path from one to the other.

    Attributes:
        flops: C.
        first, second: the objectives A and B, weights by loss column.
        points: the optima of (1 - w) A + w B, by ascending w.
        law: who predicts A.
        warnings: in words.
    """

    flops: float
    first: dict[str, float]
    second: dict[str, float]
    points: tuple[TradeOffPoint, ...]
    law: str
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def __repr__(self) -> str:
        ends = f"{self.points[0].first:.4f} to {self.points[-1].first:.4f}"
        return (
            f"<TradeOff of {said(self.first)} ({ends}) against {said(self.second)} at {format_flops(self.flops)} FLOPs>"
        )

    def parts(self) -> Iterator[RenderableType]:
        """A row per weight: both objectives, N, and the mixture."""
        domains = list(self.points[0].mixture)
        heads = ["weight", said(self.first), said(self.second), "parameters", *domains]
        found = table(f"{said(self.first)} against {said(self.second)} at {format_flops(self.flops)} FLOPs", heads)
        for one in self.points:
            weights = (f"{one.mixture[name]:.3f}" for name in domains)
            found.add_row(
                f"{one.weight:.2f}", f"{one.first:.4f}", f"{one.second:.4f}", format_quantity(one.params), *weights
            )
        yield found

    def to_frame(self) -> pd.DataFrame:
        """A row per weight: weight, first, second, params, tokens, the losses, and `mix.<domain>`."""
        rows = []
        for one in self.points:
            row = {"weight": one.weight, "first": one.first, "second": one.second}
            row |= {"params": one.params, "tokens": one.tokens, **one.losses}
            rows.append(row | {f"mix.{name}": weight for name, weight in one.mixture.items()})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab recommend --against --json`."""
        return {**asdict(self), "points": [asdict(one) for one in self.points], "warnings": list(self.warnings)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw one objective against the other."""
        axes: Axes = resolve("analysis.plots.face:plot_tradeoff")(self, ax)
        return axes


def trade_off(
    fit: Fit,
    against: given.Weights | str,
    flops: given.Quantity | None = None,
    *,
    points: int = POINTS,
    **asking: Unpack[Asking],
) -> TradeOff:
    """The best mixtures between two objectives: those of (1 - w) A + w B for w from 0 to 1.

    Args:
        fit: of the objective A.
        against: B, a loss or weights over several: `{"code": 1}`.
        flops: the budget; absent: the study's target.
        points: weights w.
        asking: what else is asked; see `recommend`.

    Raises:
        ConfigError: when B is A, or something given cannot be meant.
        InfeasibleError: when no mixture keeps bounds, caps, constraints and limits.
        FitError: when the runs cannot carry a law of B.
    """
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    require_scale(fit.problem.runs)
    asked = Asked.read(asking)
    if asked.mix is not None or asked.worst_group is not None:
        raise ConfigError("a trade-off is between mixtures of two objectives, but mix or worst_group leaves none")
    alone = against if isinstance(against, str) else None
    second = given.objective(fit.runs, alone, None if isinstance(against, str) else against)
    if second is None or dict(second) == dict(fit.surface.objective):
        raise ConfigError("a trade-off needs another objective than the fit's", "name it in against")
    count = given.count(points, "points", 2)
    budget = budget_of(fit, asked, given.quantity(flops, "flops"))
    there, question = pose_asked(fit, asked, budget)
    if question.measures:
        raise ConfigError(
            "the study minimises its worst group, which is no mean of losses", "leave target.worst_group out"
        )
    surface, problem = there.surface, there.problem
    missing = [column for column in second if column not in surface.point.blends]
    other = replace(surface.point, weights=dict(second))
    warnings = list(surface.warnings)
    if missing:
        beside = fit_problem(
            replace(
                problem,
                facts=replace(
                    problem.facts,
                    objective=Objective.equal(missing) if len(missing) > 1 else Objective.column(missing[0]),
                ),
            )
        ).surface
        other = replace(other, blends={**surface.point.blends, **beside.point.blends})
        warnings += beside.warnings
    starts = starts_of(surface, question, problem.runs)
    rows = search_trade_off(surface, other, question, np.linspace(0, 1, count).tolist(), starts, problem.facts.seed)
    return TradeOff(
        flops=question.flops,
        first=dict(surface.objective),
        second=dict(second),
        points=tuple(rows),
        law=surface.law,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def said(objective: Mapping[str, float]) -> str:
    """An objective in words."""
    return str(Objective(tuple(objective.items())))
