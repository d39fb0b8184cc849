"""No workers at all: jobs are made one after another in this process, where a debugger sees them.

A job's progress comes when it ends. Ctrl-C stops it at once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mixlab.errors import ConfigError
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from proxies.backend.speed import measure_rate
from sweeps.executors.base import Event, Finished, Progress
from sweeps.executors.work import Job, JobWorker, Work


class SerialExecutor:
    """Makes jobs in this process.

    Args:
        work: where and with what.
    """

    workers = 1

    def __init__(self, work: Work) -> None:
        self.work = work

    @classmethod
    def of(cls, folder: StudyFolder, workers: int | None) -> SerialExecutor:
        """A study's.

        Raises:
            ConfigError: when more than one worker is asked for.
        """
        if workers not in (None, 1):
            raise ConfigError(f"the executor `serial` has 1 worker, but {workers} were asked for", "use `local`")
        return cls(Work.of(folder))

    def rates(self, specs: Sequence[RunSpec]) -> list[float]:
        """See `Executor.rates`."""
        return [measure_rate(spec, self.work.backend) for spec in specs]

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `Executor.run`; jobs are made in the order given."""
        worker = JobWorker(self.work)
        for job in jobs:
            tokens: list[int] = []
            records = worker.do(job, tokens.append)
            yield Progress(job, sum(tokens))
            yield Finished(job, records)
