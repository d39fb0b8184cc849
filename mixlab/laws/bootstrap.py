"""Resampling by run, and splits that keep a run together: both are rows of weights for `Law.fit`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixlab.laws.base import Array


def bootstrap_weights(run: NDArray[np.int64], count: int, seed: int) -> Array:
    """`count` resamples of whole runs, shape (count, n): how often each row's run was drawn.

    Rows of one run are checkpoints of one model and share its luck, so they are drawn together.
    """
    runs, index = np.unique(run, return_inverse=True)
    rng = np.random.default_rng((seed, 3))
    draws = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=count)
    return draws[:, index].astype(float)


def groups_of_mixtures(mixture: Array) -> NDArray[np.int64]:
    """Index of each row's mixture, shape (n,); mixtures equal to 4 digits are one."""
    if mixture.shape[1] == 0:
        return np.zeros(len(mixture), dtype=np.int64)
    return np.unique(mixture.round(4), axis=0, return_inverse=True)[1].astype(np.int64).ravel()
