"""Runs that do something besides when their training begins, wherever that is: how a test reaches into a worker.

Workers may be other processes, which import this module by its name; the conftest puts its folder on the path.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mixlab.runs.specs import RunSpec
from proxies.backend import speed

PATIENCE = 60.0  # seconds for an event that must come
LINGER = 1.0  # seconds in which whoever should not come would come


@dataclass(frozen=True)
class HookedSpec(RunSpec):
    """The same run as without its hook, which is called at each of its branches."""

    hook: Callable[[], None] | None = field(default=None, compare=False)

    def trunk_steps(self, tokens: float) -> int:
        if self.hook is not None:
            self.hook()
        return super().trunk_steps(tokens)

    def to_dict(self) -> dict[str, Any]:
        return plain(self).to_dict()


def hooked(spec: RunSpec, hook: Callable[[], None]) -> HookedSpec:
    return HookedSpec(**{one.name: getattr(spec, one.name) for one in fields(RunSpec)}, hook=hook)


def plain(spec: RunSpec) -> RunSpec:
    return RunSpec(**{one.name: getattr(spec, one.name) for one in fields(RunSpec)})


@dataclass(frozen=True)
class Gate:
    """Lets nobody in before `together` jobs are there, then waits a little for more and notes how many there were."""

    folder: Path
    name: str
    together: int

    def __call__(self) -> None:
        if not claim(self.folder / f"{self.name}.in"):
            return
        wait_until(lambda: self._count("in") >= self.together)
        most, end = 0, time.monotonic() + LINGER
        while time.monotonic() < end:
            most = max(most, self._count("in") - self._count("out"))
            time.sleep(0.01)
        (self.folder / f"{self.name}.out").write_text(str(most))

    def _count(self, kind: str) -> int:
        return len(list(self.folder.glob(f"*.{kind}")))


@dataclass(frozen=True)
class TimedSpec(HookedSpec):
    """A run whose hook is called when its rate is measured."""

    def steps(self, tokens: float) -> int:
        if self.hook is not None:
            self.hook()
        return super().steps(tokens)


def timed_when(spec: RunSpec, folder: Path, together: int) -> TimedSpec:
    """The same run, whose rate is what it comes to by the clock `timed`, once `together` measure it at a time."""
    own = {one.name: getattr(spec, one.name) for one in fields(RunSpec)}
    return TimedSpec(**own, hook=_SetsTheClock(folder, together))


@dataclass(frozen=True)
class _SetsTheClock:
    folder: Path
    together: int

    def __call__(self) -> None:
        speed._seconds_of = timed
        if claim(self.folder / f"{os.getpid()}-{threading.get_ident()}.measures"):
            wait_until(lambda: len(list(self.folder.glob("*.measures"))) >= self.together)


def timed(work: Callable[[], None], at_least: float) -> float:
    """Seconds that `work` took, by a clock for which everything takes one."""
    work()
    return 1.0


@dataclass(frozen=True)
class Raises:
    """Raises, and notes each time."""

    notes: Path

    def __call__(self) -> None:
        with self.notes.open("a") as file:
            file.write("called\n")
        raise RuntimeError("as planned by the test")


@dataclass(frozen=True)
class Dies:
    """Kills its worker the first `times` times, unless that is the driver itself."""

    driver: int
    notes: Path
    times: int

    def __call__(self) -> None:
        if os.getpid() == self.driver:
            return
        if any(claim(self.notes.with_suffix(f".{number}")) for number in range(self.times)):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Endless:
    """Notes that it began, and goes on until the test is over."""

    begun: Path
    over: Path

    def __call__(self) -> None:
        self.begun.touch()
        if self.over.exists():
            raise RuntimeError("the test is over")


def claim(path: Path) -> bool:
    """Make a file, and whether it was not there: one of many who try does."""
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    return True


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what must come."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("what must come did not come")
        time.sleep(0.01)
