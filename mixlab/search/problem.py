"""A problem: runs, and the facts that a fit and a search need, from the study, the table, and what a caller states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixlab.arrays import Array
from mixlab.constraints import LinearConstraint
from mixlab.corpus.inventory import INVENTORY_FILE, Inventory
from mixlab.errors import ConfigError, did_you_mean
from mixlab.mixture import MixtureSpace
from mixlab.objective import LOSS, PREFIX, Objective
from mixlab.runs.cost import Cost, cost_of
from mixlab.runs.table import Runs
from mixlab.search.question import Question
from mixlab.study.facts import Facts, as_domains
from mixlab.study.folder import StudyFolder

EPOCHS = 4.0  # most repeats of a domain where nobody says: up to there a repeat is nearly worth fresh text (2305.16264)
ALL_TEXT = "tokens"  # what the supply of a table without mixtures is called


@dataclass(frozen=True)
class Stated:
    """What a caller states, before the study and the table are asked.

    Attributes:
        objective: absent: the study's, else `loss`, else the mean of all evaluation sets.
        supply: unique tokens at the target by domain (`tokens`: of all text, without mixtures).
        max_epochs: most repeats of a domain.
        lower, upper: bounds on single weights.
        constraints: on several weights at once, beside the study's.
        max_domains: most domains with weight.
        law: by name, or `auto`.
        seed: of everything random.
    """

    objective: Objective | None = None
    supply: Mapping[str, float] | None = None
    max_epochs: float | None = None
    lower: Mapping[str, float] | None = None
    upper: Mapping[str, float] | None = None
    constraints: Sequence[LinearConstraint] = ()
    max_domains: int | None = None
    law: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Problem:
    """What a fit and a search start from.

    Attributes:
        runs: the rows, with columns for the supplies that only the caller states.
        facts: objective, space, supply, prior, law, target, seed.
        cost: what a budget buys at N.
        study: the folder, where the runs are a study's.
    """

    runs: Runs
    facts: Facts
    cost: Cost
    study: StudyFolder | None = None

    @property
    def supply(self) -> Array:
        """Unique tokens by domain, shape (K,), or of all text, shape (1,), without mixtures; `inf` where not known."""
        return np.array(list(self.facts.supply.values()))

    def question(self, flops: float, **fixed: Any) -> Question:
        """A question at the problem's cost, space and prior; `fixed` are other attributes of a `Question`."""
        space = self.facts.space
        prior = self.facts.prior_in(space) if space is not None else None
        return Question(**{"flops": flops, "cost": self.cost, "space": space, "prior": prior, **fixed})


def pose_problem(runs: Runs, study: StudyFolder | None = None, stated: Stated | None = None) -> Problem:
    """Settle the facts: what is stated first, then the study, then the table's columns.

    Raises:
        ConfigError: an objective or bound that names what the table does not have.
        InfeasibleError: when no mixture keeps the bounds.
    """
    stated = stated or Stated()
    facts = _of_table(runs) if study is None else _of_study(runs, study)
    supply = _supply(facts, runs, stated.supply or {})
    if study is None:
        runs = _stating(runs, stated.supply or {})
    facts = replace(
        facts,
        objective=_objective(facts, runs, stated.objective),
        supply=supply,
        space=with_bounds(
            facts, supply, stated.lower, stated.upper, stated.max_epochs, stated.constraints, stated.max_domains
        ),
        law=stated.law or facts.law,
        seed=facts.seed if stated.seed is None else stated.seed,
    )
    return Problem(runs, facts, cost_of(runs), study)


