"""The contract of an executor.

A job is a tuple of runs trained together; an executor makes every job it is given and yields events as they come, in
no order. It owns its workers and nothing else: keeping records is the driver's work. A worker that dies (killed, out
of memory) costs its job one attempt, and the job is made again until `MAX_ATTEMPTS` are used up; a run whose training
raises is `failed` at once, since it would raise again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mixlab.runs.specs import RunRecord, RunSpec

Job = tuple[RunSpec, ...]

MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class Progress:
    """`job` has processed `tokens` more tokens per member."""

    job: Job
    tokens: int


@dataclass(frozen=True)
class Finished:
    """`job` is over; one record per member."""

    job: Job
    records: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Restarted:
    """The worker of `job` died with `exit_code`, and the job starts again."""

    job: Job
    exit_code: int | None


Event = Progress | Finished | Restarted


class Executor(Protocol):
    """Makes jobs."""

    def stack_limit(self, spec: RunSpec) -> int:
        """How many runs like `spec` a worker should train together: part of what a run comes to, down to rounding."""
        ...

    def flops_left(self, job: Job) -> float:
        """Training FLOPs that `job` still takes, given what was kept of it before."""
        ...

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Make all `jobs`, yielding events; exactly one `Finished` per job. Closing the iterator stops the workers."""
        ...
