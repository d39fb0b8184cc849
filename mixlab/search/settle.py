"""The mixture of an answer, settled by what all runs say of it and not by the law alone.

A law's optimum over mixtures is the best of many predictions, and so too good to be true: most where runs are few. The
law says what N and D are worth and what loss to expect; which mixture to train is decided on a belief that stays near
its runs (`mixlab.decide`), in which the law has a voice as large as its errors on unseen mixtures allow. That is done
at the law's N and D, and N and D are then searched anew for that mixture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mixlab.arrays import Array
from mixlab.decide.arms import gather
from mixlab.decide.belief import Belief
from mixlab.decide.decision import Decision, Opinion, decide
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.search.optimum import Optimum, PosedQuestion, find_optimum
from mixlab.search.question import Question

AT_A_BOUND = 1e-3  # in weight
STAYED = 0.005  # of a weight: nearer to home's than this is home's
MOST_TIMES = 100.0  # the budget, up to which effective compute is looked for
HALVINGS = 24


@dataclass(frozen=True)
class Settled:
    """An answer's optimum, and how it was decided.

    Attributes:
        best: mixture, N and D.
        decision: the mixtures that cannot be told from it, regret and forecasts.
        home: name of the mixture that is answered where the runs support no other.
        names: domains, in the order of the decision's arrays.
        evidence: by domain, what holds its weight there: `data`, the `prior`, or a `bound`.
        rank_correlation: Spearman's, of the mixtures that were run, between the largest runs and what is asked.
    """

    best: Optimum
    decision: Decision
    home: str
    names: tuple[str, ...]
    evidence: dict[str, str]
    rank_correlation: float

    @property
    def interval(self) -> dict[str, tuple[float, float]]:
        """The range of each weight over the mixtures that cannot be told from the answer."""
        ends = zip(self.decision.low, self.decision.high, strict=True)
        return {name: (float(low), float(high)) for name, (low, high) in zip(self.names, ends, strict=True)}


def decides(surface: Surface, belief: Belief | None, question: Question) -> bool:
    """Whether a belief settles the mixture: not where it is fixed, or a law by name or another aim was asked for."""
    free = question.space is not None and question.mixture is None
    plain = not question.limits and not question.measures and not question.kl
    return belief is not None and free and plain and surface.law == "auto"


def settle(
    surface: Surface,
    belief: Belief,
    posed: PosedQuestion,
    best: Optimum,
    baselines: Mapping[str, Mixture],
    seed: int = 0,
) -> Settled:
    """Decide the mixture at the law's N and D, and search N and D for it.

    Args:
        surface: the law.
        belief: what the runs say of mixtures.
        posed: the question.
        best: the law's optimum.
        baselines: mixtures that the answer is compared with, of which one is home.
        seed: of the arms.

    Raises:
        InfeasibleError: when no mixture keeps the bounds at these tokens.
    """
    space = posed.question.space
    assert space is not None
    named = dict(baselines)
    if posed.question.prior is not None:
        named["prior"] = posed.question.prior
    home = "prior" if "prior" in named else next(iter(named))
    order = [home, *(name for name in named if name != home)]
    starts = [named[name] for name in order] + ([best.mixture] if best.mixture is not None else [])
    arms = gather(belief, space, best.params, best.tokens, surface.support, starts, seed)
    opinion = Opinion.of(
        lambda mixtures: surface.predict(mixtures, best.params, best.tokens),
        surface.choice.objective.mixture,
        belief.error,
    )
    decision = decide(belief, arms, arms.named[0], {name: named[name] for name in order}, opinion, seed=seed)
    mixture = Mixture.from_array(space.names, decision.mixture)
    there = find_optimum(surface.point, posed.with_mixture(mixture), [], seed)
    found = replace(there, mixture=mixture)
    if not space.contains(mixture, found.tokens):
        # At another size the caps differ: what they leave of the mixture.
        inside = Mixture.from_array(space.names, space.project(mixture.array(space.names), found.tokens))
        found = replace(found, mixture=inside)
    wanted = named[home].array(space.names)
    evidence = _evidence(decision, arms.mixtures[arms.named[0]], wanted, space, found)
    there_and_here = [
        belief.predict(surface.support, *np.exp(belief.reference)),
        belief.predict(surface.support, best.params, best.tokens),
    ]
    ranks = float(spearmanr(*there_and_here).statistic) if len(surface.support) > 2 else 1.0
    return Settled(found, decision, home, space.names, evidence, ranks)


def _evidence(decision: Decision, home: Array, wanted: Array, space: MixtureSpace, best: Optimum) -> dict[str, str]:
    """What holds each weight; `home` is what the space leaves of the mixture that is `wanted` there."""
    lower, upper = space.bounds(best.tokens)
    said = {}
    for index, name in enumerate(space.names):
        weight = decision.mixture[index]
        if (lower[index] > 0 and weight < lower[index] + AT_A_BOUND) or (
            upper[index] < 1 and weight > upper[index] - AT_A_BOUND
        ):
            said[name] = "bound"
        elif decision.low[index] - STAYED <= home[index] <= decision.high[index] + STAYED:
            # A limit on domains takes weights as a bound does.
            taken = space.limit is not None and home[index] == 0 and wanted[index] > STAYED
            said[name] = "bound" if taken else "prior"
        else:
            said[name] = "data"
    return said


def effective_compute(surface: Surface, posed: PosedQuestion, mixture: Mixture, loss: float) -> float | None:
    """How many times the budget a mixture needs for a loss, by the law; None where that is not known or beyond 100.

    Below 1 where it comes to the loss for less.
    """
    question = posed.question
    if not surface.sized or question.tokens is not None or question.params is not None:
        return None

    def reached(times: float) -> bool:
        asked = replace(question, flops=question.flops * times, mixture=mixture)
        here = replace(posed, question=asked, high=max(posed.high, posed.high * math.sqrt(times)))
        best = find_optimum(surface.point, here, [], 0)
        h = mixture.array(surface.domains)
        return bool(surface.predict(h, best.params, best.tokens)[0] <= loss)

    low, high = -math.log(MOST_TIMES), math.log(MOST_TIMES)
    if not reached(math.exp(high)) or reached(math.exp(low)):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(math.exp(middle)) else (middle, high)
    return math.exp((low + high) / 2)


def as_dict(
    settled: Settled,
    surface: Surface,
    posed: PosedQuestion,
    baselines: Mapping[str, Mixture],
    losses: Mapping[str, float],
) -> dict[str, Any]:
    """What a recommendation says of its decision.

    Args:
        settled: the decision.
        surface: the law.
        posed: the question.
        baselines: what the answer is compared with.
        losses: the law's loss of each at the question's budget.
    """
    decision = settled.decision
    forecasts: dict[str, Any] = {}
    for name, one in decision.forecasts.items():
        if name not in baselines:
            continue
        times = effective_compute(surface, posed, baselines[name], losses[name] - one.gain)
        forecasts[name] = {
            "probability": one.probability,
            "gain": one.gain,
            "low": one.low,
            "high": one.high,
            "effective_compute": times,
        }
    return {
        "home": settled.home,
        "at_home": decision.at_home,
        "expected_regret": decision.regret,
        "noise": decision.noise,
        "alike": [dict(zip(settled.names, map(float, h), strict=True)) for h in decision.alike],
        "evidence": settled.evidence,
        "rank_correlation": settled.rank_correlation,
        "forecasts": forecasts,
    }
