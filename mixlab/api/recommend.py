"""`mixlab.recommend`: the mixture, model size and tokens that a fit calls best at a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixlab.api import given
from mixlab.api.fit import Fit
from mixlab.errors import ConfigError, RunTableError, require_kind
from mixlab.runs.cost import Cost, SixND
from mixlab.runs.table import Runs
from mixlab.search.frontier import frontier as search_frontier
from mixlab.search.problem import require_domain, with_bounds
from mixlab.search.recommend import OPTIMUM_DRAWS
from mixlab.search.recommend import recommend as search
from mixlab.search.recommendation import Recommendation
from mixlab.units import format_flops, format_quantity

SAME_COST = 1.05  # a factor of what N and D cost: numbers that people round to two digits may be so far apart


def recommend(
    fit: Fit,
    flops: given.Quantity | None = None,
    *,
    params: given.Quantity | None = None,
    tokens: given.Quantity | None = None,
    mix: given.Weights | None = None,
    min: given.Weights | None = None,
    max: given.Weights | None = None,
    supply: given.Weights | None = None,
    max_epochs: float | None = None,
    kl: float = 0.0,
    prior: given.Weights | None = None,
    cost: Cost | None = None,
    draws: int = OPTIMUM_DRAWS,
) -> Recommendation:
    """The best mixture, N and D at a budget. Cost, bounds and supply come with the fit; any may be replaced.

    Args:
        fit: what `mixlab.fit` gave.
        flops: the budget C, such as "1e21"; absent: what `params` and `tokens` cost, else the study's target.
        params, tokens: fix N or D.
        mix: keep this mixture, and search the size alone; domains that are not named have weight 0.
        min, max: bounds on single weights.
        supply: unique tokens by domain at the target.
        max_epochs: how often a domain may be repeated.
        kl: weight of KL(mixture || prior).
        prior: what that pulls to; absent: the study's.
        cost: what a budget buys at N.
        draws: bootstrap draws of the fit whose optima give the intervals of mixture, N and D.

    Raises:
        ConfigError: without a budget, or where something given cannot be meant: `flops` that N and D do not cost, say.
        RunTableError: when the runs state no N or D.
        InfeasibleError: when no mixture keeps bounds and caps.
        FitError: when the runs cannot carry the answer.
    """
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    if cost is not None:
        require_kind("cost", cost, Cost, "a Cost", "leave it out: it comes with the fit")
    bounds = given.weights(min, "min"), given.weights(max, "max")
    fit = _changed(fit, given.weights(supply, "supply"), *bounds, given.quantity(max_epochs, "max_epochs"))
    problem, surface = fit.problem, fit.surface
    require_scale(problem.runs)
    n, d = given.quantity(params, "params"), given.quantity(tokens, "tokens")
    cost = cost or problem.cost
    fixed: dict[str, Any] = {"cost": cost, "params": n, "tokens": d, "kl": given.within(kl, "kl", 0)}
    fixed["mixture"] = given.mixture(mix, surface.domains)
    if prior is not None:
        fixed["prior"] = given.mixture(prior, surface.domains)
    question = problem.question(_budget(fit, cost, given.quantity(flops, "flops"), n, d), **fixed)
    answer = search(
        surface, question, observed=problem.runs, draws=given.count(draws, "draws"), seed=problem.facts.seed
    )
    made_from = {"runs": problem.runs.digest}
    if problem.study is not None:
        made_from["study"] = problem.study.config.answer_digest
    return replace(answer, made_from=made_from)


def frontier(fit: Fit, flops: given.Quantities) -> list[Recommendation]:
    """The recommendation at each of several budgets, ascending; without intervals of the optima and baselines."""
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    require_scale(fit.problem.runs)
    budgets = [float(budget) for budget in given.quantities(flops, "flops")]
    question = fit.problem.question(budgets[0])
    return search_frontier(fit.surface, question, budgets, fit.problem.facts.seed)


def _changed(
    fit: Fit,
    supply: Mapping[str, float] | None,
    lower: Mapping[str, float] | None,
    upper: Mapping[str, float] | None,
    max_epochs: float | None,
) -> Fit:
    """The fit asked at other bounds and another supply of text."""
    facts = fit.problem.facts
    for name in supply or {}:
        require_domain(name, tuple(facts.supply))
    there = {**facts.supply, **(supply or {})}
    facts = replace(facts, supply=there, space=with_bounds(facts, there, lower, upper, max_epochs))
    problem = replace(fit.problem, facts=facts)
    return Fit(problem, fit.surface.with_supply(problem.supply))


def require_scale(runs: Runs) -> None:
    """Refuse runs that do not state their N and D, which a recommendation is about."""
    sized = runs.has("params") or runs.has("params_non_embed")
    if not (sized and runs.has("tokens")):
        raise RunTableError(
            "a recommendation needs the columns `params` and `tokens`, but "
            f"`{'tokens' if sized else 'params'}` is missing",
            "add it; where all runs share one size and one token count, a constant column will do",
        )


def _budget(fit: Fit, cost: Cost, flops: float | None, params: float | None, tokens: float | None) -> float:
    if params is not None and tokens is not None:
        spent = float(cost.flops(params, tokens))
        if flops is not None and not spent / SAME_COST <= flops <= spent * SAME_COST:
            raise ConfigError(
                f"{format_quantity(params)} parameters on {format_quantity(tokens)} tokens cost {format_flops(spent)} "
                f"FLOPs ({'6 N D' if isinstance(cost, SixND) else 'by the cost of the runs'}), "
                f"but got flops {format_flops(flops)}",
                "leave out one of `flops`, `params` and `tokens`",
            )
        return spent if flops is None else flops
    if flops is not None:
        return flops
    if fit.problem.facts.target is not None:
        return fit.problem.facts.target.flops
    if not fit.surface.sized:
        return fit.surface.max_flops  # one scale: the mixture is all that can be asked for
    raise ConfigError("a recommendation needs a budget", "give `flops`, or set target.flops in study.yaml")
