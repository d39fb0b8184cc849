"""The mixtures of each round of a sweep: the design's in the first, and later what is proposed from what is known.

A later round is decided once and kept in the ledger's folder, so that a resumed sweep has the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixlab.errors import ConfigError, FitError, SweepError
from mixlab.files import read_json, write_json
from mixlab.laws.fit_surface import fit_surface
from mixlab.mixture import Mixture
from mixlab.runs.specs import RunSpec
from mixlab.runs.table import Runs
from mixlab.search.mix import minimise_mixture
from sweeps.designs import anchors, draw_mixtures, is_new
from sweeps.optuna_view import OptunaView
from sweeps.plan import Plan, design_specs

DRAWS_PER_PROPOSAL = 4  # bootstrap draws of the law: many have their optimum where another has it


def first_round(plan: Plan) -> list[Mixture]:
    """The design's mixtures, anchors first."""
    config = plan.config
    return draw_mixtures(
        plan.space,
        plan.prior,
        config.sweep.mixtures,
        kind=config.sweep.design,
        seed=config.seed,
        tokens=plan.longest,
    )


def first_specs(plan: Plan) -> list[RunSpec]:
    """The runs of the first round."""
    anchor_count = len(anchors(plan.space, plan.prior, plan.longest))
    return design_specs(plan, first_round(plan), anchor_count)


def later_round(
    plan: Plan, number: int, kept: Path, table: Runs, known: Sequence[Mixture], view: OptunaView
) -> list[Mixture]:
    """The mixtures of round `number` (from 1).

    Args:
        plan: the study's facts.
        number: of the round; the law's bootstrap draws follow from it.
        kept: the file that keeps the decision.
        table: the runs so far.
        known: the mixtures so far.
        view: whose sampler proposes, unless the study's is the law.

    Raises:
        ConfigError: when `kept` is damaged.
        SweepError: when the law cannot be fitted.
    """
    if kept.exists():
        return _read(kept)
    wanted = plan.config.sweep.proposals
    if plan.config.sweep.sampler == "law":
        fresh = _thompson(plan, table, known, wanted, number)
    else:
        fresh = view.propose(wanted)
    write_json(kept, [dict(mixture) for mixture in fresh])
    return fresh


def _read(kept: Path) -> list[Mixture]:
    hint = "delete it: the round is then proposed anew, and runs that it had before stay in the ledger"
    data = read_json(kept, hint)
    try:
        return [Mixture(weights) for weights in data]
    except (ConfigError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{kept} is damaged: {error}", hint) from None


def _thompson(plan: Plan, table: Runs, known: Sequence[Mixture], wanted: int, number: int) -> list[Mixture]:
    """The optima under single bootstrap draws of the fitted law: where it is unsure they spread by themselves."""
    names = plan.space.names
    shape = plan.shapes[plan.reference]
    tokens = plan.tokens[plan.reference][-1]
    draws, seed = DRAWS_PER_PROPOSAL * wanted, plan.facts.seed + number
    try:
        surface = fit_surface(table, plan.facts.objective, law=plan.facts.law, bootstrap=draws, seed=seed)
    except FitError as error:
        raise SweepError(
            f"round {number} cannot be proposed by a law: {error.message}",
            "add mixtures to the first round, or set sweep.sampler to tpe",
        ) from error
    points = [np.asarray(mixture.array(names)) for mixture in known]
    fresh: list[Mixture] = []
    for index in range(draws):
        best = minimise_mixture(surface.draw(index), plan.space, params=shape.params, tokens=tokens, seed=index)
        point = best.array(names)
        if is_new(point, points):
            points.append(point)
            fresh.append(best)
        if len(fresh) == wanted:
            break
    return fresh
