"""Validation loss by domain, in nats per token and bits per byte, on the same sequences for every run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.model.engine import Engine


@dataclass(frozen=True)
class Evaluation:
    """One member's result.

    Attributes:
        losses: mean loss by domain, nats per token.
        errors: its standard error over sequences.
        bits_per_byte: the same text in bits per byte.
    """

    losses: dict[str, float]
    errors: dict[str, float]
    bits_per_byte: dict[str, float]


class Evaluator:
    """Holds the validation sequences and scores the members of an engine on them.

    Args:
        windows: by domain, shape (n, T + 1), as `sampler.validation_windows` makes them.
        token_bytes: bytes of text that each token stands for, shape (V,).
    """

    def __init__(self, windows: Mapping[str, NDArray[np.int32]], token_bytes: NDArray[np.integer]) -> None:
        self._windows = windows
        self._bytes = {name: int(token_bytes[values[:, 1:]].sum()) for name, values in windows.items()}

    def __call__(self, engine: Engine) -> list[Evaluation]:
        """Score every member: a list of length K."""
        per_sequence = [engine.score(windows).mean(axis=2, dtype=np.float64) for windows in self._windows.values()]
        return [
            self._evaluation(dict(zip(self._windows, member, strict=True)))
            for member in zip(*per_sequence, strict=True)
        ]

    def _evaluation(self, by_domain: Mapping[str, NDArray[np.float64]]) -> Evaluation:
        """Of one member, from its loss on every sequence."""
        losses, errors, bits = {}, {}, {}
        for name, values in by_domain.items():
            losses[name] = float(values.mean())
            errors[name] = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
            tokens = self._windows[name][:, 1:].size
            bits[name] = losses[name] * tokens / max(self._bytes[name], 1) / math.log(2)
        return Evaluation(losses, errors, bits)
