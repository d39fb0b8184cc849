"""Semantic dedup: of documents that say nearly the same within a cluster, the best one is kept.

Source: Abbas et al. 2023 (SemDeDup). There the document farthest from the centroid stays; here the best by a score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.learn.clusters import spherical_kmeans

DOCUMENTS_PER_CLUSTER = 1_000
BLOCK = 512
FIT_DOCUMENTS = 20_000


def semantic_keepers(
    vectors: NDArray[np.float32], scores: NDArray[np.floating], threshold: float, seed: int
) -> NDArray[np.bool_]:
    """Which documents stay, shape (n,).

    In the order of their scores, the best first, a document stays unless one that stayed in its cluster has a cosine
    of `threshold` or more with it. Pairs in different clusters are not compared: n^2 / K comparisons in place of n^2.

    Args:
        vectors: of length 1 (a zero vector is like no other), shape (n, d).
        scores: the higher the better, shape (n,); of equal scores the earlier document is the better.
        threshold: cosine, above 0 and at most 1.
        seed: of the clusters.
    """
    members = _clusters(vectors, seed)
    stays = np.zeros(len(vectors), dtype=bool)
    best_first = np.argsort(-scores, kind="stable")
    for cluster in np.unique(members):
        stays[_keep_best(vectors, best_first[members[best_first] == cluster], threshold)] = True
    return stays


def _clusters(vectors: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    count = len(vectors) // DOCUMENTS_PER_CLUSTER
    if count < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    rows = np.random.default_rng(seed).permutation(len(vectors))[:FIT_DOCUMENTS]
    centroids, _ = spherical_kmeans(vectors[np.sort(rows)], count, seed)
    return np.asarray((vectors @ centroids.T).argmax(axis=1), dtype=np.int64)


def _keep_best(vectors: NDArray[np.float32], rows: NDArray[np.integer], threshold: float) -> NDArray[np.int64]:
    """Of `rows`, best first, those that stay. Blocks bound the memory to BLOCK times the cluster's size."""
    kept = np.zeros(0, dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # A rounding error must not make a copy of a document differ from it at a threshold of 1.
        alike = vectors[block] @ vectors[kept].T >= threshold - 1e-6
        fresh = block[~alike.any(axis=1)] if len(kept) else block
        among = vectors[fresh] @ vectors[fresh].T >= threshold - 1e-6
        alive = np.ones(len(fresh), dtype=bool)
        for i in range(len(fresh)):
            if alive[i]:
                alive[i + 1 :] &= ~among[i, i + 1 :]
        kept = np.concatenate([kept, fresh[alive]])
    return kept
