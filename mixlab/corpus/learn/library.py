"""scikit-learn, which is imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from mixlab.errors import MixlabError


def library(module: str) -> Any:
    """A module of scikit-learn, or a hint where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MixlabError("classification needs the package `scikit-learn`", "pip install mixlab[data]") from None
