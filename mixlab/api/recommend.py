"""`mixlab.recommend`: the mixture, model size and tokens that a fit calls best at a budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from mixlab.api import given
from mixlab.api.asked import Asked, Asking, pose_asked
from mixlab.api.fit import Fit
from mixlab.errors import ConfigError, RunTableError, require_kind
from mixlab.hardware import Hardware, budget_in_flops
from mixlab.runs.cost import Cost, SixND
from mixlab.runs.serving import serving_flops, training_flops
from mixlab.runs.table import Runs
from mixlab.search.baselines import baseline_mixtures
from mixlab.search.question import Question
from mixlab.search.reach import least_budget
from mixlab.search.recommend import OPTIMUM_DRAWS
from mixlab.search.recommend import recommend as search
from mixlab.search.recommendation import Recommendation
from mixlab.units import format_flops, format_quantity

SAME_COST = 1.05  # a factor of what N and D cost: numbers that people round to two digits may be so far apart


def recommend(
    fit: Fit,
    flops: given.Quantity | None = None,
    *,
    dollars: given.Quantity | None = None,
    gpu_hours: given.Quantity | None = None,
    reach_loss: given.Quantity | None = None,
    cost: Cost | None = None,
    draws: int = OPTIMUM_DRAWS,
    **asking: Unpack[Asking],
) -> Recommendation:
    """The best mixture, N and D at a budget. Cost, bounds and supply come with the fit; any may be replaced.

    Args:
        fit: what `mixlab.fit` gave.
        flops: the budget C, such as "1e21"; absent: what `params` and `tokens` cost, else the study's target.
        dollars, gpu_hours: the budget, in place of `flops`.
        reach_loss: ask for the least budget at which the objective is predicted to be this, in place of a budget.
        cost: what a budget buys at N.
        draws: bootstrap draws of the fit whose optima give the intervals of mixture, N and D.
        asking: what else is asked:
            params, tokens, tokens_per_param: fix N, D or D / N.
            mix: keep this mixture, and search the size alone; domains that are not named have weight 0.
            min, max: bounds on single weights.
            constraints: on several weights: "code + math >= 0.3", or a list of these.
            max_domains: at most so many domains have weight.
            no_worse: losses that must not be worse than those of a mixture, or than a number:
                {"code": "proportional", "web": 2.31}.
            worst_group: "proportional" (or uniform, prior): minimise the largest of the objective's losses, each
                relative to that of this mixture at its own best size.
            supply: unique tokens by domain at the target.
            max_epochs: how often a domain may be repeated.
            kl: weight of KL(mixture || prior).
            prior: what that pulls to; absent: the study's.
            serve: tokens that the model will read and write in use; the budget is then for training and serving.
            gpu, gpu_flops, mfu, price: a GPU by name, its peak, the share of it that is reached, dollars per hour.

    Raises:
        ConfigError: without a budget, or where something given cannot be meant: `flops` that N and D do not cost, say.
        RunTableError: when the runs state no N or D.
        InfeasibleError: when no mixture keeps bounds, caps, constraints and limits.
        FitError: when the runs cannot carry the answer.
    """
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    if cost is not None:
        require_kind("cost", cost, Cost, "a Cost", "leave it out: it comes with the fit")
    require_scale(fit.problem.runs)
    if isinstance(flops, (list, tuple, np.ndarray)):
        raise ConfigError("a recommendation has one budget, but got several", "call mixlab.frontier: it takes several")
    asked = Asked.read(asking)
    hardware = asked.hardware(fit)
    stated = budget_in_flops(
        hardware,
        given.quantity(flops, "flops"),
        given.quantity(dollars, "dollars"),
        given.quantity(gpu_hours, "gpu_hours"),
    )
    loss = given.quantity(reach_loss, "reach_loss")
    if loss is not None and stated is not None:
        raise ConfigError("a budget and a loss to reach are both given: one follows from the other", "leave one out")
    budget = budget_of(fit, asked, stated, cost, needed=loss is None)
    there, question = pose_asked(fit, asked, budget, cost)
    runs, seed = there.problem.runs, there.problem.facts.seed
    if loss is not None:
        question = _reaching(there, question, loss, seed)
    answer = search(
        there.surface, question, observed=runs, belief=fit.belief, draws=given.count(draws, "draws"), seed=seed
    )
    return finished(answer, there, question, asked, hardware)


def finished(
    answer: Recommendation, fit: Fit, question: Question, asked: Asked, hardware: Hardware | None
) -> Recommendation:
    """An answer with what it was made from, what was asked, and what it costs."""
    problem = fit.problem
    made_from = {"runs": problem.runs.digest}
    if problem.study is not None:
        made_from["study"] = problem.study.config.answer_digest

    def bill(flops: float) -> dict[str, Any]:
        return {"flops": flops} if hardware is None else hardware.bill(flops)

    costs: dict[str, Any] = {"training": bill(training_flops(question.cost, answer.params, answer.tokens))}
    if serving := serving_flops(question.cost, answer.params):
        costs["serving"] = bill(serving)
    costs["runs"] = bill(spent_on(problem.runs))
    if hardware is not None:
        costs["gpu"] = {"name": hardware.name, "peak": hardware.peak, "mfu": hardware.mfu, "price": hardware.price}
    return replace(answer, made_from=made_from, asked=asked.to_dict(), costs=costs)


def spent_on(runs: Runs) -> float:
    """FLOPs of the runs: of each, those of its last row."""
    ends = runs.frame.assign(flops_of_run=runs.flops()).groupby(np.asarray(runs.run_ids))["flops_of_run"].max()
    return float(ends.sum())


def _reaching(fit: Fit, question: Question, loss: float, seed: int) -> Question:
    """The question at the least budget that reaches a loss."""
    if question.measures:
        raise ConfigError("worst_group is measured at a budget, but a loss is to be reached", "leave one of them out")
    if question.params is not None and question.tokens is not None:
        raise ConfigError("params and tokens fix the budget, but a loss is to be reached", "leave one of them out")
    baselines, _ = baseline_mixtures(fit.surface.objective, question.space, fit.problem.runs)
    starts = [one for one in (*baselines.values(), question.prior) if one is not None]
    flops = least_budget(fit.surface, lambda budget: replace(question, flops=budget), loss, starts, seed)
    return replace(question, flops=flops)


def require_scale(runs: Runs) -> None:
    """Refuse runs that do not state their N and D, which a recommendation is about."""
    sized = runs.has("params") or runs.has("params_non_embed")
    if not (sized and runs.has("tokens")):
        raise RunTableError(
            "a recommendation needs the columns `params` and `tokens`, but "
            f"`{'tokens' if sized else 'params'}` is missing",
            "add it; where all runs share one size and one token count, a constant column will do",
        )


def budget_of(fit: Fit, asked: Asked, stated: float | None, cost: Cost | None = None, *, needed: bool = True) -> float:
    """The budget as stated, else what N and D cost, else the study's, else the largest run's where any will do.

    Raises:
        ConfigError: when there is none and one is `needed`.
    """
    if asked.params is not None and asked.tokens is not None:
        question = pose_asked(fit, replace(asked, no_worse=None, worst_group=None), fit.surface.max_flops, cost)[1]
        spent = float(question.cost.flops(asked.params, asked.tokens))
        if stated is not None and not spent / SAME_COST <= stated <= spent * SAME_COST:
            how = "6 N D" if isinstance(question.cost, SixND) else "by the cost of the runs"
            raise ConfigError(
                f"{format_quantity(asked.params)} parameters on {format_quantity(asked.tokens)} tokens cost "
                f"{format_flops(spent)} FLOPs ({how}), but got flops {format_flops(stated)}",
                "leave out one of `flops`, `params` and `tokens`",
            )
        return spent if stated is None else stated
    if stated is not None:
        return stated
    if fit.problem.facts.target is not None:
        return fit.problem.facts.target.flops
    if not fit.surface.sized or not needed:
        return fit.surface.max_flops  # one scale: the mixture is all that can be asked for
    raise ConfigError("a recommendation needs a budget", "give `flops`, or set target.flops in study.yaml")
