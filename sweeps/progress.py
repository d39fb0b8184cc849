"""What a person sees while a sweep runs: work done in FLOPs, rate and time left; plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunRecord
from mixlab.units import format_quantity, format_seconds
from sweeps.driver import Watcher
from sweeps.executors.work import Job

PLAIN_SECONDS = 15.0


class ProgressWatcher(Watcher):
    """Shows a live bar on a terminal, and a line every few seconds elsewhere. All on stderr."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._total = self._done = 0.0
        self._runs = self._finished = 0
        self._started = self._last = time.monotonic()

    def __enter__(self) -> ProgressWatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def plan(self, jobs: Sequence[Job], flops: float, done: int) -> None:
        self._close()
        fresh = sum(len(job) for job in jobs)
        if self._finished == self._runs:
            self._total = self._done = 0.0
            self._runs = self._finished = 0
            self._started = self._last = time.monotonic()
        # Else the round before goes on, and this one joins it.
        self._total, self._runs = self._total + flops, self._runs + fresh
        if done:
            self._console.print(f"{done} runs finished before, {fresh} to go")
        if self._console.is_terminal and jobs:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), console=self._console
            )
            self._task = self._bar.add_task(self._title, total=self._total, state="starting")
            self._bar.start()

    def progress(self, job: Job, tokens: int) -> None:
        self._advance(sum(training_flops(spec.shape, tokens) for spec in job))

    def finished(self, record: RunRecord) -> None:
        self._finished += 1
        if record.status != "done":
            self.warn(f"run {record.run_id} {record.status}: {(record.error or 'loss is not finite').splitlines()[-1]}")
        self._advance(0.0)
        if self._finished == self._runs:
            self._done = self._total
            self._show(force=True)
            self._close()

    def note(self, message: str) -> None:
        self._console.print(f"note: {message}", markup=False, highlight=False)

    def warn(self, message: str) -> None:
        self._console.print(f"warning: {message}", style="yellow", markup=False)

    def _advance(self, work: float) -> None:
        self._done = min(self._done + work, self._total)
        self._show()

    def _show(self, force: bool = False) -> None:
        elapsed = time.monotonic() - self._started
        rate = self._done / elapsed if elapsed > 0 else 0.0
        left = format_seconds((self._total - self._done) / rate) if rate > 0 else "?"
        end = f"in {format_seconds(elapsed)}" if self._finished == self._runs else f"{left} left"
        state = f"{self._finished}/{self._runs} runs · {format_quantity(rate)} FLOP/s · {end}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, state=state)
        elif force or time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self._console.print(f"{self._title}: {state}", highlight=False)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
