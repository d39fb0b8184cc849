"""The driver: plans rounds, hands jobs to an executor, keeps records, tells who watches. It may be killed at any time.

What it does next follows from the study file and the ledger alone, so the same command goes on where it stopped: no
finished run is repeated, and the final table is the one of an uninterrupted sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixlab.objective import Objective
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.shown import Shown
from mixlab.study.folder import StudyFolder
from sweeps.course import Course
from sweeps.executors.base import Executor, Finished, Progress, Restarted
from sweeps.executors.registry import make_executor
from sweeps.executors.work import Job, Work
from sweeps.ledger import Ledger
from sweeps.optuna_view import OptunaView
from sweeps.plan import open_plan, stacks
from sweeps.tracking import Tracker, make_tracker

if TYPE_CHECKING:
    from rich.console import RenderableType


class Watcher:
    """Who is told what a driver does; the base class ignores everything."""

    def plan(self, jobs: Sequence[Job], flops: float, done: int) -> None:
        """A round starts with these jobs, which take `flops`; `done` runs of it were finished before."""

    def progress(self, job: Job, tokens: int) -> None:
        """`job` has processed `tokens` more tokens per member."""

    def finished(self, record: RunRecord) -> None:
        """A run is over."""

    def note(self, message: str) -> None:
        """Something that a person may like to know."""

    def warn(self, message: str) -> None:
        """Something happened that a person should know."""


@dataclass(frozen=True, repr=False)
class SweepResult(Shown):
    """What a sweep came to.

    Attributes:
        records: all of its plan, in plan order.
        table: the run table's path.
    """

    records: tuple[RunRecord, ...]
    table: Path

    def count(self, status: str) -> int:
        """Runs of this status."""
        return sum(record.status == status for record in self.records)

    @property
    def points(self) -> int:
        """Finished models."""
        return sum(len(record.points) for record in self.records)

    def __repr__(self) -> str:
        return f"<SweepResult: {self.sentence}>"

    def parts(self) -> Iterator[RenderableType]:
        """What became of the runs, in a sentence."""
        yield self.sentence

    def to_frame(self) -> pd.DataFrame:
        """A row per run: id, status, size, FLOPs, seconds and what went wrong."""
        return pd.DataFrame(
            [
                {
                    "run_id": record.run_id,
                    "status": record.status,
                    "params": record.spec.shape.params,
                    "flops": record.spec.flops,
                    "wall_seconds": record.wall_seconds,
                    "error": record.error,
                }
                for record in self.records
            ]
        )

    @property
    def sentence(self) -> str:
        """What became of the runs."""
        counts = ", ".join(f"{self.count(status)} {status}" for status in ("diverged", "failed"))
        return f"{self.count('done')} runs done, {counts}: {self.points} points in {self.table}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab sweep --json`."""
        counts = {status: self.count(status) for status in ("done", "diverged", "failed")}
        return {"runs": len(self.records), **counts, "points": self.points, "table": str(self.table)}


def sweep(
    folder: StudyFolder,
    *,
    executor: str = "local",
    workers: int | None = None,
    storage: str | None = None,
    watcher: Watcher | None = None,
) -> SweepResult:
    """Make the runs of a prepared study that are not made yet, and its run table.

    Args:
        folder: the study.
        executor: a name in `sweeps.executors.registry`.
        workers: how many jobs at a time; None: the study's number, else what the executor thinks best.
        storage: an Optuna storage URL, or `journal:FILE`, in place of the study's own file.
        watcher: who is told meanwhile.

    Raises:
        ConfigError: when there is no such executor, or it cannot have so many workers.
        CorpusError: when the study is not prepared.
        SweepError: when another driver holds the study, or the disk refuses.
    """
    watcher = watcher or Watcher()
    maker = make_executor(executor, folder, workers)
    if maker.work.backend.note:
        watcher.note(maker.work.backend.note)
    tracker = make_tracker(folder.config.tracking, folder.config.name, folder.root)
    return run_sweep(folder, maker, tracker, watcher, storage=storage)


