"""The best mixture, N and D along budgets, every point searched from several sides.

A search from random starts may miss an optimum that a neighbour has found, so each point is searched by itself as a
single answer would be, and again from the answers on both sides. None is worse than a single search at its budget; and
where one is worse than an answer at less compute, it takes that answer's mixture and size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from mixlab.decide.belief import Belief
from mixlab.laws.surface import Draw, Surface
from mixlab.mixture import Mixture
from mixlab.runs.table import Runs
from mixlab.search.baselines import baseline_mixtures
from mixlab.search.optimum import Optimum, PosedQuestion, find_optimum, pose, worth
from mixlab.search.question import Question
from mixlab.search.recommend import recommend
from mixlab.search.recommendation import Recommendation
from mixlab.search.settle import decides, settle

TURNS_FROM_A_NEIGHBOUR = 3
BETTER = 1e-9  # nats


def frontier(
    surface: Surface,
    questions: Sequence[Question],
    *,
    observed: Runs | None = None,
    belief: Belief | None = None,
    known: Sequence[Mixture] = (),
    seed: int = 0,
) -> list[Recommendation]:
    """The answer to each of the questions, which differ in their budgets.

    Losses have their intervals, optima have none and no baselines: those cost a search per draw, and for each.

    Args:
        surface: the fitted objective.
        questions: in any order.
        observed: the runs, for the starts that a single search has.
        belief: settles the mixtures, as in a single answer.
        known: answers from elsewhere to begin from as well.
        seed: of the searches' random starts.
    """
    order = sorted(range(len(questions)), key=lambda index: questions[index].flops)
    points = [(surface.point, pose(surface, questions[index])) for index in order]
    found = trace(points, starts_of(surface, questions[0], observed), known, seed)
    if belief is not None and decides(surface, belief, questions[0]):
        baselines, _ = baseline_mixtures(surface.objective, questions[0].space, observed)
        found = [
            settle(surface, belief, posed, best, baselines, seed).best
            for (_, posed), best in zip(points, found, strict=True)
        ]
    for here in range(1, len(points)):
        found[here] = _better(*points[here], found[here], _same(points[here][1], found[here - 1]))
    answers = {
        index: recommend(surface, questions[index], found=best, compare=False, draws=0, seed=seed)
        for index, best in zip(order, found, strict=True)
    }
    return [answers[index] for index in range(len(questions))]


def starts_of(surface: Surface, question: Question, observed: Runs | None) -> list[Mixture]:
    """The mixtures that a single search begins from."""
    baselines, _ = baseline_mixtures(surface.objective, question.space, observed)
    return [one for one in (*baselines.values(), question.prior) if one is not None]


def trace(
    points: Sequence[tuple[Draw, PosedQuestion]], starts: list[Mixture], known: Sequence[Mixture] = (), seed: int = 0
) -> list[Optimum]:
    """The optimum at each point of a path: searched by itself, then from its neighbours, forth and back.

    Args:
        points: what is minimised, and what is searched; neighbours are alike.
        starts: mixtures to begin from.
        known: the same, with less care.
        seed: of the searches' random starts.
    """
    found = [_alone(draw, posed, starts, known, seed) for draw, posed in points]
    count = len(points)
    for here, beside in (*((k, k - 1) for k in range(1, count)), *((k, k + 1) for k in range(count - 2, -1, -1))):
        other = _from_neighbour(*points[here], found[here], found[beside], seed)
        found[here] = _better(*points[here], found[here], other)
    return found


def _alone(draw: Draw, posed: PosedQuestion, starts: list[Mixture], known: Sequence[Mixture], seed: int) -> Optimum:
    """As a single search finds it, or better from the mixtures that are known."""
    found = find_optimum(draw, posed, starts, seed)
    if known and posed.searched is not None:
        other = find_optimum(draw, posed, list(known), seed, turns=TURNS_FROM_A_NEIGHBOUR, explore=False)
        found = _better(draw, posed, found, other)
    return found


def _from_neighbour(draw: Draw, posed: PosedQuestion, found: Optimum, other: Optimum, seed: int) -> Optimum | None:
    """What a search comes to from a neighbour's mixture, where at this size alone that is better already."""
    if other.mixture is None or posed.searched is None:
        return None
    here = replace(posed, params=found.params)
    there = find_optimum(draw, here, [other.mixture], seed, explore=False)
    if _better(draw, posed, found, there) is found:
        return None
    starts = [there.mixture or other.mixture]
    full = find_optimum(draw, posed, starts, seed, turns=TURNS_FROM_A_NEIGHBOUR, explore=False)
    return _better(draw, posed, there, full)


def _same(posed: PosedQuestion, other: Optimum) -> Optimum | None:
    """The mixture and size of less compute, on the tokens that there are now, where they may be had."""
    n = other.params if posed.params is None else posed.params
    if not posed.low * (1 - 1e-9) <= n <= posed.high * (1 + 1e-9):
        return None
    tokens = posed.tokens_at(n)
    if posed.searched is not None:
        assert other.mixture is not None
        if tokens > posed.searched.most_tokens() or not posed.searched.contains(other.mixture, tokens):
            return None
    return replace(other, params=n, tokens=tokens, at_edge=False)


def _better(draw: Draw, posed: PosedQuestion, found: Optimum, other: Optimum | None) -> Optimum:
    if other is None or not worth(draw, posed, other) < worth(draw, posed, found) - BETTER:
        return found
    return other


def not_falling(answers: Sequence[Recommendation]) -> list[str]:
    """Where the law expects more of less compute, in words; such a budget is better not spent."""
    rows = sorted(answers, key=lambda one: one.flops)
    found = []
    for before, after in pairwise(rows):
        if after.loss["mean"] > before.loss["mean"] + BETTER and math.isfinite(after.loss["mean"]):
            found.append(
                f"at {after.flops:.3g} FLOPs the law expects {after.loss['mean']:.4f}, more than "
                f"{before.loss['mean']:.4f} at {before.flops:.3g}: more tokens of this text do not pay"
            )
    return found
