"""Fits that are no surface of a loss: isoFLOP profiles, and the two steps to an accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixlab.api import given
from mixlab.api.fit_tables import budgets_table, fit_parts, forms_table
from mixlab.errors import require_kind
from mixlab.laws.isoflop import fit_isoflop as fit_profiles
from mixlab.laws.profiles import Profile
from mixlab.laws.result import FitResult
from mixlab.runs.read import ColumnMap, RunsLike, read_runs
from mixlab.runs.table import Runs
from mixlab.shown import Shown
from mixlab.tasks.two_step import TwoStep, fit_two_step
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class IsoflopFit(Shown):
    """N* = G C^a and D* = H C^b from the profiles of a table (approach 2 of Hoffmann et al. 2022).

    Attributes:
        runs: the rows.
        result: the exponents and factors, with intervals.
        profiles: every budget, also those that do not count.
    """

    runs: Runs
    result: FitResult
    profiles: tuple[Profile, ...]

    @property
    def law(self) -> str:
        return self.result.law

    @property
    def status(self) -> str:
        return self.result.status

    @property
    def params(self) -> dict[str, float]:
        """a, G, b, H, and how many budgets count."""
        return dict(self.result.params)

    @property
    def notes(self) -> Sequence[str]:
        return self.result.warnings

    def __repr__(self) -> str:
        usable, count = sum(profile.tag == "ok" for profile in self.profiles), len(self.profiles)
        return f"<IsoflopFit of {self.result.target}: N* ~ C^{self.params['a']:.3f}, {usable} of {count} budgets>"

    def parts(self) -> Iterator[RenderableType]:
        """The budgets, and the exponents."""
        yield budgets_table(self.profiles)
        yield from fit_parts(self.result)

    def to_frame(self) -> pd.DataFrame:
        """A row per budget: C, how many runs, N*, and whether it counts."""
        return pd.DataFrame([profile.to_dict() for profile in self.profiles])

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab fit --law isoflop --json`."""
        return {**self.result.to_dict(), "selection": [], "budgets": [profile.to_dict() for profile in self.profiles]}

    def plot_isoflop(self, ax: Axes | None = None) -> Axes:
        """Loss against N at each budget."""
        axes: Axes = resolve("analysis.plots.face:plot_isoflop")(self.runs, ax, target=self.result.target)
        return axes


@dataclass(frozen=True, repr=False)
class TaskFit(Shown):
    """A benchmark's accuracy by way of a loss: both steps, fitted.

    Attributes:
        chain: the two steps.
    """

    chain: TwoStep

    @property
    def result(self) -> FitResult:
        """The curve of step 2, as it is printed."""
        return self.chain.fits[self.chain.target]

    @property
    def law(self) -> str:
        return self.chain.law

    @property
    def status(self) -> str:
        return self.result.status

    @property
    def params(self) -> dict[str, float]:
        """Of the curve."""
        return dict(self.result.params)

    @property
    def notes(self) -> Sequence[str]:
        return self.chain.warnings

    def __repr__(self) -> str:
        return f"<TaskFit of {self.chain.target}: {self.chain.surface.law}, then {self.chain.curve.form.name}>"

    def parts(self) -> Iterator[RenderableType]:
        """The laws of step 1, and the curves of step 2."""
        yield from fit_parts(self.result, self.chain.surface.selection)
        yield forms_table(self.chain.steps()["step_2"])

    def to_frame(self) -> pd.DataFrame:
        """A row per parameter of the curve."""
        rows = []
        for name, value in self.params.items():
            low, high = self.result.interval.get(name, (np.nan, np.nan))
            rows.append({"parameter": name, "value": value, "low": low, "high": high})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab fit --law two-step --json`."""
        data = {**self.result.to_dict(), "warnings": list(self.notes), "selection": self.chain.surface.selection}
        return {**data, **self.chain.steps()}


def fit_isoflop(
    runs: RunsLike,
    target: str = "loss",
    *,
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    bootstrap: int = 200,
    params_column: str | None = None,
    seed: int = 0,
) -> IsoflopFit:
    """Fit a parabola per budget and the optima against C: approach 2, beside the parametric law in its notes.

    Args:
        runs, where, columns, scale, mixture: see `mixlab.read_runs`.
        target: the loss column, or the evaluation set's name.
        bootstrap: resamples of the residuals around the parabolas.
        params_column: which column is N.
        seed: of the resamples.

    Raises:
        FitError: when fewer than two budgets have a usable profile; the message says why.
    """
    table = read_runs(runs, columns=columns, scale=scale, mixture=mixture, where=where)
    bootstrap, seed = given.count(bootstrap, "bootstrap"), given.count(seed, "seed")
    result, profiles = fit_profiles(table, given.column(table, target), bootstrap, seed, params_column)
    return IsoflopFit(table, result, tuple(profiles))


def fit_task(
    runs: RunsLike,
    task: str,
    *,
    loss: str | None = None,
    law: str = "auto",
    chance: float | None = None,
    items: int | None = None,
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    bootstrap: int = 200,
    params_column: str | None = None,
    seed: int = 0,
) -> TaskFit:
    """Fit a benchmark in two steps: a loss from N, D and the mixture, and the accuracy from that loss.

    Args:
        runs, where, columns, scale, mixture: see `mixlab.read_runs`.
        task: the benchmark, `hellaswag` or its column `acc.hellaswag`.
        loss: the loss to go through; absent: `nll.<task>`, else `loss`, else the mean of all `loss.<eval>`.
        law: of step 1.
        chance: the accuracy of guessing; absent: estimated.
        items: how many questions the benchmark has.
        bootstrap: resamples of both steps.
        params_column: which column is N.
        seed: of the resamples.

    Raises:
        FitError: when the accuracy does not rise as the loss falls, or the runs cannot carry step 1.
    """
    table = read_runs(runs, columns=columns, scale=scale, mixture=mixture, where=where)
    require_kind("task", task, str, "a benchmark's name")
    chance, items, bootstrap, seed = given.of_benchmark(chance, items, bootstrap, seed)
    column = task if table.has(task) else f"acc.{task.removeprefix('acc.')}"
    chain = fit_two_step(
        table,
        column,
        loss=loss,
        law=law,
        chance=chance,
        items=items,
        bootstrap=bootstrap,
        seed=seed,
        params_column=params_column,
    )
    return TaskFit(chain)
