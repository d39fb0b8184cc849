"""Worker processes on this machine: started once, one thread each, taking jobs until there are none.

A worker that is killed is replaced and its job made again. When the driver dies, its workers see their pipe close and
end by themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from mixlab.errors import MixlabError
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunRecord, RunSpec
from proxies.backend.choice import Backend, use_one_thread
from proxies.backend.stacking import stack_limit
from proxies.training.checkpoint import tokens_left
from sweeps.executors.base import MAX_ATTEMPTS, Event, Finished, Job, Progress, Restarted

REPORT_SECONDS = 0.3
# Libraries read these when they are loaded, and one that starts a thread per core takes memory for each.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None


class LocalExecutor:
    """Runs jobs in processes of this machine.

    Args:
        corpus: the prepared corpus.
        workers: how many processes.
        backend: device, engine and precision.
        checkpoints: folder for checkpoints, or None to keep none.
    """

    def __init__(self, corpus: Path, workers: int, backend: Backend, checkpoints: Path | None = None) -> None:
        self._corpus, self._count, self._backend, self._checkpoints = corpus, workers, backend, checkpoints

    def stack_limit(self, spec: RunSpec) -> int:
        """See `Executor.stack_limit`."""
        return stack_limit(spec, self._backend)

    def flops_left(self, job: Job) -> float:
        """See `Executor.flops_left`."""
        return flops_left(job, self._checkpoints)

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """See `Executor.run`; jobs start in the order given."""
        waiting = deque((job, 1) for job in jobs)
        attempts: dict[int, int] = {}
        workers = [self._start() for _ in range(min(self._count, len(jobs)))]
        try:
            for worker in workers:
                self._hand_out(worker, waiting, attempts)
            while any(worker.job is not None for worker in workers):
                ready = wait([worker.pipe for worker in workers if worker.job is not None])
                for worker in [w for w in workers if w.pipe in ready]:
                    yield from self._receive(worker, workers, waiting, attempts)
        finally:
            for worker in workers:
                worker.pipe.close()
                worker.process.kill()
                worker.process.join()

    def _receive(
        self, worker: _Worker, workers: list[_Worker], waiting: deque[tuple[Job, int]], attempts: dict[int, int]
    ) -> Iterator[Event]:
        job = worker.job
        assert job is not None
        attempt = attempts[id(job)]
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            workers[workers.index(worker)] = fresh = self._start()
            if attempt < MAX_ATTEMPTS:
                yield Restarted(job, worker.process.exitcode)
                waiting.appendleft((job, attempt + 1))
            else:
                error = f"its worker died {attempt} times, last with exit code {worker.process.exitcode}"
                yield Finished(job, tuple(_failed(job, error, attempt)))
            self._hand_out(fresh, waiting, attempts)
            return
        if kind == "progress":
            yield Progress(job, content)
            return
        records = _failed(job, content, attempt) if kind == "error" else content
        self._hand_out(worker, waiting, attempts)
        yield Finished(job, tuple(replace(record, attempts=attempt) for record in records))

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._corpus, self._backend, self._checkpoints)
        process = context.Process(target=_work, args=arguments, daemon=True, name="mixlab-worker")
        with _environment(ONE_THREAD):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_out(self, worker: _Worker, waiting: deque[tuple[Job, int]], attempts: dict[int, int]) -> None:
        worker.job = None
        if waiting:
            worker.job, attempt = waiting.popleft()
            attempts[id(worker.job)] = attempt
            worker.pipe.send(worker.job)


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


def _failed(job: Job, error: str, attempts: int) -> list[RunRecord]:
    return [RunRecord(spec=spec, status="failed", attempts=attempts, error=error) for spec in job]


def flops_left(job: Job, checkpoints: Path | None) -> float:
    """Training FLOPs of `job` with the trunks that are kept in a folder: a stack begins where its slowest member is."""
    tokens = max(spec.trained_tokens if checkpoints is None else tokens_left(checkpoints, spec) for spec in job)
    return sum(training_flops(spec.shape, tokens) for spec in job)


def _work(pipe: Connection, corpus: Path, backend: Backend, checkpoints: Path | None) -> None:
    """A worker's life: open the corpus once, then train what comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    from proxies.training.texts import open_texts
    from proxies.training.train import train_stack

    use_one_thread(backend)
    try:
        texts = open_texts(corpus)
        while True:
            job: Job = pipe.recv()
            report = _Reporter(pipe)
            try:
                pipe.send(("done", train_stack(job, texts, backend, checkpoints, report)))
            except MixlabError as error:
                pipe.send(("error", f"{error.message} ({error.hint})" if error.hint else error.message))
            except (EOFError, BrokenPipeError):
                raise
            except Exception:
                pipe.send(("error", traceback.format_exc(limit=8)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone


class _Reporter:
    """Sums tokens and passes them on a few times a second."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._tokens, self._last = pipe, 0, time.monotonic()

    def __call__(self, tokens: int) -> None:
        self._tokens += tokens
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self._pipe.send(("progress", self._tokens))
            self._tokens, self._last = 0, time.monotonic()
