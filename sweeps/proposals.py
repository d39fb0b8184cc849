"""The runs of each round of a sweep: the design's in the first, and later what is proposed from what is known.

A later round is decided once, from the finished records alone, and kept in the ledger's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixlab.arrays import Array
from mixlab.decide.arms import Arms, gather
from mixlab.decide.belief import Belief
from mixlab.decide.decision import SHOWN, decide
from mixlab.decide.proposals import Continuation, Offer, choose
from mixlab.errors import FitError, SweepError
from mixlab.laws.choice.rows import observe
from mixlab.laws.fit_surface import fit_surface
from mixlab.mixture import Mixture
from mixlab.runs.specs import RunSpec
from mixlab.runs.table import Runs
from mixlab.search.descent.mix import minimise_mixture
from mixlab.study.folder import StudyFolder
from mixlab.units import format_flops
from sweeps.designs import anchors, draw_mixtures, is_new
from sweeps.optuna_view import OptunaView
from sweeps.plan import Plan, design_specs, flops_beyond, rotation, spec_of
from sweeps.rounds import Ask, Round, decided_rounds, read_round

DRAWS_PER_PROPOSAL = 4  # bootstrap draws of the law: many have their optimum where another has it
LEAST_ROUNDS = 3  # later rounds before a sweep may stop
SETTLED_ROUNDS = 2  # rounds in a row whose expected regret is below the noise
LARGE = 0.25  # least share of a sweep's FLOPs for its largest budget, which says most of how rankings change with scale
SHORTER = 4  # times as many runs as `proposals`, where they are as much shorter


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
    plan: Plan,
    number: int,
    folder: StudyFolder,
    table: Runs,
    known: Sequence[Mixture],
    planned: Sequence[RunSpec],
    view: OptunaView,
    under_way: Sequence[Ask] = (),
) -> Round:
    """Round `number` (from 1), as it was decided, or decided now.

    Args:
        plan: the study's facts.
        number: of the round; what is drawn at random follows from it.
        folder: of the study, which keeps the decision.
        table: the runs so far.
        known: the mixtures so far.
        planned: the runs so far.
        view: whose sampler proposes, where the study's is one of Optuna's.
        under_way: runs that are planned and that `table` does not know yet.

    Raises:
        ConfigError: when the file that keeps it is damaged.
        SweepError: when the sampler is the law, and it cannot be fitted.
    """
    kept = folder.round_file(number)
    if kept.exists():
        found = read_round(kept)
        if not isinstance(found, Round):
            return Round(rotation(plan, found, len(known)))
        if found.asks:
            return found
        # That it stopped here binds nobody: the study may allow more by now.
    spent = sum(spec.flops for spec in planned)
    sampler, wanted = plan.config.sweep.sampler, plan.config.sweep.proposals
    if sampler == "regret":
        decided = _least_regret(plan, number, folder, table, planned, under_way)
    elif sampler == "law":
        decided = Round(rotation(plan, _thompson(plan, table, known, wanted, number), len(known)), flops=spent)
    else:
        decided = Round(rotation(plan, view.propose(wanted), len(known)), flops=spent)
    decided = _affordable(plan, decided, number, planned)
    decided.write(kept)
    return decided


def _affordable(plan: Plan, decided: Round, number: int, planned: Sequence[RunSpec]) -> Round:
    """The round's first runs that sweep.flops still allows, or that they are spent."""
    most = plan.config.sweep.flops
    if most is None or decided.stop is not None:
        return decided
    spent = sum(spec.flops for spec in planned)
    totals = spent + np.cumsum([flops_beyond(spec_of(plan, ask), planned) for ask in decided.asks])
    asks = decided.asks[: int(np.sum(totals <= most))]
    reason = None if asks else f"stopped before round {number}: sweep.flops ({format_flops(most)}) are spent"
    return replace(decided, asks=asks, stop=reason)


