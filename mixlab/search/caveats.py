"""What has to be said beside a recommendation, so that nobody takes it for more than it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mixlab.laws.surface import Surface
from mixlab.mixture import limit_in_words
from mixlab.search.optimum import Optimum, PosedQuestion
from mixlab.search.recommendation import Recommendation
from mixlab.units import format_quantity

FAR = 10.0  # times the largest run's FLOPs
ANOTHER_SCALE = 1.5  # times the largest run
RUNS_OUT = 0.95  # of the most tokens that the text gives
CORNER = 0.9
LAW_APART = 0.001  # of the loss: what less the law may rank otherwise without a word
RANKS_KEPT = 0.9  # Spearman, between the largest runs and what is asked


def caveats(answer: Recommendation, surface: Surface, posed: PosedQuestion, best: Optimum) -> list[str]:
    """All of them, in words."""
    found = [*_of_compute(answer, surface), *_of_size(posed, best)]
    if len(answer.mixture) > 1:
        found += [*_of_mixture(answer, posed), *_against_baselines(answer, surface, posed)]
    return [*found, *_of_repeats(answer, surface)]


def _of_compute(answer: Recommendation, surface: Surface) -> list[str]:
    """How far the budget lies beyond the runs, and whether anything tests the law there."""
    found = []
    ratio = answer.extrapolation["flops_ratio"]
    if ratio > ANOTHER_SCALE and "compute" not in surface.choice.objective.tests:
        found.append(
            "no runs differ enough in compute to test the law on more of it: trust the order of mixtures, "
            "not the loss or its interval"
        )
    if ratio > FAR:
        found.append(f"the budget is {ratio:.3g} times the largest run: nothing tests the law that far out")
    return found


def _of_size(posed: PosedQuestion, best: Optimum) -> list[str]:
    """What keeps N from being better."""
    if not best.at_edge:
        return []
    if posed.question.space is not None and best.tokens > RUNS_OUT * posed.question.space.most_tokens():
        return ["the text runs out: a smaller model on more tokens would be better, but there are none left"]
    return [
        f"N = {format_quantity(best.params)} is at the end of the sizes that the runs support "
        f"({format_quantity(posed.low)} to {format_quantity(posed.high)}): run larger or smaller models"
    ]


def _of_mixture(answer: Recommendation, posed: PosedQuestion) -> list[str]:
    """Where the mixture lies at an edge: of the simplex, of the runs, or of what is allowed."""
    found = []
    top = max(answer.mixture, key=lambda name: answer.mixture[name])
    if answer.mixture[top] > CORNER:
        found.append(f"the mixture is nearly all {top}: a corner, usually a sign that the objective is too narrow")
    if answer.extrapolation["outside_support"]:
        found.append("a weight lies outside what was run: train this mixture before you rely on it")
    space = posed.question.space
    if space is not None:
        upper = space.bounds(answer.tokens)[1]
        capped = [
            name
            for name, limit in zip(space.names, upper, strict=True)
            if limit < 1 and answer.mixture.get(name, 0.0) > limit - 1e-4
        ]
        if capped:
            found.append(f"limited by the supply or a bound: {', '.join(capped)}")
    return found


def _against_baselines(answer: Recommendation, surface: Surface, posed: PosedQuestion) -> list[str]:
    """Whether the resamples agree that the answer is better: differences by draw, which share their errors."""
    if answer.decision:
        return _of_decision(answer, posed)
    found = []
    question = posed.question
    other = bool(question.kl or question.measures)
    outside = f"lies outside the bounds{', limits' if answer.held else ''} or caps"
    ours = surface.draws(_array(surface, answer.mixture), answer.params, answer.tokens)[:, 0]
    for key, baseline in answer.baselines.items():
        name = key.replace("_", " ")
        theirs = surface.draws(_array(surface, baseline["mixture"]), baseline["params"], baseline["tokens"])[:, 0]
        if baseline["loss"]["mean"] < answer.loss["mean"] - 1e-9:
            few = _beyond_limit(posed, baseline["mixture"])
            why = "is not what was asked for" if other else few or outside
            found.append(f"the {name} mixture is predicted to be better, but {why}")
        elif len(ours) and np.quantile(theirs - ours, 0.05) <= 0:
            found.append(f"the gain over the {name} mixture is not certain: its 90% interval includes 0")
    return found


def _beyond_limit(posed: PosedQuestion, mixture: Mapping[str, float]) -> str | None:
    """What is wrong with a mixture of more domains than may have weight; None where it has no more."""
    space = posed.question.space
    count = sum(weight > 0 for weight in mixture.values())
    if space is None or space.limit is None or count <= space.limit:
        return None
    return f"has {count} domains, and {limit_in_words(space.limit)} may have weight"


def _of_decision(answer: Recommendation, posed: PosedQuestion) -> list[str]:
    """What the runs do not support, by the belief that decided."""
    decision = answer.decision
    home = decision["home"].replace("_", " ")
    found = []
    if decision["at_home"]:
        there = answer.baselines.get(decision["home"], {}).get("mixture") or posed.question.prior or {}
        moved = " moved inside the limit on domains" if _beyond_limit(posed, there) else ""
        found.append(f"the runs support no better mixture than {home}{moved}, which is the answer")
    for name, one in decision["forecasts"].items():
        said = name.replace("_", " ")
        if one["low"] <= 0 and not (decision["at_home"] and name == decision["home"]):
            found.append(
                f"the gain over the {said} mixture is not certain: the answer is better with probability "
                f"{one['probability']:.2f}"
            )
        if answer.baselines[name]["loss"]["mean"] < answer.loss["mean"] - LAW_APART * answer.loss["mean"]:
            if few := _beyond_limit(posed, answer.baselines[name]["mixture"]):
                found.append(f"the {said} mixture is predicted to be better, but {few}")
                continue
            found.append(f"the law by itself ranks the {said} mixture first; what all runs say of mixtures does not")
    if decision["rank_correlation"] < RANKS_KEPT:
        found.append(
            f"mixtures rank differently at this size than at the largest runs (rank correlation "
            f"{decision['rank_correlation']:.2f}): run larger proxies"
        )
    return found


def _array(surface: Surface, mixture: Mapping[str, float]) -> np.ndarray:
    return np.array([mixture.get(name, 0.0) for name in surface.domains])


def _of_repeats(answer: Recommendation, surface: Surface) -> list[str]:
    """Which laws do not see that text is repeated."""
    repeated = [name for name, seen in answer.epochs.items() if seen > 1]
    blind = surface.blind_to_repeats
    return [f"repeats of {', '.join(repeated)} count as fresh text in {', '.join(blind)}"] if repeated and blind else []
