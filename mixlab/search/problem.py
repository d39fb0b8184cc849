"""From a study folder, or a bare run table and flags, to everything that a search needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import ConfigError, InfeasibleError, did_you_mean
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.surface import Surface
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs.cost import Cost, cost_of
from mixlab.runs.read import load_runs
from mixlab.runs.table import Runs
from mixlab.study.config import StudyConfig
from mixlab.study.folder import StudyFolder


@dataclass(frozen=True)
class Problem:
    """A search's givens.

    Attributes:
        table: the runs.
        objective: a column, or weights over evaluation sets.
        space: the mixtures that may be recommended; None where the table has none.
        supply: unique tokens at hand by domain, shape (K,), or of all text, shape (1,), without mixtures; `inf` where
            not known.
        cost: what a budget buys at N.
        prior: the study's prior, where there is one.
        law: by name, or `auto`.
        config: the study's, where the runs are a study's.
    """

    table: Runs
    objective: str | dict[str, float]
    space: MixtureSpace | None
    supply: NDArray[np.float64]
    cost: Cost
    prior: Mixture | None
    law: str
    config: StudyConfig | None

    @property
    def seed(self) -> int:
        """The study's, so that every command gives its answer; 0 where the runs are no study's."""
        return self.config.seed if self.config is not None else 0

    def fit(self, bootstrap: int = 0, seed: int | None = None) -> Surface:
        """The objective's surface at the supply at hand; `bootstrap` resamples give the optimum its intervals.

        Raises:
            FitError: when the runs cannot carry the law.
        """
        seed = self.seed if seed is None else seed
        surface = fit_surface(self.table, self.objective, law=self.law, bootstrap=bootstrap, seed=seed)
        return surface.with_supply(self.supply)


def load_problem(
    runs: str | Path,
    *,
    objective: Mapping[str, float] | None = None,
    unique: Mapping[str, float] | None = None,
    max_epochs: float | None = None,
    lower: Mapping[str, float] | None = None,
    upper: Mapping[str, float] | None = None,
    law: str | None = None,
    where: str | None = None,
) -> Problem:
    """Read the runs and settle objective, bounds, supply and law: options first, then the study file, then columns.

    Raises:
        ConfigError: an objective or bound that names what the table does not have.
        RunTableError: a table that cannot be read.
    """
    table = load_runs(runs)
    if where:
        table = table.where(where)
    config = StudyFolder.open(runs).config if Path(runs).is_dir() else None
    stated = {}
    if config is not None:
        # A domain for evaluation alone has no column, and no supply that matters.
        stated = {name: domain.supply for name, domain in config.domains.items() if name in config.trained}
    unique = {**{name: tokens for name, tokens in stated.items() if tokens is not None}, **(unique or {})}
    supply = _supply(table, unique)
    space = _space(table, config, supply, max_epochs, lower or {}, upper or {})
    prior = None
    if config is not None and space is not None:
        prior = _prior(config, space)
    return Problem(
        table=table if config is not None else _stating(table, unique),
        objective=_objective(table, config, objective),
        space=space,
        supply=np.array(list(supply.values())),
        cost=cost_of(table),
        prior=prior,
        law=law or (config.target.law if config is not None and config.target is not None else "auto"),
        config=config,
    )


def _objective(table: Runs, config: StudyConfig | None, wanted: Mapping[str, float] | None) -> str | dict[str, float]:
    if wanted:
        for name in wanted:
            if name not in table.evals:
                raise ConfigError(f"the table has no column `loss.{name}`", did_you_mean(name, table.evals))
        total = math.fsum(wanted.values())
        if abs(total - 1) > 1e-3 or min(wanted.values()) < 0:
            raise ConfigError(
                f"the weights of --objective must be >= 0 and sum to 1, but sum to {total:.6g}", "rescale them"
            )
        return {name: weight for name, weight in wanted.items() if weight > 0}
    if config is not None:
        return config.objective_weights
    return "loss" if table.has("loss") else _only_loss(table)


def _only_loss(table: Runs) -> str | dict[str, float]:
    if not table.evals:
        table.column("loss")  # says what is missing
    return {name: 1 / len(table.evals) for name in table.evals}


def _supply(table: Runs, unique: Mapping[str, float]) -> dict[str, float]:
    """Unique tokens by domain, or under `tokens` without mixtures: as given, else the most that the table states."""
    names = table.domains or ("tokens",)
    for name in unique:
        if not table.domains and name not in names:
            raise ConfigError(
                f"the table has no mix.<domain> columns, so --unique knows no `{name}`",
                "write --unique tokens=NUMBER for all text",
            )
        _require_domain(name, names)
    supply = {**table.unique_tokens(), **unique}
    return {name: supply.get(name, math.inf) for name in names}


def _stating(table: Runs, unique: Mapping[str, float]) -> Runs:
    """The table with a column for each supply that only the caller states, and what is assumed in its notes.

    Its runs then count as having repeated nothing of it, however much they read: what they were fed is not known.
    """
    for name in table.domains or ("tokens",):
        column = f"unique.{name}" if table.domains else "unique_tokens"
        if table.has(column):
            if name not in unique and np.ptp(table.column(column)) > 0:
                table = table.with_note(f"`{column}` differs from row to row: its largest value counts as the supply")
        elif name in unique and table.has("tokens"):
            read = table.tokens() * (table.column(f"mix.{name}") if table.domains else 1.0)
            table = Runs(table.frame.assign(**{column: max(unique[name], float(read.max()))}), table.notes)
            table = table.with_note(f"the table has no column `{column}`: its runs count as not repeated")
    return table


def _space(
    table: Runs,
    config: StudyConfig | None,
    supply: Mapping[str, float],
    max_epochs: float | None,
    lower: Mapping[str, float],
    upper: Mapping[str, float],
) -> MixtureSpace | None:
    if not table.domains:
        if lower or upper:
            raise ConfigError("the table has no mix.<domain> columns, so --min and --max mean nothing here")
        return None
    for name in (*lower, *upper):
        _require_domain(name, table.domains)
    if config is not None:
        # A domain for evaluation alone that was trained on before has a column, and keeps its maximum of 0.
        least, most = config.mixtures.bounds({*config.trained, *table.domains})
        lower, upper = {**least, **lower}, {**most, **upper}
        max_epochs = max_epochs or config.mixtures.max_epochs
    domains = tuple(Domain(name, supply[name]) for name in table.domains)
    known = any(math.isfinite(value) for value in supply.values())
    return MixtureSpace(domains, lower, upper, max_epochs or (4.0 if known else math.inf))


def _require_domain(name: str, domains: tuple[str, ...]) -> None:
    if name not in domains:
        raise ConfigError(f"the table has no domain `{name}`", did_you_mean(name, domains))


def _prior(config: StudyConfig, space: MixtureSpace) -> Mixture | None:
    try:
        if config.mixtures.prior == "uniform":
            return space.uniform()
        if config.mixtures.prior == "proportional":
            return space.proportional()
    except InfeasibleError:
        return None
    assert isinstance(config.mixtures.prior, dict)
    return Mixture.normalized(
        {name: weight for name, weight in config.mixtures.prior.items() if name in config.trained}
    )
