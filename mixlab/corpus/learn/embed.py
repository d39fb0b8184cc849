"""Vectors of documents: latent semantic analysis by default, or embeddings that the user computed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixlab.corpus.learn.contracts import unit_rows
from mixlab.corpus.learn.features import CONTENT, Tfidf
from mixlab.corpus.learn.library import library
from mixlab.errors import CorpusError

DIMENSIONS = 100
EMBEDDING_COLUMN = "embedding"


@dataclass(frozen=True, eq=False)
class Lsa:
    """TF-IDF features projected on their leading singular directions (Deerwester et al. 1990).

    Attributes:
        features: the TF-IDF block, V terms.
        directions: shape (V, d), float32.
    """

    features: Tfidf
    directions: NDArray[np.float32]

    @classmethod
    def fit(cls, texts: Sequence[str], seed: int, dimensions: int = DIMENSIONS) -> Lsa:
        """Learn from `texts`; d is at most `dimensions`, and less than there are texts or terms.

        Raises:
            CorpusError: when the texts have no words in common, or there are fewer than 3.
        """
        try:
            block, matrix = Tfidf.fit_transform(CONTENT, texts)
        except ValueError:
            raise CorpusError("the documents have no words in common", "give more and longer texts") from None
        rank = min(dimensions, *(size - 1 for size in matrix.shape))
        if rank < 2:
            given = f"there are {matrix.shape[0]} documents with {matrix.shape[1]} terms"
            raise CorpusError(f"vectors need at least 3 documents and 3 terms, but {given}", "give more text")
        svd = library("sklearn.decomposition").TruncatedSVD(rank, random_state=seed, n_iter=4)
        svd.fit(matrix)
        return cls(block, np.ascontiguousarray(svd.components_.T, dtype=np.float32))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors, shape (n, d)."""
        result: NDArray[np.float32] = np.asarray(self.features.transform(texts) @ self.directions, dtype=np.float32)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.features.arrays("lsa") | {"lsa.directions": self.directions}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Lsa:
        return cls(Tfidf.from_arrays("lsa", arrays), arrays["lsa.directions"])


def read_embeddings(path: Path, ids: Sequence[str]) -> NDArray[np.float32]:
    """The user's embeddings of the documents `ids`, in their order, scaled to length 1; shape (n, d).

    Args:
        path: a .npy of shape (n, d) with a row per document in the order they are read, or a parquet with columns
            `id` and `embedding` in any order.

    Raises:
        CorpusError: when a document has none, or the file is neither.
    """
    if path.suffix.lower() == ".parquet":
        return unit_rows(_by_id(path, ids), len(ids), str(path))
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise CorpusError(
            f"cannot read embeddings {path}: {reason}", "give a .npy without pickled objects, or a parquet"
        ) from None
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise CorpusError(
            f"{path} must hold one row per document, shape ({len(ids)}, d), but has shape {vectors.shape}",
            "give them in the order the documents are read, or as a parquet with columns id and embedding",
        )
    return unit_rows(np.asarray(vectors, dtype=np.float32), len(ids), str(path))


def _by_id(path: Path, ids: Sequence[str]) -> NDArray[np.float32]:
    try:
        table = pq.read_table(path, columns=["id", EMBEDDING_COLUMN])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise CorpusError(
            f"cannot read embeddings {path}: {str(error).splitlines()[0]}",
            f"it must be a parquet with columns id and {EMBEDDING_COLUMN}",
        ) from None
    known = {str(name): row for row, name in enumerate(table["id"].to_pylist())}
    missing = [name for name in ids if name not in known]
    if missing:
        raise CorpusError(
            f"{path} has no embedding of {len(missing):,} of {len(ids):,} documents, the first `{missing[0]:.60}`",
            "embed every document; one without `id` goes by the first 16 digits of its text's SHA-256",
        )
    lists = table[EMBEDDING_COLUMN].combine_chunks()
    sizes = {len(value) for value in lists.to_pylist()[:1000]}
    if len(sizes) != 1 or len(lists.flatten()) != len(lists) * min(sizes):
        raise CorpusError(
            f"the embeddings in {path} must have one length, but have several: {sorted(sizes)[:5]}",
            "embed all documents with one model",
        )
    vectors = np.asarray(lists.flatten(), dtype=np.float32).reshape(len(lists), -1)
    rows = [known[name] for name in ids]
    result: NDArray[np.float32] = vectors[rows]
    return result
