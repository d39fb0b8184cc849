"""What an executor owes its driver.

An executor makes every job that it is given and yields events as they come. It owns its workers and nothing else:
keeping records is the driver's work, and what a worker does with a job is `work.JobWorker`'s. To add one, write a class
with the four members of `Executor` in a file that has the executor's name, and enter it in `registry.EXECUTORS`; the
contract suite (tests/sweeps_tests/test_executor_contract.py) then runs over it. Over a pool of `concurrent.futures` all
but the pool is written already: `pool.PoolExecutor`.

Required:

- `run` asks for the next job when a worker is free, and not before: what is still to be made may depend on what has
  finished. Where it is given None there is no job until another one has finished and been dealt with; where nothing is
  being made then, `run` ends, as it does at the end of `jobs`. `Waiting` keeps to that.
- `run` yields exactly one `Finished` per job, with one record per member in the job's order, and after it nothing more
  about that job. It may be called again and again.
- A run whose training raises, or whose corpus is damaged, is `failed` at once with the reason, since it would raise
  again, and the other jobs go on. `work.JobWorker` sees to it.
- Never more than `workers` jobs at a time, and a `JobWorker` for each thread that makes some.
- `rates` is of all `workers` together: the sum of `measure_rate` in each, while the others measure too.
- Closing the iterator stops the work soon and leaves no worker behind.

Optional:

- `Progress` may be as coarse as one event per job; all events of a job sum to the tokens that it processed.
- An executor whose workers can die (killed, out of memory) makes the job of a dead one again, `MAX_ATTEMPTS` times in
  all, and says so by `Restarted`; then the job is failed. One whose workers live and die with the driver never does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mixlab.runs.specs import RunRecord, RunSpec
from sweeps.executors.work import Job, Work

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
    """The worker of `job` died with `exit_code` (None where it has none), and the job starts again."""

    job: Job
    exit_code: int | None


Event = Progress | Finished | Restarted


class Executor(Protocol):
    """Makes jobs; see this file's first lines."""

    @property
    def work(self) -> Work:
        """What every worker was told."""
        ...

    @property
    def workers(self) -> int:
        """How many jobs are made at a time."""
        ...

    def rates(self, specs: Sequence[RunSpec]) -> list[float]:
        """Training FLOP/s of all workers together on runs like each of `specs`, measured in seconds."""
        ...

    def run(self, jobs: Iterable[Job | None]) -> Generator[Event, None, None]:
        """Make all `jobs`, as they come."""
        ...


class Waiting:
    """Jobs that wait for a worker: first what is made again, then what the driver gives.

    Args:
        jobs: see `Executor.run`.
    """

    def __init__(self, jobs: Iterable[Job | None]) -> None:
        self._given = iter(jobs)
        self._again: deque[tuple[Job, int]] = deque()

    def take(self) -> tuple[Job, int] | None:
        """The next job, and for the how-manieth time it is made; None while there is none."""
        if self._again:
            return self._again.popleft()
        job = next(self._given, None)
        return None if job is None else (job, 1)

    def put_back(self, job: Job, attempt: int) -> None:
        """A job that is made for the `attempt`-th time."""
        self._again.append((job, attempt))
