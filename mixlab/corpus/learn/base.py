"""What a classifier and an embedder are, and how one of the user's own is brought in by name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import ConfigError, MixlabError, did_you_mean

OTHER = "other"
T = TypeVar("T")


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


def load_classifier(name: str) -> Classifier:
    """The user's own classifier, `module:object`.

    Raises:
        ConfigError: when it cannot be imported or has no `labels` and `probabilities`.
    """
    found = cast(Classifier, _load(name, "--classifier", ("labels", "probabilities")))
    labels = found.labels
    texts = isinstance(labels, (list, tuple)) and all(isinstance(label, str) for label in labels)
    if not texts or not labels or len(set(labels)) != len(labels):
        raise ConfigError(f"`labels` of {name} must be different texts, but are {labels!r:.80}")
    return found


def load_embedder(name: str) -> Embedder:
    """The user's own embedding model, `module:object`; raises as `load_classifier` does."""
    return cast(Embedder, _load(name, "--embedder", ("embed",)))


def checked_probabilities(classifier: Classifier, texts: Sequence[str]) -> Array:
    """A classifier's probabilities, whoever wrote it.

    Raises:
        ConfigError: when their shape is not (n, K), or a row is no distribution.
    """
    given = np.asarray(classifier.probabilities(texts), dtype=np.float64)
    wanted = (len(texts), len(classifier.labels))
    if given.shape != wanted:
        raise ConfigError(f"a classifier must give probabilities of shape {wanted}, but gave {given.shape}")
    if not np.isfinite(given).all() or (given < 0).any() or (np.abs(given.sum(axis=1) - 1) > 1e-3).any():
        raise ConfigError("a classifier must give rows of probabilities that sum to 1, but gave others")
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
        raise ConfigError(f"{who} must give one vector per text, shape ({count}, d), but gave {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ConfigError(f"{who} must give finite numbers, but some are not", "look for NaN in the vectors")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, dtype=np.float32)


def library(module: str) -> Any:
    """A module of scikit-learn, or a hint where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MixlabError("classification needs the package `scikit-learn`", "pip install mixlab[data]") from None


def _load(name: str, option: str, needed: tuple[str, ...]) -> Any:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"{option} takes module:object, but got `{name}`", f"for example {option} my_model:topics")
    # Like `python -m`: a module that lies where the command runs is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        place = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"cannot import `{module}`: {error}", "run where the module lies, or install it") from None
    if not hasattr(place, attribute):
        raise ConfigError(f"module `{module}` has no `{attribute}`", did_you_mean(attribute, vars(place)))
    found = getattr(place, attribute)
    for method in needed:
        if not hasattr(found, method):
            raise ConfigError(f"{name} must have `{method}`, but has not", "mixlab.corpus.learn.base says what it is")
    return found
