"""Who takes part. A strategy of mixlab's goes into `ours.py` and into the list."""

from __future__ import annotations

from benchmarks.decisions.ours import Rounds
from benchmarks.decisions.protocol import Strategy
from benchmarks.decisions.rivals import rivals
from benchmarks.decisions.today import Today

_TAKING_PART: list[Strategy] = [
    Rounds(),
    *rivals(),
    Today(),
    Today("mixlab-today/16"),
]

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _TAKING_PART}
