"""The best model size at a budget: a bounded search in log N, all of a grid at once, with D following from C."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixlab.runs.cost import Cost

GRID = 33
ZOOMS = 3  # each narrows the grid to two of its steps
EDGE = 0.02  # in log N: how near the end of the bracket counts as at its end


def bracket(params_range: tuple[float, float], flops: float, max_flops: float) -> tuple[float, float]:
    """The sizes that a search may answer: those that were run, widened as far as the budget goes beyond the runs.

    When C grows by r, the best N grows by about sqrt(r); beyond twice that no run supports an answer.
    """
    reach = max(1.0, flops / max_flops)
    low, high = params_range
    return low / 2 if reach == 1.0 else low, high * 2 * math.sqrt(reach)


def params_for(cost: Cost, flops: float, tokens: float) -> float:
    """N whose training on `tokens` costs `flops`, by bisection (D falls as N rises)."""
    low, high = 1.0, 1e16
    for _ in range(200):
        middle = math.sqrt(low * high)
        if float(cost.tokens(flops, middle)) > tokens:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def params_at_ratio(cost: Cost, flops: float, ratio: float) -> float:
    """N of which `flops` buy `ratio` tokens per parameter, by bisection (D / N falls as N rises)."""
    low, high = 1.0, 1e16
    for _ in range(200):
        middle = math.sqrt(low * high)
        if float(cost.tokens(flops, middle)) > ratio * middle:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def minimise_size(
    loss: Callable[[NDArray[np.float64]], NDArray[np.float64]], low: float, high: float
) -> tuple[float, bool]:
    """N in [low, high] with the smallest `loss`, and whether it lies at an end of the bracket.

    Args:
        loss: sizes (M,) -> losses (M,).
        low, high: the bracket.
    """
    left, right = start, end = math.log(low), math.log(high)
    for _ in range(1 + ZOOMS):
        grid = np.linspace(left, right, GRID)
        best = int(np.argmin(loss(np.exp(grid))))
        left, right = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    x = float(grid[best])
    return math.exp(x), bool(x - start < EDGE or end - x < EDGE)
