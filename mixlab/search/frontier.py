"""The compute-optimal mixture, N and D along a range of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.search.question import Question
from mixlab.search.recommend import recommend
from mixlab.search.recommendation import Recommendation


def frontier(surface: Surface, question: Question, budgets: Sequence[float], seed: int = 0) -> list[Recommendation]:
    """The question at each budget, each searched from the answer before.

    Losses have their intervals, optima have none and no baselines: those cost a search per draw, and for each.
    """
    answers: list[Recommendation] = []
    for budget in budgets:
        start = Mixture(answers[-1].mixture) if answers and answers[-1].mixture else None
        asked = replace(question, flops=budget)
        answers.append(recommend(surface, asked, start=start, compare=False, draws=0, seed=seed))
    return answers
