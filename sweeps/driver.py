"""The driver: plans rounds, hands jobs to an executor, keeps records, tells the study. It may be killed at any time.

What it does next follows from the study file and the ledger alone, so the same command goes on where it stopped: no
finished run is repeated, and the final table is the one of an uninterrupted sweep.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixlab.corpus.inventory import Inventory
from mixlab.errors import FitError, SweepError
from mixlab.files import read_json, write_json
from mixlab.laws.fit_surface import fit_surface
from mixlab.mixture import Mixture
from mixlab.objective import Objective
from mixlab.runs.records import records_to_table
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.runs.table import Runs
from mixlab.search.mix import minimise_mixture
from mixlab.study.folder import StudyFolder
from sweeps.designs import anchors, draw_mixtures, is_new
from sweeps.executors.base import Executor, Finished, Job, Progress, Restarted
from sweeps.ledger import Ledger
from sweeps.optuna_view import OptunaView
from sweeps.plan import Plan, design_specs, proposal_specs, stacks
from sweeps.tracking import Tracker


class Watcher:
    """What a driver reports to; the base class ignores everything."""

    def plan(self, jobs: Sequence[Job], flops: float, done: int) -> None:
        """A round starts with these jobs, which take `flops`; `done` runs of it were finished before."""

    def progress(self, job: Job, tokens: int) -> None:
        """`job` has processed `tokens` more tokens per member."""

    def finished(self, record: RunRecord) -> None:
        """A run is over."""

    def warn(self, message: str) -> None:
        """Something happened that a person should know."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to: all records of its plan, in plan order."""

    records: tuple[RunRecord, ...]

    @property
    def failed(self) -> list[RunRecord]:
        return [record for record in self.records if record.status == "failed"]


def open_plan(folder: StudyFolder) -> Plan:
    """The study's fixed facts.

    Raises:
        CorpusError: when `mixlab prepare` has not run.
    """
    return Plan.make(folder.config, Inventory.load(folder.corpus))


def worker_count(study: Plan, override: int | None = None) -> int:
    """Processes to use: the command line's number, else the study's, else one per core."""
    return override or study.config.sweep.workers or os.cpu_count() or 1


def first_round(study: Plan) -> list[Mixture]:
    """The design's mixtures, anchors first."""
    config = study.config
    return draw_mixtures(
        study.space,
        study.prior,
        config.sweep.mixtures,
        kind=config.sweep.design,
        seed=config.seed,
        tokens=study.longest,
    )


def first_specs(study: Plan) -> list[RunSpec]:
    """The runs of the first round."""
    anchor_count = len(anchors(study.space, study.prior, study.longest))
    return design_specs(study, first_round(study), anchor_count)


def run_sweep(
    folder: StudyFolder,
    executor: Executor,
    tracker: Tracker,
    watcher: Watcher,
    *,
    storage: str | None = None,
) -> SweepResult:
    """Make all rounds of a study's sweep and write runs.parquet.

    Args:
        folder: the study.
        executor: who makes the jobs.
        tracker: where runs are logged besides.
        watcher: who is told.
        storage: an Optuna storage URL in place of the study's own file.

    Raises:
        SweepError: when another driver holds the study, or the disk refuses.
    """
    study = open_plan(folder)
    ledger = Ledger(folder.ledger)
    with ledger.lock():
        optuna_study = OptunaView(
            study.config.name,
            storage or folder.optuna,
            study.space,
            study.longest,
            study.config.sweep.sampler,
            study.config.seed,
        )
        planned: list[RunSpec] = []
        mixtures: list[Mixture] = []
        for number in range(study.config.sweep.rounds):
            if number == 0:
                fresh, specs = first_round(study), first_specs(study)
            else:
                fresh = _proposals(folder, study, optuna_study, ledger, planned, mixtures, number)
                specs = proposal_specs(study, fresh, first=len(mixtures))
            for mixture in fresh:
                optuna_study.add(mixture)
            make_runs(specs, ledger, executor, tracker, watcher, study.config.objective_weights)
            mixtures += fresh
            planned += specs
            _tell(optuna_study, study, mixtures, ledger.records())
        records = ledger.records()
        outcome = SweepResult(tuple(records[spec.run_id] for spec in planned))
        write_runs(folder, study, outcome.records)
    return outcome


