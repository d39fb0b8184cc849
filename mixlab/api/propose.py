"""`mixlab.propose`: which runs to make next for the question at a budget, or to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixlab.api import given
from mixlab.api.asked import Asked, pose_asked
from mixlab.api.fit import Fit, believe, fit_problem, pose_runs
from mixlab.api.proposals import Proposals, ProposedRun
from mixlab.api.recommend import budget_of, require_scale, spent_on
from mixlab.decide.arms import gather
from mixlab.decide.decision import SHOWN, Decision, decide
from mixlab.decide.proposals import Offer, choose, doubt
from mixlab.errors import ConfigError, FitError, require_kind
from mixlab.mixture import Mixture
from mixlab.runs.read import RunsLike
from mixlab.search.baselines import baseline_mixtures
from mixlab.search.optimum import find_optimum, pose
from mixlab.search.problem import Problem
from mixlab.search.size import params_at_ratio, params_for
from mixlab.study.target import TOKENS_PER_PARAM
from mixlab.units import format_flops

RUNS = 10
MOST_SCALES = 12  # that are offered: a choice costs their cube
SAME_SCALE = 0.05  # in log N and log D: token counts of one budget differ by the rounding of steps
TELLS_NOTHING = 1e-6  # of the doubt: a run that takes off less is not worth making
INSIDE = 0.999999  # of the tokens that there are


def propose(
    runs: Fit | RunsLike,
    count: int = RUNS,
    *,
    flops: given.Quantity | None = None,
    budget: given.Quantity | None = None,
    scales: Sequence[tuple[given.Quantity, given.Quantity]] | None = None,
    params: given.Quantity | None = None,
    tokens: given.Quantity | None = None,
    **fitting: Any,
) -> Proposals:
    """The runs to make next: those that take most off the doubt about the best mixture at a budget, per FLOP.

    N and D of the question are those that `recommend` would search. Where no law can be fitted yet, D is 20 N.

    Args:
        runs: what `mixlab.fit` gave, or runs as it takes them.
        count: the most runs.
        flops: the budget C that is asked about; absent: what `params` and `tokens` cost, else the study's target.
        budget: FLOPs for all of the new runs; absent: what `count` runs of the table cost on average.
        scales: N and D at which runs can be made; absent: those at which runs of the table ended.
        params, tokens: fix N or D of the question.
        fitting: keywords of `mixlab.fit` on what is to be small and which mixtures there are, where runs are given:
            target, targets, law, where, columns, scale, mixture, supply, min, max, max_epochs, constraints,
            max_domains, seed.

    Raises:
        ConfigError: without a budget to ask about, without mixtures, or where something given cannot be meant.
        RunTableError: when the runs state no N or D.
        InfeasibleError: when no mixture keeps bounds, caps and constraints.
        FitError: when fewer than 3 runs have a loss.
    """
    count = given.count(count, "count", 1)
    if isinstance(runs, Fit):
        if fitting:
            raise ConfigError(
                f"a fit knows its {', '.join(fitting)} already", "give it to mixlab.fit, or give the runs"
            )
        problem, params_column = runs.problem, runs.params_column
    else:
        problem, params_column = pose_runs(runs, **fitting), None
    require_scale(problem.runs)
    space = problem.facts.space
    if space is None:
        raise ConfigError("what to run next is a question of mixtures, but the table has no mix.<domain> columns")
    asked = Asked.read({"params": params, "tokens": tokens})
    belief = runs.belief if isinstance(runs, Fit) else believe(problem)
    assert belief is not None
    fit, notes = (runs, []) if isinstance(runs, Fit) else _fitted(problem)
    stated = given.quantity(flops, "flops")
    at = _by_law(fit, asked, stated) if fit is not None else _by_ratio(problem, asked, stated)
    offers, more = _offers(problem, scales, params_column)
    room = _room(problem, offers, count, given.quantity(budget, "budget"))
    named = baseline_mixtures(problem.facts.objective, space, problem.runs)[0]
    if (prior := problem.facts.prior_in(space)) is not None:
        named = {"prior": prior, **named}
    seed = problem.facts.seed
    arms = gather(belief, space, at.params, at.tokens, problem.runs.mixtures(), list(named.values()), seed)
    decision = decide(belief, arms, arms.named[0], {}, seed=seed)
    there = doubt(arms)
    picks = choose(belief, arms, offers, room, count)
    proposed = [
        ProposedRun(
            mixture=dict(Mixture.from_array(space.names, pick.mixture)),
            params=offers[pick.offer].params,
            tokens=offers[pick.offer].tokens,
            flops=offers[pick.offer].flops,
            share=pick.gain / there,
        )
        for pick in picks
        if there > 0 and pick.gain > TELLS_NOTHING * there
    ]
    return Proposals(
        runs=tuple(proposed),
        domains=space.names,
        flops=at.flops,
        params=at.params,
        tokens=at.tokens,
        regret=decision.regret,
        noise=decision.noise,
        stop=decision.settled or not proposed,
        why=_why(decision, proposed),
        warnings=tuple(dict.fromkeys([*problem.runs.notes, *notes, *more])),
    )


def _fitted(problem: Problem) -> tuple[Fit | None, list[str]]:
    """The law that says what N and D are best, where the runs can carry one."""
    try:
        return fit_problem(problem), []
    except FitError as error:
        return None, [f"no law can be fitted yet, so D is {TOKENS_PER_PARAM:g} N: {error.message}"]


def _by_law(fit: Fit, asked: Asked, stated: float | None) -> Offer:
    """C, N and D as `recommend` searches them."""
    there, question = pose_asked(fit, asked, budget_of(fit, asked, stated))
    baselines, _ = baseline_mixtures(there.surface.objective, question.space, there.runs)
    starts = [one for one in (*baselines.values(), question.prior) if one is not None]
    best = find_optimum(there.surface.point, pose(there.surface, question), starts, there.problem.facts.seed)
    return Offer(best.params, best.tokens, question.flops)


def _by_ratio(problem: Problem, asked: Asked, flops: float | None) -> Offer:
    """C, N and D at 20 tokens per parameter, where there are so many."""
    cost, n, d, target = problem.cost, asked.params, asked.tokens, problem.facts.target
    if flops is None and n is not None and d is not None:
        flops = float(cost.flops(n, d))
    if flops is None and target is not None:
        flops = target.flops
    if flops is None:
        raise ConfigError(
            "which runs to make next depends on the budget that is asked about",
            "give `flops`, or `params` and `tokens`",
        )
    assert problem.facts.space is not None
    most = INSIDE * problem.facts.space.most_tokens()
    if n is None:
        n = params_at_ratio(cost, flops, TOKENS_PER_PARAM) if d is None else params_for(cost, flops, d)
    if d is None:
        d = float(cost.tokens(flops, n))
        if d > most:
            n, d = params_for(cost, flops, most), most
    return Offer(n, d, flops)


def _offers(
    problem: Problem, scales: Sequence[tuple[given.Quantity, given.Quantity]] | None, params_column: str | None
) -> tuple[list[Offer], list[str]]:
    """The scales at which runs can be made, by ascending cost, and what is to be said of them."""
    runs, cost = problem.runs, problem.cost
    if scales is not None:
        require_kind("scales", scales, (list, tuple), "a list of (N, D)")
        if not scales or any(not isinstance(one, (list, tuple)) or len(one) != 2 for one in scales):
            raise ConfigError("scales must be pairs of N and D, one or more", 'such as [("10M", "200M")]')
        pairs = np.array([[given.quantity(n, "scales, N"), given.quantity(d, "scales, D")] for n, d in scales])
    else:
        ends = np.column_stack([runs.params(params_column), runs.tokens()])
        order = np.lexsort((-ends[:, 1], runs.run_ids.astype(str)))
        first = np.unique(runs.run_ids.astype(str)[order], return_index=True)[1]
        pairs = ends[order][first]
        _, which = np.unique(np.round(np.log(pairs) / SAME_SCALE), axis=0, return_index=True)
        pairs = pairs[which]
    offers = sorted((Offer(n, d, float(cost.flops(n, d))) for n, d in pairs.tolist()), key=lambda one: one.flops)
    if len(offers) <= MOST_SCALES:
        return offers, []
    kept = np.unique(np.round(np.linspace(0, len(offers) - 1, MOST_SCALES)).astype(int))
    return [offers[index] for index in kept], [
        f"runs ended at {len(offers)} scales: {len(kept)} of them are offered; name those you want by `scales`"
    ]


def _room(problem: Problem, offers: Sequence[Offer], count: int, budget: float | None) -> float:
    """FLOPs for the new runs."""
    least = offers[0].flops
    if budget is None:
        mean = spent_on(problem.runs) / len(np.unique(problem.runs.run_ids.astype(str)))
        return count * max(mean, least)
    if budget < least:
        raise ConfigError(
            f"the budget must pay for one run, but it is {format_flops(budget)} FLOPs and the cheapest costs "
            f"{format_flops(least)}",
            "raise the budget, or name smaller scales",
        )
    return budget


def _why(decision: Decision, proposed: Sequence[ProposedRun]) -> str:
    loses = f"today's answer is expected to lose {decision.regret:.4f} nats to the best"
    noise = f"{SHOWN:g} of the noise of one run ({decision.noise:.4f})"
    if not proposed:
        return f"stop: {loses}, and no run that is offered would change that"
    if decision.settled:
        return f"stop: {loses}, less than {noise}, which a few more runs would not show"
    return f"go on: {loses}, more than {noise}"
