"""The compute-optimal mixture, N and D along a range of budgets."""

from __future__ import annotations

from collections.abc import Sequence

from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.search.problem import Problem
from mixlab.search.recommend import recommend
from mixlab.search.recommendation import Recommendation


def frontier(surface: Surface, problem: Problem, budgets: Sequence[float]) -> list[Recommendation]:
    """One recommendation per budget, each searched from the one before.

    Losses have their intervals, optima have none and no baselines: those cost a search per draw, and for each.
    """
    answers: list[Recommendation] = []
    for budget in budgets:
        start = Mixture(answers[-1].mixture) if answers and answers[-1].mixture else None
        answers.append(
            recommend(
                surface,
                problem.space,
                budget,
                cost=problem.cost,
                prior=problem.prior,
                start=start,
                compare=False,
                draws=0,
                seed=problem.seed,
            )
        )
    return answers
