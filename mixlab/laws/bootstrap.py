"""Resampling by run, and splits that keep a run together: both are rows of weights for `Law.fit`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mixlab.laws.base import Array

SAME_MIXTURE = 0.008  # below the distance that designs keep between mixtures


def bootstrap_weights(run: NDArray[np.int64], count: int, seed: int) -> Array:
    """`count` Bayesian resamples of whole runs (Rubin 1981), shape (count, n), of mean 1 over the runs.

    Rows of one run are checkpoints of one model and share its luck, so they share a weight. Weights are exponential:
    counts would leave out a third of the runs in each resample, and with them the only runs that say what a domain
    is worth.
    """
    runs, index = np.unique(run, return_inverse=True)
    draws = np.random.default_rng((seed, 3)).standard_exponential((count, len(runs)))
    return np.asarray((draws / draws.mean(axis=1, keepdims=True))[:, index])


def groups_of_mixtures(mixture: Array) -> NDArray[np.int64]:
    """Index of each row's mixture, shape (n,).

    Realised shares of one mixture differ a little between budgets, so mixtures closer than `SAME_MIXTURE` (L2) are
    one, and so are mixtures that a chain of such neighbours connects.
    """
    if mixture.shape[1] == 0:
        return np.zeros(len(mixture), dtype=np.int64)
    pairs = cKDTree(mixture).query_pairs(SAME_MIXTURE, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(mixture), len(mixture)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
