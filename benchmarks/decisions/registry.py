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

# Ours with one part switched off: what each is worth.
_ABLATIONS: list[Strategy] = [
    Rounds("mixlab, no caution", caution=0.5),
    Rounds("mixlab, runs drawn, not proposed", proposed=False),
    Rounds("mixlab, largest scale only", scales=(-1,)),
    Rounds("mixlab, smallest scale only", scales=(0,)),
    Rounds("mixlab, batches of 64", batch=64),
]

ABLATIONS = tuple(strategy.name for strategy in _ABLATIONS)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (*_TAKING_PART, *_ABLATIONS)}
