"""Classifiers on disk: one safetensors file with a checksum, the same bytes for the same classifier. Never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.learn.clusters import ClusterModel
from mixlab.corpus.learn.contracts import Classifier
from mixlab.corpus.learn.embed import Lsa
from mixlab.corpus.learn.linear import LinearModel
from mixlab.errors import ConfigError, CorpusError, argument
from mixlab.files import write_atomic

MODEL_FORMAT = 1
MODELS: dict[str, type[LinearModel] | type[ClusterModel]] = {"linear": LinearModel, "clusters": ClusterModel}
REMAKE = "train it again with `mixlab classify`"


def save_classifier(path: Path, model: LinearModel | ClusterModel) -> None:
    """Write a classifier, atomically."""
    import safetensors.numpy

    arrays, about = model.to_arrays()
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    kind = next(name for name, each in MODELS.items() if isinstance(model, each))
    header = {"format": MODEL_FORMAT, "kind": kind, "about": about, "sha256": _digest(arrays, about)}
    # One key of metadata alone: the library writes several in no fixed order.
    write_atomic(path, safetensors.numpy.save(arrays, {"mixlab": json.dumps(header, sort_keys=True)}))


def load_classifier(path: Path) -> LinearModel | ClusterModel:
    """Read a classifier.

    Raises:
        ConfigError: when it cannot be read.
        CorpusError: when it is no classifier of ours (a pickle above all), damaged, or changed since.
    """
    import safetensors

    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        hint = "give the model.safetensors that `mixlab classify` wrote"
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint) from None
    # A safetensors file starts with 8 bytes of length, which may be any, and the "{" of its header.
    if (start[:1] == b"\x80" and start[8:] != b"{") or path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        raise CorpusError(
            f"{path} is a pickle, and a pickle can run any code when it is loaded",
            f"give a model that `mixlab classify` wrote, or your own module:object by {argument('classifier')}",
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            metadata = tensors.metadata() or {}
            arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a mapping
        header = json.loads(metadata["mixlab"])
        if header["format"] != MODEL_FORMAT:
            raise ValueError(f"format {header['format']} is not known, only {MODEL_FORMAT} is")
        kind, about, stated = MODELS[header["kind"]], header["about"], header["sha256"]
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CorpusError(f"{path} is not a classifier of mixlab: {error}", REMAKE) from None
    if stated != _digest(arrays, about):
        raise CorpusError(f"checksum mismatch in {path}: its content changed after it was written", REMAKE)
    return kind.from_arrays(arrays, about)


def can_save(classifier: Classifier | None) -> TypeGuard[LinearModel | ClusterModel]:
    """Whether a classifier is made of parts of ours alone."""
    if isinstance(classifier, ClusterModel):
        return isinstance(classifier.embedder, Lsa)
    return isinstance(classifier, LinearModel)


def _digest(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
