"""Validation loss by domain, in nats per token and bits per byte, on the same sequences for every run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from proxies.model import Stack

SEQUENCES_PER_PASS = 16


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
    """Holds the validation sequences and scores stacks on them.

    Args:
        windows: by domain, shape (n, T + 1), as `sampler.validation_windows` makes them.
        token_bytes: bytes of text that each token stands for, shape (V,).
        device: where the sequences live.
    """

    def __init__(
        self, windows: Mapping[str, NDArray[np.int64]], token_bytes: NDArray[np.integer], device: torch.device
    ) -> None:
        self._windows = {name: torch.from_numpy(values).to(device) for name, values in windows.items()}
        self._bytes = {name: int(token_bytes[values[:, 1:]].sum()) for name, values in windows.items()}

    @torch.no_grad()
    def __call__(self, stack: Stack) -> list[Evaluation]:
        """Score every member: a list of length K."""
        per_sequence = {name: self._sequence_losses(stack, windows) for name, windows in self._windows.items()}
        evaluations = []
        for member in range(stack.members):
            losses, errors, bits = {}, {}, {}
            for name, table in per_sequence.items():
                values = table[member]
                losses[name] = float(values.mean())
                errors[name] = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
                tokens = self._windows[name].shape[0] * (self._windows[name].shape[1] - 1)
                bits[name] = losses[name] * tokens / max(self._bytes[name], 1) / math.log(2)
            evaluations.append(Evaluation(losses, errors, bits))
        return evaluations

    def _sequence_losses(self, stack: Stack, windows: torch.Tensor) -> NDArray[np.float64]:
        """Mean loss of each sequence, shape (K, n)."""
        parts = [
            stack.losses(chunk.expand(stack.members, -1, -1)).double().mean(dim=2)
            for chunk in windows.split(SEQUENCES_PER_PASS)
        ]
        return torch.cat(parts, dim=1).cpu().numpy()