def run_sweep(
    folder: StudyFolder, executor: Executor, tracker: Tracker, watcher: Watcher, *, storage: str | None = None
) -> SweepResult:
    """Make all rounds of a study's sweep, and write runs.parquet after each; see `sweep`."""
    plan = open_plan(folder)
    config = plan.config
    with Ledger.hold(folder.ledger) as ledger:
        view = OptunaView(
            config.name, storage or folder.optuna, plan.space, plan.longest, config.sweep.sampler, config.seed
        )
        making = _Making(ledger, executor.work, tracker, watcher, plan.facts.objective)
        course = Course(plan, folder, ledger, view, making.begin, watcher.note)
        making.make(executor, course.jobs(making.over))
        course.tell()
        records = course.records
    return SweepResult(records, folder.runs)


def make_runs(
    specs: Sequence[RunSpec],
    ledger: Ledger,
    executor: Executor,
    tracker: Tracker,
    watcher: Watcher,
    objective: Objective,
) -> None:
    """Make those of `specs` that the ledger does not have, or has as failed; each goes to the ledger as it ends.

    What is trained together is settled by `specs` alone, so that a sweep which was interrupted comes to the same
    numbers. Where a stack's records were torn apart, it is made again whole and its known records stay.
    """
    making = _Making(ledger, executor.work, tracker, watcher, objective)
    making.make(executor, making.begin(specs))


class _Making:
    """Jobs that are being made: what is over, and who is told.

    Args:
        ledger, tracker: where each record goes.
        work: of the executor.
        watcher: who is told.
        objective: what trackers log.
    """

    def __init__(self, ledger: Ledger, work: Work, tracker: Tracker, watcher: Watcher, objective: Objective) -> None:
        self._ledger, self._work, self._tracker = ledger, work, tracker
        self._watcher, self._objective = watcher, objective
        self._over = {run_id for run_id, record in ledger.records.items() if record.status != "failed"}
        for warning in ledger.warnings:
            watcher.warn(warning)
        ledger.warnings.clear()

    def over(self, spec: RunSpec) -> bool:
        """Whether a run is over: one that failed before is tried once more."""
        return spec.run_id in self._over

    def begin(self, specs: Sequence[RunSpec]) -> list[Job]:
        """The jobs that `specs` still need, told to the watcher."""
        jobs = [job for job in stacks(specs, self._work.stack_limit) if not all(map(self.over, job))]
        flops = sum(self._work.flops_left(job) for job in jobs)
        self._watcher.plan(jobs, flops, done=len(specs) - sum(len(job) for job in jobs))
        return jobs

    def make(self, executor: Executor, jobs: Iterable[Job | None]) -> None:
        """Make `jobs` as they come; each record goes to the ledger as it ends."""
        with closing(executor.run(jobs)) as events:
            for event in events:
                if isinstance(event, Progress):
                    self._watcher.progress(event.job, event.tokens)
                elif isinstance(event, Restarted):
                    code = "" if event.exit_code is None else f" (exit code {event.exit_code})"
                    self._watcher.warn(f"a worker died{code}; its job is restarted")
                elif isinstance(event, Finished):
                    for record in event.records:
                        if record.run_id not in self._over:
                            self._ledger.write(record)
                            _track(record, self._tracker, self._objective, self._watcher)
                            self._over.add(record.run_id)
                        self._watcher.finished(record)


def _track(record: RunRecord, tracker: Tracker, objective: Objective, watcher: Watcher) -> None:
    """Log a finished run; what a tracker raises costs its log and not the sweep, since the ledger has it all."""
    if record.status != "done":
        return
    try:
        tracker.log(record, objective)
    except Exception as error:  # each tracker raises kinds of its own
        watcher.warn(f"run {record.run_id} is in the ledger, but could not be logged: {type(error).__name__}: {error}")
