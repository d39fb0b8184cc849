"""What every executor owes its driver, over the registry itself: a new entry is tested without a word here."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from helpers.hooked_specs import Dies, Endless, Gate, HookedSpec, Raises, hooked, timed, timed_when, wait_until

from mixlab.errors import ConfigError
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from proxies.backend import speed
from proxies.backend.choice import choose_backend
from proxies.backend.speed import measure_rate
from proxies.training.checkpoint import tokens_left
from proxies.training.texts import open_texts
from proxies.training.train import train_stack
from sweeps.executors.base import MAX_ATTEMPTS, Event, Executor, Finished, Progress, Restarted
from sweeps.executors.registry import EXECUTORS, make_executor
from sweeps.executors.work import Job
from sweeps.plan import Plan, open_plan
from sweeps.proposals import first_specs

WORKERS = 3  # neither what the study says nor, on the machines at hand, the number of cores

pytestmark = pytest.mark.timeout(120)  # no test takes a tenth of it: one that does waits for what never comes


@pytest.fixture
def plan(study_folder: StudyFolder) -> Plan:
    return open_plan(study_folder)


@pytest.fixture(params=EXECUTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def executor(name: str, study_folder: StudyFolder) -> Executor:
    """With `WORKERS` workers, or as many as it can have."""
    try:
        return make_executor(name, study_folder, WORKERS)
    except ConfigError:
        return make_executor(name, study_folder)


def make(executor: Executor, jobs: Sequence[Job]) -> list[Event]:
    """All events of `jobs`, and what holds of any."""
    events = list(executor.run(jobs))
    finished = [event for event in events if isinstance(event, Finished)]
    assert Counter(event.job for event in finished) == Counter(jobs)
    for event in finished:
        assert [record.run_id for record in event.records] == [spec.run_id for spec in event.job]
    for job in jobs:
        assert isinstance([event for event in events if event.job == job][-1], Finished)
    return events


def finish_of(events: Sequence[Event], job: Job) -> Finished:
    return next(event for event in events if isinstance(event, Finished) and event.job == job)


def progress_of(events: Sequence[Event], job: Job) -> int:
    return sum(event.tokens for event in events if isinstance(event, Progress) and event.job == job)


def short(plan: Plan, seed: int, size: int = 0) -> RunSpec:
    """A run of the least tokens."""
    return replace(plan.spec(plan.prior, size), tokens=plan.tokens[size][:1], seed=seed)


def test_the_name_is_that_of_the_class_and_its_file(name: str, study_folder: StudyFolder) -> None:
    assert type(make_executor(name, study_folder)).__module__ == f"sweeps.executors.{name}"


def test_it_has_as_many_workers_as_asked_for_or_refuses(name: str, study_folder: StudyFolder) -> None:
    assert make_executor(name, study_folder).workers >= 1
    for workers in (1, WORKERS):
        try:
            executor = make_executor(name, study_folder, workers)
        except ConfigError:
            continue
        assert executor.workers == workers


def test_every_job_is_made_as_training_alone_makes_it(
    executor: Executor, plan: Plan, study_folder: StudyFolder
) -> None:
    specs = first_specs(plan)
    small = [spec for spec in specs if spec.shape == plan.shapes[0]]
    large = [spec for spec in specs if spec.shape == plan.shapes[2]]
    # Stacks and single runs, more jobs than workers, and one job that is there twice.
    jobs: list[Job] = [tuple(small[:3]), (large[0],), tuple(large[1:3]), (small[3],), (large[0],)]
    backend = choose_backend(plan.config.proxies)
    events = make(executor, jobs)
    for job in set(jobs):
        direct = train_stack(job, open_texts(study_folder.corpus), backend)
        for record, expected in zip(finish_of(events, job).records, direct, strict=True):
            assert (record.status, record.attempts, record.error) == ("done", 1, None)
            assert record.points == expected.points
            assert (record.device, record.environment) == (expected.device, expected.environment)
            assert record.wall_seconds > 0


def test_a_job_is_asked_for_when_a_worker_is_free_and_its_driver_knows_what_has_finished(
    executor: Executor, plan: Plan
) -> None:
    """A driver may make up its next job from what has finished; None says that it waits for that."""
    first, then = [(short(plan, seed),) for seed in range(WORKERS)], (short(plan, WORKERS),)
    asked, over = 0, 0

    def jobs() -> Iterator[Job | None]:
        nonlocal asked
        for job in first:
            assert asked - over < executor.workers, "asked for while no worker was free"
            asked += 1
            yield job
        while over < len(first):
            yield None
        yield then

    finished = []
    for event in executor.run(jobs()):
        if isinstance(event, Finished):
            over += 1
            finished.append(event.job)
    assert Counter(finished) == Counter([*first, then])
    assert finished[-1] == then
    assert not list(executor.run(iter([None, then]))), "None while nothing is made is the end"


def test_progress_sums_to_the_tokens_of_each_member(executor: Executor, plan: Plan) -> None:
    jobs: list[Job] = [(short(plan, 1), short(plan, 2)), (plan.spec(plan.prior, 2),)]
    events = make(executor, jobs)
    for job in jobs:
        assert progress_of(events, job) == job[0].trained_tokens


def test_a_run_that_raises_is_failed_at_once_with_the_reason(executor: Executor, plan: Plan, tmp_path: Path) -> None:
    notes = tmp_path / "raised"
    raises: Job = (hooked(short(plan, 1), Raises(notes)), short(plan, 2))
    unlike: Job = (short(plan, 3), short(plan, 3, size=1))
    sound: list[Job] = [(short(plan, seed),) for seed in range(4, 8)]
    events = make(executor, [raises, unlike, *sound])
    assert not [event for event in events if isinstance(event, Restarted)]
    for job, reason in ((raises, "as planned by the test"), (unlike, "a stack needs one or more runs equal in shape")):
        for record in finish_of(events, job).records:
            assert (record.status, record.attempts) == ("failed", 1)
            assert reason in (record.error or "")
    assert notes.read_text().splitlines() == ["called"]
    assert {finish_of(events, job).records[0].status for job in sound} == {"done"}


@pytest.mark.parametrize("harm", ["cut short", "missing"])
def test_a_damaged_shard_is_an_error_of_the_job_and_named(
    executor: Executor, plan: Plan, study_folder: StudyFolder, harm: str
) -> None:
    shard = study_folder.corpus / "words.train.bin"
    content = shard.read_bytes()
    shard.unlink()
    if harm == "cut short":
        shard.write_bytes(content[:-7])
    jobs: list[Job] = [(short(plan, seed),) for seed in range(4)]
    events = make(executor, jobs)
    for job in jobs:
        (record,) = finish_of(events, job).records
        assert (record.status, record.attempts) == ("failed", 1)
        assert str(shard) in (record.error or "")
    shard.write_bytes(content)
    assert finish_of(make(executor, jobs[:1]), jobs[0]).records[0].status == "done"


def test_workers_are_as_many_as_it_says_and_never_more(executor: Executor, plan: Plan, tmp_path: Path) -> None:
    count = executor.workers
    jobs: list[Job] = [
        (hooked(short(plan, seed), Gate(tmp_path, str(seed), together=count)),) for seed in range(count + 2)
    ]
    events = make(executor, jobs)
    assert {finish_of(events, job).records[0].error for job in jobs} == {None}
    assert max(int(path.read_text()) for path in tmp_path.glob("*.out")) == count


def test_kept_trunks_are_gone_on_from(executor: Executor, plan: Plan, study_folder: StudyFolder) -> None:
    whole = plan.spec(plan.prior, 1)
    shorter = replace(whole, tokens=whole.tokens[:-1])
    make(executor, [(shorter,)])
    assert (study_folder.checkpoints / f"{shorter.run_id}.model.safetensors").exists()
    left = tokens_left(study_folder.checkpoints, whole)
    assert left < whole.trained_tokens
    events = make(executor, [(whole,)])
    assert progress_of(events, (whole,)) == left
    (record,) = finish_of(events, (whole,)).records
    assert (
        record.points
        == train_stack([whole], open_texts(study_folder.corpus), choose_backend(plan.config.proxies))[0].points
    )


def test_nothing_to_do_is_done(executor: Executor) -> None:
    assert list(executor.run([])) == []


def test_a_plan_can_be_timed(executor: Executor, plan: Plan) -> None:
    rates = executor.rates([short(plan, 1), short(plan, 1, size=2)])
    assert len(rates) == 2
    assert all(0 < rate < math.inf for rate in rates)


def test_rates_are_those_of_all_workers_together(
    executor: Executor, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_seconds_of", timed)  # here and, by the hooks, where workers are other processes
    specs = [short(plan, 1), short(plan, 1, size=2)]
    alone = [measure_rate(spec, executor.work.backend) for spec in specs]
    rates = executor.rates([timed_when(spec, tmp_path, executor.workers) for spec in specs])
    assert rates == pytest.approx([executor.workers * rate for rate in alone]), "the sum over all workers"


@pytest.fixture
def endless(plan: Plan, tmp_path: Path) -> Iterator[HookedSpec]:
    """A run of hours, which ends with the test whatever has become of its worker."""
    branches = tuple(range(10**5, 10**7, 10**5))
    over = tmp_path / "over"
    yield hooked(replace(plan.spec(plan.prior, 2), tokens=branches), Endless(tmp_path / "begun", over))
    over.touch()


def test_closing_stops_the_work_and_leaves_nobody_behind(
    executor: Executor, plan: Plan, endless: HookedSpec, tmp_path: Path
) -> None:
    resource_tracker.ensure_running()  # a process of Python's own, which stays
    before = workers_alive()
    jobs: list[Job] = [(short(plan, 1),), (endless,), (short(plan, 2),), (endless,)]
    events = executor.run(jobs)
    while not isinstance(next(events), Finished):
        pass
    if executor.workers > 1:
        wait_until((tmp_path / "begun").exists)
    events.close()
    wait_until(lambda: workers_alive() <= before)
    assert finish_of(make(executor, jobs[:1]), jobs[0]).records[0].status == "done"


def children_of_threads() -> set[int]:
    while True:
        try:
            return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
        except (FileNotFoundError, ProcessLookupError):  # a thread ended meanwhile, and its children are another's
            continue


def workers_alive() -> set[object]:
    """Threads and processes that this process has started."""
    children = children_of_threads()
    children |= {process.pid for process in multiprocessing.active_children() if process.pid is not None}
    return {*threading.enumerate(), *children}


def test_the_job_of_a_dead_worker_is_made_again(executor: Executor, plan: Plan, tmp_path: Path) -> None:
    once: Job = (hooked(short(plan, 1), Dies(os.getpid(), tmp_path / "once", 1)),)
    always: Job = (hooked(short(plan, 2), Dies(os.getpid(), tmp_path / "always", 99)),)
    sound: list[Job] = [(short(plan, seed),) for seed in range(3, 6)]
    events = make(executor, [once, always, *sound])
    restarts = Counter(event.job for event in events if isinstance(event, Restarted))
    (revived,), (lost,) = finish_of(events, once).records, finish_of(events, always).records
    if any(tmp_path.iterdir()):  # the workers are processes of their own
        assert restarts == {once: 1, always: MAX_ATTEMPTS - 1}
        assert (revived.status, revived.attempts) == ("done", 2)
        assert (lost.status, lost.attempts) == ("failed", MAX_ATTEMPTS)
        assert "died" in (lost.error or "")
    else:
        assert not restarts
        assert {revived.status, lost.status} == {"done"}
    assert {finish_of(events, job).records[0].status for job in sound} == {"done"}
