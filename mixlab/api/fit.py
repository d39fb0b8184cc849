"""`mixlab.fit`: laws fitted to a table of runs, and what they predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixlab.api import given
from mixlab.api.fit_tables import fit_parts
from mixlab.decide.belief import Belief
from mixlab.errors import ConfigError
from mixlab.laws.bootstrap import percentile_interval
from mixlab.laws.choice.rows import observe
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.result import FitResult
from mixlab.laws.surface import Surface
from mixlab.runs.read import ColumnMap, RunsLike, read_runs, study_of
from mixlab.runs.table import Runs
from mixlab.search.problem import Problem, Stated, pose_problem
from mixlab.shown import Shown
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

NO_SURFACE = {"isoflop": "mixlab.fit_isoflop", "two-step": "mixlab.fit_task"}
DRAWS = 200  # bootstrap resamples, where nobody says


@dataclass(frozen=True, repr=False)
class Fit(Shown):
    """Laws fitted to an objective, with all that a recommendation needs: cost, space of mixtures, supply.

    Attributes:
        problem: runs, objective, space, supply, prior, cost.
        surface: what was fitted.
        params_column: which column is N, where that was said.
    """

    problem: Problem
    surface: Surface
    params_column: str | None = None

    @property
    def runs(self) -> Runs:
        """The rows."""
        return self.problem.runs

    @property
    def law(self) -> str:
        """The law's name, or `auto` for a blend."""
        return self.surface.law

    @property
    def results(self) -> dict[str, FitResult]:
        """By loss column, the fitted law as it is printed."""
        return self.surface.fits

    @cached_property
    def belief(self) -> Belief | None:
        """What the runs say of mixtures they have not tried; None for a table without mixtures."""
        return believe(self.problem, self.params_column) if self.runs.domains else None

    @property
    def status(self) -> str:
        """`converged`, or what is wrong with the first column that is not."""
        return next((one.status for one in self.results.values() if one.status != "converged"), "converged")

    @property
    def params(self) -> dict[str, float]:
        """The parameters as the papers write them; of several columns, under `<column>.<name>`."""
        if len(self.results) == 1:
            return dict(next(iter(self.results.values())).params)
        return {f"{column}.{name}": v for column, one in self.results.items() for name, v in one.params.items()}

    @property
    def notes(self) -> Sequence[str]:
        """What was assumed, left out or is doubtful."""
        own = [warning for one in self.results.values() for warning in one.warnings]
        return list(dict.fromkeys([*self.surface.warnings, *own]))

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Bootstrap confidence interval of each parameter, by the names of `params`; none without resamples.

        Raises:
            ConfigError: when the level does not lie between 0 and 1.
        """
        level = given.level(level)
        found = {}
        for column, one in self.results.items():
            before = "" if len(self.results) == 1 else f"{column}."
            for name in one.params if one.draws else ():
                low, high = percentile_interval([draw[name] for draw in one.draws], level)
                found[before + name] = (float(low), float(high))
        return found

    def predict(
        self,
        mix: given.Mixtures | None = None,
        params: given.Quantities | None = None,
        tokens: given.Quantities | None = None,
        level: float = 0.9,
    ) -> pd.DataFrame:
        """The objective at points, with its prediction interval: where a new run will lie.

        Args:
            mix: weights by domain, one mixture or several (a list, or a frame with a row each).
            params, tokens: N and D, one or as many as there are mixtures.
            level: coverage of the interval.

        Returns:
            A row per point: `mix.<domain>`, params, tokens, loss, low, high, and each loss of the objective.

        Raises:
            ConfigError: when a mixture, N or D is missing that the law asks for, or they are not equally many.
        """
        self._require_point(mix, params, tokens)
        level = given.level(level)
        h = given.mixtures(mix, self.surface.domains)
        n, d = given.quantities(params, "params"), given.quantities(tokens, "tokens")
        sizes = {len(one) for one in (h, n, d) if one is not None and len(one) > 1}
        if len(sizes) > 1:
            raise ConfigError(f"mixtures, params and tokens must be equally many, or one, but are {sorted(sizes)}")
        count = max(sizes, default=1)
        mean = self.surface.predict(h, n, d)
        low, high = self.surface.interval(h, n, d, level)
        frame: dict[str, Any] = {}
        if h is not None:
            frame |= {f"mix.{name}": h[:, k] for k, name in enumerate(self.surface.domains)}
        if params is not None:
            frame["params"] = n
        if tokens is not None:
            frame["tokens"] = d
        frame |= {"loss": mean, "low": low, "high": high}
        if len(self.surface.objective) > 1:
            frame |= self.surface.predict_targets(h, n, d)
        return pd.DataFrame({name: np.broadcast_to(values, (count,)) for name, values in frame.items()})

    def _require_point(self, mix: object, params: object, tokens: object) -> None:
        surface = self.surface
        asked = {
            "mix": (mix, bool(surface.domains)),
            "params": (params, surface.params_range[0] < surface.params_range[1]),
            "tokens": (tokens, surface.tokens_range[0] < surface.tokens_range[1]),
        }
        for name, (value, needed) in asked.items():
            if value is None and needed:
                raise ConfigError(f"the runs differ in {name}, so a prediction needs it", f"give {name}=")

    def __repr__(self) -> str:
        laws = f"{len(self.surface.selection)} tried, {self._blended()} blended" if self.law == "auto" else self.status
        return f"<Fit of {self.problem.facts.objective}: law {self.law} ({laws}), {self.surface.rows} rows>"

    def _blended(self) -> int:
        return sum(1 for row in self.surface.selection if row["weight"])

    def parts(self) -> Iterator[RenderableType]:
        """The laws that were tried, the members of the blend, and the parameters of each column's law."""
        for number, one in enumerate(self.results.values()):
            yield from fit_parts(one, self.surface.selection if number == 0 else [])

    def to_frame(self) -> pd.DataFrame:
        """A row per parameter: column, law, value and its 90% interval."""
        rows = []
        for column, one in self.results.items():
            for name, value in one.params.items():
                low, high = one.interval.get(name, (np.nan, np.nan))
                rows.append(
                    {"target": column, "law": one.law, "parameter": name, "value": value} | {"low": low, "high": high}
                )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab fit --json`; of several columns, by column under `fits`."""
        each = {column: one.to_dict() for column, one in self.results.items()}
        if len(each) == 1:
            return {**next(iter(each.values())), "warnings": list(self.notes), "selection": self.surface.selection}
        return {
            "objective": dict(self.problem.facts.objective),
            "law": self.law,
            "status": self.status,
            "fits": each,
            "warnings": list(self.notes),
            "selection": self.surface.selection,
        }

    def plot_isoflop(self, ax: Axes | None = None) -> Axes:
        """Loss against N at each budget; see `mixlab.plot_isoflop`."""
        axes: Axes = resolve("analysis.plots.face:plot_isoflop")(self, ax)
        return axes

    def plot_curve(self, ax: Axes | None = None) -> Axes:
        """Loss against compute; see `mixlab.plot_curve`."""
        axes: Axes = resolve("analysis.plots.face:plot_curve")(self, ax)
        return axes


def fit(
    runs: RunsLike,
    target: str | None = None,
    *,
    targets: given.Weights | None = None,
    law: str | None = None,
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    supply: given.Weights | None = None,
    min: given.Weights | None = None,
    max: given.Weights | None = None,
    max_epochs: float | None = None,
    constraints: str | Sequence[str] = (),
    max_domains: int | None = None,
    bootstrap: int = DRAWS,
    parameter_draws: int | None = None,
    params_column: str | None = None,
    seed: int | None = None,
) -> Fit:
    """Fit scaling laws to runs.

    Args:
        runs: a table (a path or a DataFrame), a study's folder, or runs that `read_runs` gave.
        target: the loss to fit, `loss`, `loss.python` or just `python`; absent: the study's objective, else `loss`,
            else the mean of all `loss.<eval>`.
        targets: several losses with their weights: `{"python": 0.5, "prose": 0.5}`.
        law: a law by name, or `auto`, the laws that predict unseen runs best; absent: the study's choice, else `auto`.
        where: keep the rows for which this condition holds.
        columns, scale, mixture: what columns are called and scaled by; see `read_runs`.
        supply: unique tokens by domain that the target run will have (`tokens`: of all text, without mixtures).
        min, max: bounds on single weights.
        max_epochs: how often a domain may be repeated.
        constraints: on several weights: "code + math >= 0.3", or a list of these.
        max_domains: at most so many domains have weight.
        bootstrap: resamples behind the intervals of optima and of means.
        parameter_draws: resamples behind those of the parameters; absent: as many as `bootstrap`.
        params_column: which column is N.
        seed: of resamples and folds; absent: the study's, else 0.

    Raises:
        RunTableError: when a column is missing or bad.
        FitError: when the runs cannot carry the law; the hint says which are missing.
        ConfigError: when something given cannot be meant.
    """
    if isinstance(law, str) and law in NO_SURFACE:
        raise ConfigError(f"`{law}` fits no surface of losses", f"call {NO_SURFACE[law]} instead")
    problem = pose_runs(
        runs,
        target,
        targets=targets,
        law=law,
        where=where,
        columns=columns,
        scale=scale,
        mixture=mixture,
        supply=supply,
        min=min,
        max=max,
        max_epochs=max_epochs,
        constraints=constraints,
        max_domains=max_domains,
        seed=seed,
    )
    bootstrap = given.count(bootstrap, "bootstrap")
    draws = bootstrap if parameter_draws is None else given.count(parameter_draws, "parameter_draws")
    return fit_problem(problem, bootstrap, parameter_draws=draws, params_column=params_column)


def pose_runs(
    runs: RunsLike,
    target: str | None = None,
    *,
    targets: given.Weights | None = None,
    law: str | None = None,
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    supply: given.Weights | None = None,
    min: given.Weights | None = None,
    max: given.Weights | None = None,
    max_epochs: float | None = None,
    constraints: str | Sequence[str] = (),
    max_domains: int | None = None,
    seed: int | None = None,
) -> Problem:
    """The problem that runs and keywords of `fit` pose, before any law is fitted.

    Raises:
        RunTableError: when a column is missing or bad.
        ConfigError: when something given cannot be meant.
    """
    study = study_of(runs)
    table = read_runs(runs, columns=columns, scale=scale, mixture=mixture, where=where)
    stated = Stated(
        objective=given.objective(table, target, targets),
        supply=given.weights(supply, "supply"),
        max_epochs=given.quantity(max_epochs, "max_epochs"),
        lower=given.weights(min, "min"),
        upper=given.weights(max, "max"),
        constraints=given.constraints(constraints),
        max_domains=None if max_domains is None else given.count(max_domains, "max_domains", 1),
        law=law,
        seed=None if seed is None else given.count(seed, "seed"),
    )
    return pose_problem(table, study, stated)


def believe(problem: Problem, params_column: str | None = None) -> Belief:
    """What a problem's runs say of mixtures they have not tried.

    Raises:
        FitError: when a target was measured in fewer than 3 rows, or is the same in all.
    """
    data = observe(problem.runs, problem.facts.objective, params_column)
    return Belief.of(data.rows, data.losses, problem.facts.objective, seed=problem.facts.seed)


def fit_problem(
    problem: Problem, bootstrap: int = 0, *, parameter_draws: int = 0, params_column: str | None = None
) -> Fit:
    """The objective's surface, at the supply that the target has.

    Raises:
        FitError: when the runs cannot carry the law.
    """
    facts = problem.facts
    surface = fit_surface(
        problem.runs,
        facts.objective,
        law=facts.law,
        bootstrap=bootstrap,
        parameter_draws=parameter_draws,
        seed=facts.seed,
        params_column=params_column,
    )
    return Fit(problem, surface.with_supply(problem.supply), params_column)
