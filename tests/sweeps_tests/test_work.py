"""What a worker does with a job: cancelled between chunks, progress to the last token, and an error said once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from helpers.hooked_specs import HookedSpec, hooked

from mixlab.errors import SweepError
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from proxies.training.train import StoppedError
from sweeps.executors.work import JobWorker, Work
from sweeps.plan import Plan, open_plan


@pytest.fixture
def plan(study_folder: StudyFolder) -> Plan:
    return open_plan(study_folder)


@pytest.fixture
def long(plan: Plan) -> RunSpec:
    """Of several chunks."""
    return replace(plan.spec(plan.prior, 2), tokens=(200_000,))


def test_a_job_is_given_up_between_two_chunks(study_folder: StudyFolder, plan: Plan, long: RunSpec) -> None:
    worker, tokens = JobWorker(Work.of(study_folder)), list[int]()
    asked = 0

    def after_two() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    with pytest.raises(StoppedError):
        worker.do((long,), tokens.append, after_two)
    assert asked == 2
    assert 0 < sum(tokens) < long.trained_tokens
    again = worker.do((plan.spec(plan.prior, 0),), tokens.append)  # and the worker can go on
    assert [record.status for record in again] == ["done"]


def test_progress_is_said_to_the_last_token_when_a_job_fails(study_folder: StudyFolder, plan: Plan) -> None:
    spec, tokens = plan.spec(plan.prior, 0), list[int]()
    calls = 0

    def at_the_second_branch() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError("as planned")

    broken: HookedSpec = hooked(spec, at_the_second_branch)
    (record,) = JobWorker(Work.of(study_folder)).do((broken,), tokens.append)
    assert record.status == "failed"
    assert "MemoryError: as planned" in (record.error or "")
    assert sum(tokens) == replace(spec, tokens=spec.tokens[:1]).trained_tokens


def test_an_unprepared_corpus_is_an_error_of_the_job(study_folder: StudyFolder, plan: Plan) -> None:
    study_folder.corpus.joinpath("inventory.json").unlink()
    (record,) = JobWorker(Work.of(study_folder)).do((plan.spec(plan.prior, 0),), lambda tokens: None)
    assert record.status == "failed"
    assert record.error == f"no prepared corpus in {study_folder.corpus} (run `mixlab prepare DIR` first)"


def test_a_worker_serves_one_thread(study_folder: StudyFolder, plan: Plan) -> None:
    worker, job = JobWorker(Work.of(study_folder)), (plan.spec(plan.prior, 0),)
    worker.do(job, lambda tokens: None)
    with ThreadPoolExecutor(1) as pool, pytest.raises(SweepError, match="serves one thread") as caught:
        pool.submit(worker.do, job, lambda tokens: None).result()
    assert caught.value.hint == "make one for each thread"
    assert worker.do(job, lambda tokens: None)[0].status == "done"  # the first may go on