def make_runs(
    specs: Sequence[RunSpec],
    ledger: Ledger,
    executor: Executor,
    tracker: Tracker,
    watcher: Watcher,
    objective: Mapping[str, float],
) -> None:
    """Make those of `specs` that the ledger does not have, or has as failed; each goes to the ledger as it ends.

    What is trained together is settled by `specs` alone, so that a sweep which was interrupted comes to the same
    numbers. Where a stack's records were torn apart, it is made again whole and its known records stay.
    """
    known = {run_id: record for run_id, record in ledger.records().items() if record.status != "failed"}
    for warning in ledger.warnings:
        watcher.warn(warning)
    ledger.warnings.clear()
    jobs = [job for job in stacks(specs, executor.stack_limit) if any(spec.run_id not in known for spec in job)]
    flops = sum(executor.flops_left(job) for job in jobs)
    watcher.plan(jobs, flops, done=len(specs) - sum(len(job) for job in jobs))
    if not jobs:
        return
    events = executor.run(jobs)
    try:
        for event in events:
            if isinstance(event, Progress):
                watcher.progress(event.job, event.tokens)
            elif isinstance(event, Restarted):
                watcher.warn(f"a worker died (exit code {event.exit_code}); its job starts again")
            elif isinstance(event, Finished):
                for record in event.records:
                    if record.run_id not in known:
                        ledger.write(record)
                        if record.status == "done":
                            tracker.log(record, dict(objective))
                    watcher.finished(record)
    finally:
        close: Callable[[], None] | None = getattr(events, "close", None)
        if close is not None:
            close()


def write_runs(folder: StudyFolder, study: Plan, records: Iterable[RunRecord]) -> Runs:
    """Write runs.parquet from records; runs without a point are left out and counted by the table's notes."""
    table = study_table(study, records)
    table.write(folder.runs)
    return table


def study_table(study: Plan, records: Iterable[RunRecord]) -> Runs:
    """The run table of a study's records."""
    unique = {domain.name: domain.unique_tokens for domain in study.inventory.domains}
    return records_to_table(
        records, Objective.over(study.config.objective_weights), unique, study.config.mixtures.evaluation_only
    )


def objective_loss(study: Plan, record: RunRecord) -> float:
    """The objective at the record's largest budget; NaN when the run did not get there."""
    if record.status != "done" or not record.points:
        return float("nan")
    losses = record.points[-1].losses
    return sum(weight * losses[name] for name, weight in study.config.objective_weights.items())


def _tell(optuna_study: OptunaView, study: Plan, mixtures: Sequence[Mixture], records: Mapping[str, RunRecord]) -> None:
    for mixture in mixtures:
        record = records.get(study.spec(mixture, study.reference).run_id)
        if record is not None:
            optuna_study.tell(mixture, objective_loss(study, record))


def _proposals(
    folder: StudyFolder,
    study: Plan,
    optuna_study: OptunaView,
    ledger: Ledger,
    planned: Sequence[RunSpec],
    known: Sequence[Mixture],
    number: int,
) -> list[Mixture]:
    """The mixtures of round `number`: decided once and kept in the ledger, so that a resumed sweep has the same."""
    path = folder.ledger / "rounds" / f"{number}.json"
    if path.exists():
        return [Mixture(weights) for weights in read_json(path)]
    wanted = study.config.sweep.proposals
    if study.config.sweep.sampler == "law":
        records = ledger.records()
        done = [records[spec.run_id] for spec in planned if spec.run_id in records]
        fresh = _thompson(study, study_table(study, done), known, wanted, number)
    else:
        # A driver killed between asking and keeping the round left trials running: they are asked for already.
        told = {tuple(np.round(mixture.array(study.space.names), 9)) for mixture in known}
        left = [m for m in optuna_study.running() if tuple(np.round(m.array(study.space.names), 9)) not in told]
        fresh = left[:wanted]
        fresh += [optuna_study.ask() for _ in range(wanted - len(fresh))]
    write_json(path, [dict(mixture) for mixture in fresh])
    return fresh


def _thompson(study: Plan, table: Runs, known: Sequence[Mixture], wanted: int, number: int) -> list[Mixture]:
    """The optima under single bootstrap draws of the fitted law: where it is unsure they spread by themselves."""
    names = study.space.names
    shape = study.shapes[study.reference]
    tokens = study.tokens[study.reference][-1]
    law = study.config.target.law if study.config.target is not None else "auto"
    draws = 4 * wanted
    try:
        surface = fit_surface(
            table, study.config.objective_weights, law=law, bootstrap=draws, seed=study.config.seed + number
        )
    except FitError as error:
        raise SweepError(
            f"round {number} cannot be proposed by a law: {error.message}",
            "add mixtures to the first round, or set sweep.sampler to tpe",
        ) from error
    points = [mixture.array(names) for mixture in known]
    fresh: list[Mixture] = []
    for index in range(draws):
        best = minimise_mixture(surface.draw(index), study.space, params=shape.params, tokens=tokens, seed=index)
        point = best.array(names)
        if is_new(point, points):
            points.append(point)
            fresh.append(best)
        if len(fresh) == wanted:
            break
    return fresh
