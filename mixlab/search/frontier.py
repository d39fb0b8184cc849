"""The compute-optimal mixture, N and D along a range of budgets."""

from __future__ import annotations

from collections.abc import Sequence

from mixlab.laws.surface import Surface
from mixlab.search.problem import Problem
from mixlab.search.recommend import Recommendation, recommend


def frontier(surface: Surface, problem: Problem, budgets: Sequence[float], seed: int = 0) -> list[Recommendation]:
    """One recommendation per budget; intervals of losses, but none of the optimum (they cost a search per draw)."""
    return [
        recommend(surface, problem.space, budget, cost=problem.cost, prior=problem.prior, draws=0, seed=seed)
        for budget in budgets
    ]
