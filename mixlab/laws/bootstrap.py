"""Resampling by run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mixlab.laws.base import Array


def bootstrap_losses(
    observed: Array, fitted: Array, run: NDArray[np.int64], parameters: int, count: int, seed: int
) -> Array:
    """`count` tables that the fitted law could have made, shape (count, n): a wild bootstrap by run (Wu 1986).

    Log-residuals keep their size and change their sign, together for all rows of a run, which share its luck. Rows are
    not drawn: mixtures, sizes and budgets were chosen, not met by chance, and the few runs that say what a domain is
    worth must stay in every table.

    Args:
        observed, fitted: losses, shape (n,).
        run: index of each row's run, shape (n,).
        parameters: of the law, for which residuals are widened.
        count: tables.
        seed: of the signs; equal seeds give several targets the same signs.
    """
    runs, index = np.unique(run, return_inverse=True)
    signs = np.random.default_rng((seed, 3)).choice([-1.0, 1.0], (count, len(runs)))[:, index]
    widened = math.sqrt(len(observed) / max(1, len(observed) - parameters))
    return np.asarray(fitted * np.exp(signs * widened * np.log(observed / fitted)))
