"""Worker processes on this machine: started once, one thread each, taking jobs until there are none.

A worker that is killed is replaced and its job made again. When the driver dies, its workers see their pipe close and
end by themselves.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from mixlab.processes import WORKERS, WorkerProcess
from proxies.training.train import StoppedError
from sweeps.executors.base import MAX_ATTEMPTS, Event, Finished, Progress, Restarted, Waiting
from sweeps.executors.pool import PoolExecutor
from sweeps.executors.work import Job, JobWorker, Work, failed

# Libraries read these when they are loaded, and one that starts a thread per core takes memory for each.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class _Process:
    """A worker, the job that it has and for the how-manieth time that job is made."""

    process: WorkerProcess
    pipe: Connection
    job: Job | None = None
    attempt: int = 1


class LocalExecutor(PoolExecutor):
    """Makes jobs in processes of this machine."""

    def pool(self) -> ProcessPoolExecutor:
        """For rates: a pool of processes ends with the first that dies, so `run` starts its own."""
        return ProcessPoolExecutor(self.workers, mp_context=WORKERS)

    def run(self, jobs: Iterable[Job | None]) -> Generator[Event, None, None]:
        """See `Executor.run`; jobs start in the order given."""
        waiting = Waiting(jobs)
        workers: list[_Process] = []
        try:
            while True:
                self._occupy(workers, waiting)
                busy = [worker for worker in workers if worker.job is not None]
                if not busy:
                    return
                ready = wait([worker.pipe for worker in busy])
                for worker in [one for one in busy if one.pipe in ready]:
                    yield from self._receive(worker, workers, waiting)
        finally:
            for worker in workers:
                worker.pipe.close()
                worker.process.kill()
                worker.process.join()

    def _occupy(self, workers: list[_Process], waiting: Waiting) -> None:
        """Give jobs to idle workers, and start more workers while there are jobs for them."""
        idle = deque(worker for worker in workers if worker.job is None)
        while (idle or len(workers) < self.workers) and (taken := waiting.take()) is not None:
            if not idle:
                idle.append(self._start())
                workers.append(idle[0])
            self._hand_out(idle.popleft(), *taken)

    def _hand_out(self, worker: _Process, job: Job, attempt: int) -> None:
        worker.job, worker.attempt = job, attempt
        with suppress(BrokenPipeError):  # it is dead already, which shows when its answer is waited for
            worker.pipe.send(job)

    def _receive(self, worker: _Process, workers: list[_Process], waiting: Waiting) -> Iterator[Event]:
        job, attempt = worker.job, worker.attempt
        assert job is not None
        try:
            content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode
            workers[workers.index(worker)] = self._start()
            if attempt < MAX_ATTEMPTS:
                waiting.put_back(job, attempt + 1)
                yield Restarted(job, code)
                return
            content = failed(job, f"its worker died {attempt} times, last with exit code {code}")
        else:
            if isinstance(content, int):
                yield Progress(job, content)
                return
            worker.job = None
        yield Finished(job, tuple(replace(record, attempts=attempt) for record in content))

    def _start(self) -> _Process:
        ours, theirs = WORKERS.Pipe()
        process = WORKERS.Process(target=_live, args=(theirs, self.work), daemon=True, name="mixlab-worker")
        with _environment(ONE_THREAD):
            process.start()
        theirs.close()
        return _Process(process, ours)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _live(pipe: Connection, work: Work) -> None:
    """A worker's life: a job comes, numbers of tokens go while it is done, and then its records."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    worker = JobWorker(work)
    try:
        while True:
            # While a worker is busy nothing is sent to it: what can be read then is the end of the driver.
            pipe.send(worker.do(pipe.recv(), pipe.send, pipe.poll))
    except (EOFError, BrokenPipeError, ConnectionResetError, StoppedError):
        return
