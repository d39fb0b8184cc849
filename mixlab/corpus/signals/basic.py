"""Signals that need nothing but the document: how long it is and how well it compresses."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LENGTH = "length"
COMPRESSION = "compression"


def basic_signals(texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """`length` in characters and `compression`, bytes before by bytes after deflate; each of shape (n,).

    Repetitive text compresses well: prose lies near 2, boilerplate and tables above 4, and noise near 1. Short texts
    compress badly whatever they are.
    """
    return {
        LENGTH: np.array([len(text) for text in texts], dtype=np.float32),
        COMPRESSION: np.array([_ratio(text.encode()) for text in texts], dtype=np.float32),
    }


def _ratio(data: bytes) -> float:
    return len(data) / len(zlib.compress(data, 6)) if data else 1.0
