"""`mixlab.frontier`: the recommendation at each of several budgets, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, overload

import pandas as pd

from mixlab.api import given
from mixlab.api.asked import Asked, Asking, at_budget, pose_asked
from mixlab.api.fit import Fit
from mixlab.api.recommend import finished, require_scale
from mixlab.errors import ConfigError, require_kind
from mixlab.hardware import budget_in_flops
from mixlab.mixture import Mixture
from mixlab.search.frontier import frontier as search_frontier
from mixlab.search.frontier import not_falling
from mixlab.search.recommendation import Recommendation
from mixlab.search.words import in_words
from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity

if TYPE_CHECKING:
    from rich.console import RenderableType

MONEY = ("gpu_hours", "dollars")


@dataclass(frozen=True, repr=False)
class Frontier(Shown, Sequence[Recommendation]):
    """Recommendations at several budgets, a row each.

    Attributes:
        answers: in the order in which the budgets were given.
    """

    answers: tuple[Recommendation, ...]

    @overload
    def __getitem__(self, index: int) -> Recommendation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Recommendation]: ...
    def __getitem__(self, index: int | slice) -> Recommendation | Sequence[Recommendation]:
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def notes(self) -> Sequence[str]:
        """What has to be said of any of them."""
        each = [note for one in self.answers for note in one.warnings]
        return list(dict.fromkeys([*not_falling(self.answers), *each]))

    def __repr__(self) -> str:
        low, high = (format_flops(pick(one.flops for one in self.answers)) for pick in (min, max))
        return f"<Frontier of {len(self)} budgets from {low} to {high} FLOPs>"

    def parts(self) -> Iterator[RenderableType]:
        """A row per budget: N, D, D / N, loss, what it costs; the mixtures; and what binds."""
        first = self.answers[0]
        money = [name for name in MONEY if name in first.costs.get("training", {})]
        said = [name.replace("_", " ") for name in money]
        heads = ["FLOPs", *said, "parameters", "tokens", "D/N", "loss", "90% interval"]
        found = table(f"the best at each budget (law {first.law})", heads)
        for one in self.answers:
            found.add_row(
                format_flops(one.flops),
                *(format_quantity(one.costs["training"][name]) for name in money),
                format_quantity(one.params),
                format_quantity(one.tokens),
                f"{one.tokens / one.params:.3g}",
                f"{one.loss['mean']:.4f}",
                f"{one.loss['low']:.4f} to {one.loss['high']:.4f}",
            )
        yield found
        if first.mixture:
            yield self._weights_table()
        for one in self.answers:
            if one.held:
                yield f"{format_flops(one.flops)} FLOPs, held to: {in_words(one.held)}"

    def _weights_table(self) -> RenderableType:
        """The best mixture as a function of C."""
        found = table("weights by budget", ("domain", *(format_flops(one.flops) for one in self.answers)))
        last = self.answers[-1].mixture
        for name in sorted(last, key=lambda name: -last[name]):
            found.add_row(name, *(f"{one.mixture[name]:.3f}" for one in self.answers))
        return found

    def to_frame(self) -> pd.DataFrame:
        """A row per budget: flops, params, tokens, loss, low, high, costs, and `mix.<domain>`."""
        rows = []
        for one in self.answers:
            row: dict[str, Any] = {"flops": one.flops, "params": one.params, "tokens": one.tokens}
            row |= {"loss": one.loss["mean"], "low": one.loss["low"], "high": one.loss["high"]}
            bill = one.costs.get("training", {})
            row |= {name: bill[name] for name in MONEY if name in bill}
            rows.append(row | {f"mix.{name}": weight for name, weight in one.mixture.items()})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """A recommendation per budget, and the notes of all."""
        return {"budgets": [one.to_dict() for one in self.answers], "warnings": list(self.notes)}


def frontier(
    fit: Fit,
    flops: given.Quantities | None = None,
    *,
    dollars: given.Quantities | None = None,
    gpu_hours: given.Quantities | None = None,
    known: Sequence[Recommendation] = (),
    **asking: Unpack[Asking],
) -> Frontier:
    """The recommendation at each of several budgets; without intervals of the optima and baselines.

    Every budget is searched as `recommend` would, and again from the answers at the budgets beside it.

    Args:
        fit: what `mixlab.fit` gave.
        flops: the budgets.
        dollars, gpu_hours: the budgets, in place of `flops`.
        known: answers that are known, to begin from as well.
        asking: what else is asked; see `recommend`.

    Raises:
        ConfigError: without a budget, or where something given cannot be meant.
        RunTableError: when the runs state no N or D.
        InfeasibleError: when no mixture keeps bounds, caps, constraints and limits at a budget.
    """
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    require_scale(fit.problem.runs)
    asked = Asked.read(asking)
    hardware = asked.hardware(fit)
    stated = {"flops": flops, "dollars": dollars, "gpu_hours": gpu_hours}
    named = [name for name, values in stated.items() if values is not None]
    if len(named) != 1:
        raise ConfigError(f"budgets are stated once, but got {' and '.join(named) or 'none'}", "give flops, for one")
    budgets = []
    for value in given.quantities(stated[named[0]], named[0]):
        budget = budget_in_flops(hardware, *(float(value) if name == named[0] else None for name in stated))
        assert budget is not None
        budgets.append(budget)
    there, first = pose_asked(fit, asked, budgets[0])
    questions = [first, *(at_budget(there, asked, first, budget) for budget in budgets[1:])]
    answers = search_frontier(
        there.surface,
        questions,
        observed=there.problem.runs,
        belief=fit.belief,
        known=[Mixture(one.mixture) for one in known if one.mixture],
        seed=there.problem.facts.seed,
    )
    each = zip(answers, questions, strict=True)
    return Frontier(tuple(finished(one, there, question, asked, hardware) for one, question in each))