def _least_regret(
    plan: Plan,
    number: int,
    folder: StudyFolder,
    table: Runs,
    planned: Sequence[RunSpec],
    under_way: Sequence[Ask],
) -> Round:
    """The runs that take most off the doubt about the best mixture at the target, or why there are no more."""
    sweep = plan.config.sweep
    spent = sum(spec.flops for spec in planned)
    data = observe(table, plan.facts.objective)
    rows, seed = data.rows, plan.facts.seed + number
    belief = Belief.of(rows, data.losses, plan.facts.objective, seed=seed)
    space, (params, tokens) = plan.facts.space, plan.asked
    assert space is not None
    arms = gather(belief, space, params, tokens, rows.mixture, [plan.prior], seed)
    decision = decide(belief, arms, arms.named[0], {}, seed=seed)
    found = Round((), None, spent, decision.regret, decision.noise)
    before = [one for earlier, one in decided_rounds(folder) if earlier < number]
    in_a_row = [*before, found][-SETTLED_ROUNDS:]
    if number > LEAST_ROUNDS and len(in_a_row) == SETTLED_ROUNDS and all(one.settled for one in in_a_row):
        reason = (
            f"stopped before round {number}: the answer is expected to lose {decision.regret:.4f} nats to the best, "
            f"{SETTLED_ROUNDS} rounds in a row less than {SHOWN:g} of the noise of one run, {decision.noise:.4f}"
        )
        return Round((), reason, spent, decision.regret, decision.noise)
    left = sweep.flops - spent if sweep.flops is not None else float("inf")
    short = [ask for ask in _short([ask for one in before for ask in one.asks], plan) if ask not in under_way]
    asks = _asks(plan, belief, arms, decision.mixture, number, left, planned, short, under_way)
    return Round(tuple(asks), None, spent, decision.regret, decision.noise)


def _short(asks: Sequence[Ask], plan: Plan) -> list[Ask]:
    """The runs of earlier rounds that ended before the largest budget, as far as they have come."""
    furthest: dict[tuple[Mixture, int, int], Ask] = {}
    for ask in asks:
        furthest[ask.mixture, ask.size, ask.replicate] = ask
    return [ask for ask in furthest.values() if ask.budgets < len(plan.tokens[ask.size])]


def _asks(
    plan: Plan,
    belief: Belief,
    arms: Arms,
    answer: Array,
    number: int,
    budget: float,
    planned: Sequence[RunSpec],
    short: Sequence[Ask],
    under_way: Sequence[Ask],
) -> list[Ask]:
    """The answer at the size whose turn it is, and the most worthwhile runs beside it.

    The first keeps the law informed of N and D where the answer lies; so all sizes come round at mixtures that matter.
    """
    names, sweep = plan.space.names, plan.config.sweep
    scales = [(size, budgets) for size, counts in enumerate(plan.tokens) for budgets in range(1, len(counts) + 1)]
    seen = Counter((spec.mixture, spec.shape.params) for spec in planned)
    asks: list[Ask] = []

    def add(h: Array, size: int, budgets: int) -> None:
        mixture = Mixture.from_array(names, plan.space.project(h, plan.longest))
        spec = plan.spec(mixture, size)
        key = (spec.mixture, spec.shape.params)
        asks.append(Ask(mixture, size, budgets, seen[key]))
        seen[key] += 1

    turn = number % len(plan.shapes)
    whole = len(plan.tokens[turn])
    room = min(budget, sweep.proposals * plan.cost(plan.reference, len(plan.tokens[plan.reference])))
    if plan.cost(turn, whole) <= room and sweep.proposals > 1:
        add(answer, turn, whole)
        room -= plan.cost(turn, whole)
    longest = {shape.params: counts[-1] for shape, counts in zip(plan.shapes, plan.tokens, strict=True)}
    large = sum(spec.flops for spec in planned if spec.tokens[-1] == longest[spec.shape.params])
    only_whole = large < LARGE * sum(spec.flops for spec in planned)
    offers = [
        Offer(
            plan.shapes[size].params,
            plan.tokens[size][budgets - 1],
            plan.cost(size, budgets) if budgets == len(plan.tokens[size]) or not only_whole else float("inf"),
        )
        for size, budgets in scales
    ]
    made = [(ask.mixture.array(names), scales.index((ask.size, ask.budgets))) for ask in under_way]
    further = [replace(ask, budgets=len(plan.tokens[ask.size])) for ask in short]
    continuations = [
        Continuation(
            ask.mixture.array(names),
            scales.index((ask.size, ask.budgets)),
            flops_beyond(spec_of(plan, ask), planned),
        )
        for ask in further
    ]
    for pick in choose(belief, arms, offers, room, SHORTER * sweep.proposals, made, continuations):
        if pick.continues is None:
            add(pick.mixture, *scales[pick.offer])
        else:
            asks.append(further[pick.continues])
    return asks


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
            "add mixtures to the first round, or set sweep.sampler to regret",
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
