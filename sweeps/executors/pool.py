"""Executors over a pool of `concurrent.futures`: a subclass says what the pool is, and all else is here.

The workers live in this process and share its memory. Where they can die by themselves, as processes do, an executor
hands jobs out in a way of its own (`local.py`).
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from concurrent import futures
from queue import SimpleQueue
from typing import Self

from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from proxies.backend.speed import measure_rate
from sweeps.executors.base import Event, Finished, Progress, Waiting
from sweeps.executors.work import Job, JobWorker, Work


class PoolExecutor(ABC):
    """Makes jobs on the workers of a pool.

    Args:
        work: where and with what.
        workers: how many jobs at a time.
    """

    def __init__(self, work: Work, workers: int = 1) -> None:
        self.work, self.workers = work, workers

    @classmethod
    def of(cls, folder: StudyFolder, workers: int | None) -> Self:
        """A study's: as many workers as asked for, else as it says itself, else one per core; on a GPU always one."""
        work = Work.of(folder)
        wanted = workers or folder.config.sweep.workers or os.cpu_count() or 1
        return cls(work, 1 if work.backend.device == "cuda" else wanted)

    @abstractmethod
    def pool(self) -> futures.Executor:
        """A new pool of `self.workers` workers, which is closed after use."""

    def rates(self, specs: Sequence[RunSpec]) -> list[float]:
        """See `Executor.rates`."""
        # All at once: workers that share caches and memory are slower than one alone.
        with self.pool() as pool:
            tried = [
                [pool.submit(measure_rate, spec, self.work.backend) for _ in range(self.workers)] for spec in specs
            ]
            return [sum(future.result() for future in each) for each in tried]

    def run(self, jobs: Iterable[Job | None]) -> Generator[Event, None, None]:
        """See `Executor.run`; jobs start in the order given."""
        waiting, busy, own, over = Waiting(jobs), 0, threading.local(), threading.Event()
        said: SimpleQueue[Event | futures.Future[Finished]] = SimpleQueue()

        def make(job: Job) -> Finished:
            if not hasattr(own, "worker"):
                own.worker = JobWorker(self.work)
            return Finished(job, own.worker.do(job, lambda tokens: said.put(Progress(job, tokens)), over.is_set))

        with self.pool() as pool:
            try:
                while True:
                    # No more than can begin: a pool may make a job while it is handed in, and others wait for its end.
                    while busy < self.workers and (taken := waiting.take()) is not None:
                        busy += 1
                        pool.submit(make, taken[0]).add_done_callback(said.put)
                    if not busy:
                        return
                    event = said.get()
                    if isinstance(event, futures.Future):
                        busy -= 1
                        event = event.result()
                    yield event
            finally:
                over.set()  # the pool waits for its workers when it is closed
