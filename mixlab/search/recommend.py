"""The recommendation: the mixture, N and D that a surface calls best at a budget, beside the obvious baselines.

Intervals of the answer come from the optima under bootstrap draws, intervals of losses are prediction intervals.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from mixlab.decide.belief import Belief
from mixlab.laws.bootstrap import percentile_interval
from mixlab.laws.predictor import LEVEL
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.objective import eval_of
from mixlab.runs.serving import training_flops
from mixlab.runs.table import Runs
from mixlab.search.baselines import baseline_mixtures, best_observed
from mixlab.search.caveats import caveats
from mixlab.search.held import held_to, require_limits
from mixlab.search.optimum import Optimum, PosedQuestion, find_optimum, pose
from mixlab.search.question import Question
from mixlab.search.recommendation import Recommendation
from mixlab.search.settle import as_dict, decides, settle

OPTIMUM_DRAWS = 60
OPTIMUM_TURNS = 3  # of a draw's search, which begins at the answer


def recommend(
    surface: Surface,
    question: Question,
    *,
    observed: Runs | None = None,
    found: Optimum | None = None,
    belief: Belief | None = None,
    compare: bool = True,
    draws: int = OPTIMUM_DRAWS,
    seed: int = 0,
) -> Recommendation:
    """Search mixture and size at a budget.

    Args:
        surface: the fitted objective, at the supply of the question's space.
        question: what is asked. A law that knows no sizes takes the runs' N.
        observed: the runs, for the `best_observed` baseline.
        found: the optimum, where it is known; absent: it is searched.
        belief: what the runs say of mixtures, which then settles the mixture where it can (see `settle`); without one,
            or of an optimum that is `found`, the law's optimum is the answer.
        compare: also say what the baselines come to, each at its own best size.
        draws: bootstrap draws whose optima give the intervals of mixture, N and D; 0 for none.
        seed: of the search's random starts.

    Raises:
        InfeasibleError: when no mixture keeps bounds, caps, constraints and limits.
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    posed = pose(surface, question)
    baselines, without = baseline_mixtures(surface.objective, question.space, observed)
    starts = [one for one in (*baselines.values(), question.prior) if one is not None]
    best = found or find_optimum(surface.point, posed, starts, seed)
    settled = None
    if found is None and belief is not None and decides(surface, belief, question):
        settled = settle(surface, belief, posed, best, baselines, seed)
        best = settled.best
    require_limits(surface.point, question, best.mixture, best.params, best.tokens)
    compared = {
        name: _baseline(surface, posed, one, observed if name == "best_observed" else None)
        for name, one in (baselines.items() if compare else ())
    }
    searched = posed.with_mixture(best.mixture) if settled is not None and best.mixture is not None else posed
    optima = _redrawn(surface, searched, best, draws, seed)
    mixture = dict(best.mixture) if best.mixture is not None else {}
    h = best.mixture.array(surface.domains) if best.mixture is not None else None
    answer = Recommendation(
        flops=question.flops,
        mixture=mixture,
        mixture_interval=settled.interval
        if settled is not None
        else {
            name: _spread([one.mixture[name] for one in optima if one.mixture is not None], weight)
            for name, weight in mixture.items()
        },
        params=best.params,
        params_interval=_spread([one.params for one in optima], best.params),
        tokens=best.tokens,
        tokens_interval=_spread([one.tokens for one in optima], best.tokens),
        epochs=_epochs(question.space, best),
        loss=_loss(surface, h, best.params, best.tokens),
        losses={eval_of(column): _loss(surface, h, best.params, best.tokens, column) for column in surface.objective},
        baselines=compared,
        law=surface.law,
        objective=dict(surface.objective),
        held=held_to(surface.point, question, mixture, best.params, best.tokens),
        extrapolation=_extrapolation(surface, h, best, training_flops(question.cost, best.params, best.tokens)),
        warnings=[*surface.warnings, *posed.why, *without],
    )
    if settled is not None:
        losses = {name: one["loss"]["mean"] for name, one in compared.items()}
        shown = {name: one for name, one in baselines.items() if name in compared}
        answer = replace(answer, decision=as_dict(settled, surface, posed, shown, losses))
    return replace(answer, warnings=[*answer.warnings, *caveats(answer, surface, posed, best)])


def _redrawn(surface: Surface, posed: PosedQuestion, best: Optimum, draws: int, seed: int) -> list[Optimum]:
    """The optima of bootstrap draws, each searched from the answer."""
    starts = [best.mixture] if best.mixture else []
    return [
        find_optimum(surface.draw(index), posed, starts, seed, OPTIMUM_TURNS, explore=False, near=best.params)
        for index in range(min(draws, surface.bootstrap))
    ]


def _spread(values: list[float], point: float) -> tuple[float, float]:
    """The middle `LEVEL` of the draws, widened to the point; without draws the point."""
    if not values:
        return point, point
    low, high = percentile_interval(values, LEVEL, point)
    return float(low), float(high)


def _baseline(surface: Surface, posed: PosedQuestion, mixture: Mixture, observed: Runs | None) -> dict[str, Any]:
    """A baseline at its own best size."""
    optimum = find_optimum(surface.point, posed.with_mixture(mixture), [], 0)
    h = mixture.array(surface.domains)
    result: dict[str, Any] = {
        "mixture": dict(mixture),
        "params": optimum.params,
        "tokens": optimum.tokens,
        "loss": _loss(surface, h, optimum.params, optimum.tokens),
    }
    if observed is not None:
        row = best_observed(surface.objective, observed)[1]
        seen = surface.objective.of({column: float(observed.column(column)[row]) for column in surface.objective})
        result |= {"run_id": str(observed.run_ids[row]), "observed_loss": seen}
    return result


def _loss(
    surface: Surface, h: np.ndarray | None, params: float, tokens: float, target: str | None = None
) -> dict[str, float]:
    if target is None:
        mean = surface.predict(h, params, tokens)
    else:
        mean = surface.predict_targets(h, params, tokens)[target]
    low, high = surface.interval(h, params, tokens, LEVEL, "prediction", target)
    return {"mean": float(mean[0]), "low": float(low[0]), "high": float(high[0])}


def _extrapolation(surface: Surface, h: np.ndarray | None, best: Optimum, flops: float) -> dict[str, Any]:
    distance = float(np.min(np.linalg.norm(surface.support - h, axis=1))) if h is not None else 0.0
    return {
        "flops_ratio": flops / surface.max_flops,
        "params_ratio": best.params / surface.params_range[1],
        "tokens_ratio": best.tokens / surface.tokens_range[1],
        "mixture_distance": distance,
        "outside_support": h is not None and not _inside(surface.support, h),
    }


def _inside(support: np.ndarray, h: np.ndarray) -> bool:
    """Whether each weight lies within the range that was run."""
    return bool(np.all(h >= support.min(axis=0) - 0.02) and np.all(h <= support.max(axis=0) + 0.02))


def _epochs(space: MixtureSpace | None, best: Optimum) -> dict[str, float]:
    """Epochs of the domains whose supply is known."""
    if space is None or best.mixture is None:
        return {}
    known = {domain.name for domain in space.domains if math.isfinite(domain.unique_tokens)}
    return {name: seen for name, seen in space.epochs(best.mixture, best.tokens).items() if name in known}
