"""Classifiers and embedding models of the user's own, by name: `module:object`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, cast

from mixlab.corpus.learn.contracts import Classifier, Embedder
from mixlab.errors import ConfigError, argument, did_you_mean


def import_classifier(name: str) -> Classifier:
    """The user's own classifier, `module:object`.

    Raises:
        ConfigError: when it cannot be imported or has no `labels` and `probabilities`.
    """
    found = cast(Classifier, _load(name, "classifier", ("labels", "probabilities")))
    labels = found.labels
    texts = isinstance(labels, (list, tuple)) and all(isinstance(label, str) for label in labels)
    if not texts or not labels or len(set(labels)) != len(labels):
        raise ConfigError(f"`labels` of {name} must be different texts, but are {labels!r:.80}", "correct them")
    return found


def import_embedder(name: str) -> Embedder:
    """The user's own embedding model, `module:object`; raises as `import_classifier` does."""
    return cast(Embedder, _load(name, "embedder", ("embed",)))


def _load(name: str, option: str, needed: tuple[str, ...]) -> Any:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(
            f"`{option}` must be module:object, but got `{name}`", f"give {argument(option)} such as my_model:topics"
        )
    # Like `python -m`: a module that lies where the command runs is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        place = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"cannot import `{module}`: {error}", "run the command in the module's folder, or install the module"
        ) from None
    if not hasattr(place, attribute):
        raise ConfigError(f"module `{module}` has no `{attribute}`", did_you_mean(attribute, vars(place)))
    found = getattr(place, attribute)
    for method in needed:
        if not hasattr(found, method):
            hint = f"{argument(option)} takes an object with {' and '.join(needed)}; see mixlab.corpus.learn.contracts"
            raise ConfigError(f"{name} has no `{method}`", hint)
    return found