def with_bounds(
    facts: Facts,
    supply: Mapping[str, float],
    lower: Mapping[str, float] | None = None,
    upper: Mapping[str, float] | None = None,
    max_epochs: float | None = None,
    constraints: Sequence[LinearConstraint] = (),
    max_domains: int | None = None,
) -> MixtureSpace | None:
    """The facts' space at a supply, with these bounds and this limit before its own, constraints beside its own.

    Raises:
        ConfigError: when a bound names a domain that there is not.
        InfeasibleError: when no mixture keeps the bounds.
    """
    if facts.space is None:
        if lower or upper:
            raise ConfigError("the table has no mix.<domain> columns, so `min` and `max` have no meaning here")
        if constraints:
            raise ConfigError(f"the table has no mix.<domain> columns, so `{constraints[0]}` has no meaning here")
        if max_domains is not None:
            raise ConfigError("the table has no mix.<domain> columns, so `max_domains` has no meaning here")
        return None
    for name in (*(lower or {}), *(upper or {})):
        require_domain(name, facts.space.names)
    beside = [one for one in constraints if one not in facts.space.constraints]
    known = any(math.isfinite(tokens) for tokens in supply.values())
    epochs = max_epochs or (EPOCHS if math.isinf(facts.space.max_epochs) and known else facts.space.max_epochs)
    return MixtureSpace(
        as_domains(supply),
        {**facts.space.lower, **(lower or {})},
        {**facts.space.upper, **(upper or {})},
        epochs,
        (*facts.space.constraints, *beside),
        facts.space.max_domains if max_domains is None else max_domains,
    )


def require_domain(name: str, domains: tuple[str, ...]) -> None:
    """Refuse a domain that there is not, by the nearest name."""
    if name not in domains:
        raise ConfigError(f"the table has no domain `{name}`", did_you_mean(name, domains))


def _of_table(runs: Runs) -> Facts:
    supply = runs.unique_tokens()
    supply = {name: supply.get(name, math.inf) for name in runs.domains or (ALL_TEXT,)}
    space = MixtureSpace(as_domains(supply)) if runs.domains else None
    return Facts(_default_objective(runs), space, supply)


def _of_study(runs: Runs, study: StudyFolder) -> Facts:
    """The study's facts over the domains that its runs were made of."""
    for name in study.config.trained:
        if study.config.domains[name].supply is not None:
            require_domain(name, runs.domains)
    unique = runs.unique_tokens()
    if (study.corpus / INVENTORY_FILE).is_file():
        unique |= {domain.name: domain.unique_tokens for domain in Inventory.load(study.corpus).domains}
    return Facts.of_study(study.config, unique, runs.domains)


def _default_objective(runs: Runs) -> Objective:
    if runs.has(LOSS) or not runs.evals:
        return Objective.column(LOSS)
    return Objective.over({name: 1 / len(runs.evals) for name in runs.evals})


def _objective(facts: Facts, runs: Runs, wanted: Objective | None) -> Objective:
    if wanted is None:
        return facts.objective
    for column in wanted:
        if not runs.has(column):
            known = runs.evals if column.startswith(PREFIX) else map(str, runs.frame.columns)
            hint = did_you_mean(column.removeprefix(PREFIX) if column.startswith(PREFIX) else column, known)
            raise ConfigError(f"the table has no column `{column}`", hint)
    return wanted


def _supply(facts: Facts, runs: Runs, stated: Mapping[str, float]) -> dict[str, float]:
    """Unique tokens by domain, or under `tokens` without mixtures: as stated, else as the facts have it."""
    names = tuple(facts.supply)
    for name in stated:
        if not runs.domains and name not in names:
            raise ConfigError(
                f"the table has no mix.<domain> columns, so the supply knows no `{name}`",
                "state `tokens` for all text",
            )
        require_domain(name, names)
    return {**facts.supply, **stated}


def _stating(runs: Runs, stated: Mapping[str, float]) -> Runs:
    """The table with a column for each supply that only the caller states, and what is assumed in its notes.

    Its runs then count as having repeated nothing of it, however much they read: what they were fed is not known.
    """
    for name in runs.domains or (ALL_TEXT,):
        column = f"unique.{name}" if runs.domains else "unique_tokens"
        if runs.has(column):
            if name not in stated and np.ptp(runs.column(column)) > 0:
                runs = runs.with_note(f"`{column}` differs from row to row: its largest value counts as the supply")
        elif name in stated and runs.has("tokens"):
            read = runs.tokens() * (runs.column(f"mix.{name}") if runs.domains else 1.0)
            runs = Runs(runs.frame.assign(**{column: max(stated[name], float(read.max()))}), runs.notes)
            runs = runs.with_note(f"the table has no column `{column}`: its runs count as not repeated")
    return runs
