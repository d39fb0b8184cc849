"""What a classifier and an embedder are, and checks of what they give, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import ConfigError

OTHER = "other"
HINT = "correct its `probabilities`"


class Classifier(Protocol):
    """Gives every text a probability per label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The K labels, in the order of the columns."""

    def probabilities(self, texts: Sequence[str]) -> Array:
        """Probabilities, shape (n, K), rows sum to 1."""


class Embedder(Protocol):
    """Gives every text a vector; texts that mean the same lie close by cosine."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Vectors, shape (n, d), finite."""


def checked_probabilities(classifier: Classifier, texts: Sequence[str]) -> Array:
    """A classifier's probabilities, whoever wrote it.

    Raises:
        ConfigError: when their shape is not (n, K), or a row is no distribution.
    """
    given = np.asarray(classifier.probabilities(texts), dtype=np.float64)
    wanted = (len(texts), len(classifier.labels))
    if given.shape != wanted:
        raise ConfigError(f"a classifier must give probabilities of shape {wanted}, but gave {given.shape}", HINT)
    if not np.isfinite(given).all() or (given < 0).any() or (np.abs(given.sum(axis=1) - 1) > 1e-3).any():
        raise ConfigError("a classifier must give rows of probabilities that sum to 1, but gave others", HINT)
    return given


def checked_vectors(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """An embedder's vectors, shape (n, d), scaled to length 1; a zero vector stays zero.

    Raises:
        ConfigError: when they are not finite, or not one per text.
    """
    return unit_rows(np.asarray(embedder.embed(texts), dtype=np.float32), len(texts), "an embedder")


def unit_rows(vectors: NDArray[np.float32], count: int, who: str) -> NDArray[np.float32]:
    """`vectors` checked to be finite and of shape (count, d), and scaled to length 1."""
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise ConfigError(
            f"{who} must give one vector per text, shape ({count}, d), but gave {vectors.shape}",
            "give a vector to every text",
        )
    if not np.isfinite(vectors).all():
        raise ConfigError(f"{who} must give finite numbers, but some are not", "look for NaN in the vectors")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, dtype=np.float32)
