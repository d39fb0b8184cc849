"""What training costs, and what a budget buys at N: as the runs state it, else C = 6 N D."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.runs.flops import six_nd
from mixlab.runs.table import Runs

SAME_SIZE = 9  # decimals of log N to which sizes are the same
END_SLOPES = (0.5, 1.5)  # of log(C/D) over log N: a cost that grows slower or faster than these is noise


@runtime_checkable
class Cost(Protocol):
    """What training costs, and what a budget buys at N."""

    def flops(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]: ...

    def tokens(self, flops: ArrayLike, params: ArrayLike) -> NDArray[np.float64]: ...


class SixND:
    """C = 6 N D."""

    def flops(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """C = 6 N D."""
        return six_nd(params, tokens)

    def tokens(self, flops: ArrayLike, params: ArrayLike) -> NDArray[np.float64]:
        """D = C / (6 N)."""
        return np.asarray(flops, dtype=float) / (6.0 * np.asarray(params, dtype=float))


class FlopsPerToken:
    """Training FLOPs per token as a function of N, read off runs that state their FLOPs.

    Interpolates log(C/D) over log N by a monotone cubic that goes through the sizes that were run (Fritsch and Butland
    1984); a kink there would draw the best N of a budget to it. Beyond the ends the slope fades from what it is there
    to 1 within a factor of e or so, where cost is in proportion to N. This is what lets a search over N use exact
    counts without knowing shapes.

    Args:
        params: N of each run, shape (n,).
        flops: C of each run, shape (n,).
        tokens: D of each run, shape (n,).
    """

    def __init__(self, params: ArrayLike, flops: ArrayLike, tokens: ArrayLike) -> None:
        n = np.asarray(params, dtype=float)
        rate = np.asarray(flops, dtype=float) / np.asarray(tokens, dtype=float)
        # Sizes that differ by the rounding of how they were worked out are one.
        _, first, index = np.unique(np.round(np.log(n), SAME_SIZE), return_index=True, return_inverse=True)
        sizes = n[first]
        self._log_n = np.log(sizes)
        self._log_rate = np.log([np.median(rate[index == number]) for number in range(len(sizes))])
        self._curve, self._slopes = None, (1.0, 1.0)
        if len(sizes) > 1:
            from scipy.interpolate import PchipInterpolator  # workers count FLOPs too and have no use for it

            self._curve = PchipInterpolator(self._log_n, self._log_rate)
            first, last = np.clip(self._curve(self._log_n[[0, -1]], 1), *END_SLOPES)
            self._slopes = (float(first), float(last))

    def __call__(self, params: ArrayLike) -> NDArray[np.float64]:
        """FLOPs per token at each N."""
        x = np.log(np.asarray(params, dtype=float))
        low, high = self._log_n[[0, -1]]
        inside = self._log_rate[0] if self._curve is None else self._curve(np.clip(x, low, high))
        above, below = np.clip(x - high, 0, None), np.clip(low - x, 0, None)
        return np.asarray(np.exp(inside + _faded(above, self._slopes[1]) - _faded(below, self._slopes[0])))

    def flops(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """FLOPs C to train N parameters on D tokens."""
        return self(params) * np.asarray(tokens, dtype=float)

    def tokens(self, flops: ArrayLike, params: ArrayLike) -> NDArray[np.float64]:
        """Tokens D that spend `flops` on a model of N parameters."""
        return np.asarray(flops, dtype=float) / self(params)


def cost_of(table: Runs) -> Cost:
    """FLOPs per token as the runs state them, else 6 N."""
    if table.flops_source == "6ND" or not table.has("tokens"):
        return SixND()
    return FlopsPerToken(table.params(), table.flops(), table.tokens())


def _faded(distance: NDArray[np.float64], slope: float) -> NDArray[np.float64]:
    """What a slope that goes from `slope` to 1 adds up to over a distance in log N."""
    return distance + (slope - 1) * -np.expm1(-distance)
