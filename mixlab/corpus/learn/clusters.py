"""Topics without labels: k-means on the sphere of document vectors, each cluster named by what it stands out by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mixlab.arrays import Array
from mixlab.corpus.learn.contracts import Embedder, checked_vectors
from mixlab.corpus.learn.embed import Lsa
from mixlab.corpus.learn.features import Analysis, Tfidf
from mixlab.corpus.learn.library import library
from mixlab.errors import CorpusError, argument

# More clusters than this are too many domains for a sweep; --clusters K takes any number.
CHOICES = (3, 4, 5, 6, 8, 10, 12, 15, 20)
SILHOUETTE_DOCUMENTS = 2_000
RESTARTS = 5
NAME_TERMS = 3
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClusterModel:
    """Clusters of vectors of length 1, a mixture of von Mises-Fisher densities of one concentration.

    Attributes:
        labels: the K names.
        embedder: gives texts vectors of d numbers (None: the vectors came from a file, and only they can be assigned).
        centroids: mean directions, shape (K, d), of length 1.
        concentration: how tightly documents lie around their centroid.
    """

    labels: tuple[str, ...]
    embedder: Embedder | None
    centroids: Vectors
    concentration: float

    def probabilities(self, texts: Sequence[str]) -> Array:
        """Shape (n, K)."""
        assert self.embedder is not None, "these clusters are of vectors that came from a file"
        return self.assign(checked_vectors(self.embedder, texts))

    def assign(self, vectors: Vectors) -> Array:
        """Posterior of every cluster for vectors of length 1, shape (n, K)."""
        result: Array = softmax(self.concentration * (vectors @ self.centroids.T).astype(np.float64), axis=1)
        return result

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        assert isinstance(self.embedder, Lsa), "only vectors of our own can be made again"
        about = {"labels": list(self.labels), "concentration": self.concentration}
        return {"centroids": self.centroids, **self.embedder.arrays()}, about

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> ClusterModel:
        labels = tuple(about["labels"])
        return cls(labels, Lsa.from_arrays(arrays), arrays["centroids"], about["concentration"])


@dataclass(frozen=True)
class ClusterChoice:
    """How many clusters, and the silhouette (Rousseeuw 1987) of every number tried; empty where K was given."""

    count: int
    silhouettes: dict[int, float]


def find_clusters(
    texts: Sequence[str], vectors: Vectors, count: int | None, seed: int, embedder: Embedder | None
) -> tuple[ClusterModel, ClusterChoice]:
    """Cluster documents and name the clusters.

    Args:
        texts: n documents, for the names.
        vectors: their vectors of length 1, shape (n, d).
        count: K, or None to choose it: of `CHOICES`, the one of the highest mean silhouette (cosine) on at most
            `SILHOUETTE_DOCUMENTS` documents.
        seed: of the starts.
        embedder: what made the vectors, to tag other documents with.

    Raises:
        CorpusError: when there are fewer documents than clusters.
    """
    if len(texts) <= (count or CHOICES[0]):
        raise CorpusError(
            f"{count or CHOICES[0]} clusters need more documents than that, but there are {len(texts)}",
            f"give more text, or lower {argument('clusters')}",
        )
    choice = choose_count(vectors, seed) if count is None else ClusterChoice(count, {})
    centroids, members = spherical_kmeans(vectors, choice.count, seed)
    names = name_clusters(texts, members, choice.count)
    order = np.argsort(-np.bincount(members, minlength=choice.count), kind="stable")
    model = ClusterModel(
        labels=tuple(names[i] for i in order),
        embedder=embedder,
        centroids=centroids[order],
        concentration=_concentration(vectors, centroids, members),
    )
    return model, choice


def choose_count(vectors: Vectors, seed: int) -> ClusterChoice:
    """The K of the highest mean silhouette."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(vectors), min(len(vectors), SILHOUETTE_DOCUMENTS), replace=False))
    some = vectors[rows]
    found = {}
    for count in (each for each in CHOICES if each < len(some)):
        _, members = spherical_kmeans(some, count, seed)
        if len(np.unique(members)) > 1:
            score = library("sklearn.metrics").silhouette_score(some, members, metric="cosine")
            found[count] = float(score)
    if not found:
        raise CorpusError(
            "the documents are all alike, so there are no clusters to find", "give text that is more varied"
        )
    return ClusterChoice(max(found, key=lambda count: found[count]), found)


def spherical_kmeans(vectors: Vectors, count: int, seed: int) -> tuple[Vectors, NDArray[np.int64]]:
    """Centroids of length 1, shape (K, d), and the cluster of each vector, shape (n,). Source: Dhillon & Modha 2001."""
    found = library("sklearn.cluster").KMeans(count, n_init=RESTARTS, random_state=seed, max_iter=100).fit(vectors)
    centroids = found.cluster_centers_.astype(np.float32)
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-9)
    return centroids, (vectors @ centroids.T).argmax(axis=1)


def name_clusters(texts: Sequence[str], members: NDArray[np.integer], count: int) -> list[str]:
    """A name per cluster: the terms whose mean weight inside most exceeds that of all documents.

    A term that only repeats another of the name (a plural, say) is passed over.
    """
    try:
        block, matrix = Tfidf.fit_transform(Analysis(longest=1, min_documents=5, english_stop_words=True), texts)
    except ValueError:
        block, matrix = Tfidf.fit_transform(Analysis(longest=1, min_documents=1), texts)
    overall = np.asarray(matrix.mean(axis=0)).ravel()
    names: list[str] = []
    for cluster in range(count):
        rows = members == cluster
        inside = np.asarray(matrix[rows].mean(axis=0)).ravel() if rows.any() else overall
        base = "-".join(_distinct(block.terms, np.argsort(-(inside - overall), kind="stable")))
        name, number = base, 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names


def _distinct(terms: Sequence[str], order: NDArray[np.integer]) -> list[str]:
    kept: list[str] = []
    for index in order:
        term = terms[index]
        if re.fullmatch(r"[\d_]+", term) or any(term[:4] == other[:4] for other in kept):
            continue
        kept.append(term)
        if len(kept) == NAME_TERMS:
            break
    return kept or ["cluster"]


def _concentration(vectors: Vectors, centroids: Vectors, members: NDArray[np.integer]) -> float:
    """The concentration by mean resultant length, in d dimensions. Source: Banerjee et al. 2005, equation 4.4."""
    dimensions = vectors.shape[1]
    length = min(float((vectors * centroids[members]).sum(axis=1).mean()), 0.99)
    return max((length * dimensions - length**3) / (1 - length**2), 1.0)
