"""What a strategy is, and what runs cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from benchmarks.decisions.simulators import Scale, Simulator
from mixlab.arrays import Array


class Strategy(Protocol):
    """A way to choose mixtures. `name` may end in `/16`: the same method on the smallest proxies."""

    @property
    def name(self) -> str: ...

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        """By budget, in runs of N0, the mixture (K,) that it would recommend for the target when that much is spent."""
        ...


def affordable(simulator: Simulator, scale: Scale, budget: float) -> int:
    """How many runs of a scale cost `budget` runs of N0."""
    return int(budget * simulator.scales[-1].flops / scale.flops + 1e-9)


def train(simulator: Simulator, mixtures: Array, scale: Scale, seed: int) -> tuple[Array, dict[str, Array]]:
    """Noisy runs: the objective (M,), and the losses (M,) of every target."""
    losses = simulator.losses(mixtures, scale, np.full(len(mixtures), seed))
    return np.asarray(sum(weight * losses[name] for name, weight in simulator.objective.items())), losses
