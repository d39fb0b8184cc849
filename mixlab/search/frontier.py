"""The compute-optimal mixture, N and D along a range of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mixlab.laws.surface import Surface
from mixlab.runs import RunTable
from mixlab.search.problem import Problem
from mixlab.search.recommend import Recommendation, recommend


def frontier(
    surface: Surface, problem: Problem, budgets: Sequence[float], observed: RunTable | None = None
) -> list[Recommendation]:
    """One recommendation per budget, without the intervals of the optimum (they would cost a search per draw)."""
    quick = replace(surface, bootstrap=0)
    return [
        recommend(
            quick,
            problem.space,
            budget,
            cost=problem.cost,
            observed=observed,
            prior=problem.prior,
        )
        for budget in budgets
    ]
