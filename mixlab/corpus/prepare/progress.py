"""What a person sees while text is read: a line on stderr with the domain, the text read so far, and the rate."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mixlab.units import format_quantity


class ReadingProgress:
    """Call it with (domain, bytes of text read since the last call)."""

    def __init__(self, domains: int) -> None:
        self._read = 0
        self._start = time.perf_counter()
        self._names: list[str] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("reading", total=domains)

    def __enter__(self) -> ReadingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def __call__(self, name: str, size: int) -> None:
        self._read += size
        if name not in self._names:
            self._names.append(name)
        rate = self._read / max(time.perf_counter() - self._start, 1e-9)
        text = f"{name}  {format_quantity(self._read)}B  {format_quantity(rate)}B/s"
        # Domain names are other people's text, so no markup is read in them.
        self._bar.update(self._task, description=text.replace("[", "\\["), completed=len(self._names) - 1)
