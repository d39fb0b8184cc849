"""From a study folder, or a bare run table and flags, to everything that a search needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixlab.config import StudyConfig
from mixlab.errors import ConfigError, InfeasibleError, did_you_mean
from mixlab.flops import FlopsPerToken
from mixlab.folder import StudyFolder
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs import RunTable, load_runs
from mixlab.search.size import Cost, SixND


@dataclass(frozen=True)
class Problem:
    """A search's givens.

    Attributes:
        table: the runs.
        objective: a column, or weights over evaluation sets.
        space: the mixtures that may be recommended; None where the table has none.
        cost: what a budget buys at N.
        prior: the study's prior, where there is one.
        law: by name, or `auto`.
        config: the study's, where the runs are a study's.
    """

    table: RunTable
    objective: str | dict[str, float]
    space: MixtureSpace | None
    cost: Cost
    prior: Mixture | None
    law: str
    config: StudyConfig | None


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
    space = _space(table, config, unique or {}, max_epochs, lower or {}, upper or {})
    prior = None
    if config is not None and space is not None:
        prior = _prior(config, space)
    return Problem(
        table=table,
        objective=_objective(table, config, objective),
        space=space,
        cost=cost_of(table),
        prior=prior,
        law=law or (config.target.law if config is not None and config.target is not None else "auto"),
        config=config,
    )


def _objective(
    table: RunTable, config: StudyConfig | None, wanted: Mapping[str, float] | None
) -> str | dict[str, float]:
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


def _only_loss(table: RunTable) -> str | dict[str, float]:
    if not table.evals:
        table.column("loss")  # says what is missing
    return {name: 1 / len(table.evals) for name in table.evals}


def _space(
    table: RunTable,
    config: StudyConfig | None,
    unique: Mapping[str, float],
    max_epochs: float | None,
    lower: Mapping[str, float],
    upper: Mapping[str, float],
) -> MixtureSpace | None:
    if not table.domains:
        if unique or lower or upper:
            raise ConfigError("the table has no mix.<domain> columns, so --unique, --min and --max mean nothing here")
        return None
    supply = {**table.unique_tokens(), **unique}
    for name in (*unique, *lower, *upper):
        if name not in table.domains:
            raise ConfigError(f"the table has no domain `{name}`", did_you_mean(name, table.domains))
    if config is not None:
        lower, upper = {**config.mixtures.min, **lower}, {**config.mixtures.max, **upper}
        max_epochs = max_epochs or config.mixtures.max_epochs
    domains = tuple(Domain(name, supply.get(name, math.inf)) for name in table.domains)
    return MixtureSpace(domains, lower, upper, max_epochs or (4.0 if supply else math.inf))


def _prior(config: StudyConfig, space: MixtureSpace) -> Mixture | None:
    try:
        if config.mixtures.prior == "uniform":
            return space.uniform()
        if config.mixtures.prior == "proportional":
            return space.proportional()
    except InfeasibleError:
        return None
    assert isinstance(config.mixtures.prior, dict)
    return Mixture.normalized(config.mixtures.prior)


def cost_of(table: RunTable) -> Cost:
    """FLOPs per token as the runs state them, else 6 N."""
    if table.flops_source == "6ND" or not table.has("tokens"):
        return SixND()
    return FlopsPerToken(table.params(), table.flops(), table.tokens())
