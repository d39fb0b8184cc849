"""The mean time of a piece of work."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds_of(work: Callable[[], None], at_least: float) -> float:
    """Mean time of `work`, repeated for `at_least` seconds."""
    started, done = time.perf_counter(), 0
    while True:
        work()
        done += 1
        elapsed = time.perf_counter() - started
        if elapsed >= at_least:
            return elapsed / done
