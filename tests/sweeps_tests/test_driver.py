"""The driver against real processes: killed workers, a killed driver, damaged records, two drivers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mixlab.api.fit import fit
from mixlab.api.recommend import recommend
from mixlab.commands.export import export
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.errors import ConfigError
from mixlab.files import write_json
from mixlab.mixture import Mixture
from mixlab.runs.specs import RunRecord
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, run_sweep
from sweeps.executors.base import Event, Finished, Restarted
from sweeps.executors.local import LocalExecutor
from sweeps.executors.work import Job, Work
from sweeps.ledger import read_ledger
from sweeps.plan import flops_beyond, open_plan, spec_of, without_parts
from sweeps.proposals import first_round, first_specs
from sweeps.rounds import Ask, Round, decided_rounds, read_round
from sweeps.tracking import NoTracker


def sweep(folder: StudyFolder, watcher: Watcher | None = None, **options: object) -> list[RunRecord]:
    executor = LocalExecutor(Work.of(folder), 2)
    result = run_sweep(folder, executor, NoTracker(), watcher or Watcher(), **options)  # type: ignore[arg-type]
    return list(result.records)


def table(folder: StudyFolder) -> pd.DataFrame:
    return pd.read_parquet(folder.runs).drop(columns=["wall_seconds", "flops_per_second", "mfu"])


def test_a_sweep_runs_and_a_second_call_repeats_nothing(swept_folder: StudyFolder) -> None:
    study_folder = swept_folder
    records = list(read_ledger(study_folder.ledger).records.values())
    assert {record.run_id for record in records} == {spec.run_id for spec in first_specs(open_plan(study_folder))}
    assert {record.status for record in records} == {"done"}
    assert all(len(record.points) == 3 for record in records)
    frame = table(study_folder)
    assert len(frame) == 3 * len(records)
    assert np.allclose(frame[[c for c in frame if c.startswith("mix.")]].sum(axis=1), 1)
    assert np.allclose(frame["loss"], 0.6 * frame["loss.count"] + 0.4 * frame["loss.words"])
    stamps = {path: path.stat().st_mtime_ns for path in study_folder.ledger.glob("*.json")}

    class Nothing(LocalExecutor):
        def run(self, jobs: Iterable[Job | None]) -> Generator[Event, None, None]:
            assert not list(jobs), "a finished run was repeated"
            yield from ()

    run_sweep(study_folder, Nothing(Work.of(study_folder), 1), NoTracker(), Watcher())
    assert stamps == {path: path.stat().st_mtime_ns for path in study_folder.ledger.glob("*.json")}
    pd.testing.assert_frame_equal(table(study_folder), frame)


# A driver that is killed when its third record is in the ledger, however fast the machine is.
KILLED_DRIVER = """
import os, signal, sys
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, run_sweep
from sweeps.executors.local import LocalExecutor
from sweeps.executors.work import Work
from sweeps.tracking import NoTracker

class Killer(Watcher):
    left = 3

    def finished(self, record):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    folder = StudyFolder.open(sys.argv[1])
    executor = LocalExecutor(Work.of(folder), 2)
    run_sweep(folder, executor, NoTracker(), Killer())
"""


def test_a_killed_driver_goes_on_to_the_same_table(study_folder: StudyFolder, swept_folder: StudyFolder) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_DRIVER, str(study_folder.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in study_folder.ledger.glob("*.json")}
    assert 3 <= len(kept) < len(first_specs(open_plan(study_folder)))
    command = [sys.executable, "-m", "mixlab", "sweep", str(study_folder.root)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    for name, stamp in kept.items():
        assert (study_folder.ledger / name).stat().st_mtime_ns == stamp
    pd.testing.assert_frame_equal(table(study_folder), table(swept_folder))  # which nothing interrupted


class KillsItsFirstWorker(LocalExecutor):
    """Stops its first worker before a job is handed to it, so that the kill comes before the job can end."""

    killed = False

    def _hand_out(self, worker: Any, job: Job, attempt: int) -> None:
        first, self.killed = not self.killed, True
        if first:
            os.kill(worker.process.pid, signal.SIGSTOP)
        super()._hand_out(worker, job, attempt)
        if first:
            worker.process.kill()


def test_a_killed_workers_job_is_made_again_once(study_folder: StudyFolder) -> None:
    jobs: list[Job] = [(spec,) for spec in first_specs(open_plan(study_folder))[:2]]
    finished: list[RunRecord] = []
    restarts = 0
    for event in KillsItsFirstWorker(Work.of(study_folder), 1).run(jobs):
        if isinstance(event, Restarted):
            restarts += 1
            assert event.exit_code == -signal.SIGKILL
        elif isinstance(event, Finished):
            finished += event.records
    assert restarts == 1
    assert sorted(record.attempts for record in finished) == [1, 2]
    assert {record.status for record in finished} == {"done"}


def test_a_torn_record_is_set_aside_and_made_again(swept_folder: StudyFolder) -> None:
    study_folder = swept_folder
    victim = next(study_folder.ledger.glob("*.json"))
    before = table(study_folder)
    victim.write_bytes(victim.read_bytes()[:100])

    warnings: list[str] = []

    class Listener(Watcher):
        def warn(self, message: str) -> None:
            warnings.append(message)

    executor = LocalExecutor(Work.of(study_folder), 1)
    run_sweep(study_folder, executor, NoTracker(), Listener())
    assert any(victim.name in warning for warning in warnings)
    pd.testing.assert_frame_equal(table(study_folder), before)


def test_a_domain_for_evaluation_alone_is_in_the_objective_and_in_no_mixture(study_folder: StudyFolder) -> None:
    # What is asked for is like one of three domains, and more than half of the objective.
    lines = (study_folder.root / "words.jsonl").read_text().replace('"words-', '"goal-').replace("alpha", "omega")
    (study_folder.root / "goal.jsonl").write_text(lines)
    text = study_folder.config_file.read_text().replace("max_epochs: 100", "max_epochs: 100, max: {goal: 0}")
    text = text.replace("  noise: noise.jsonl\n", "  noise: noise.jsonl\n  goal: goal.jsonl\n")
    text = text.replace("{count: 0.6, words: 0.4}", "{goal: 0.6, count: 0.4}")
    study_folder.config_file.write_text(text + "target: {flops: 4e9, law: effective-data}\n")
    folder = StudyFolder.open(study_folder.root)
    prepare_corpus(folder)
    records = sweep(folder)
    assert all("goal" not in record.spec.mixture for record in records)
    frame = table(folder)
    assert [name for name in frame if name.startswith("mix.")] == ["mix.count", "mix.words", "mix.noise"]
    assert np.allclose(frame["loss"], 0.6 * frame["loss.goal"] + 0.4 * frame["loss.count"])
    answer = recommend(fit(folder.root, bootstrap=0), 4e9)
    assert set(answer.mixture) == {"count", "words", "noise"}
    assert answer.mixture["words"] > answer.mixture["noise"]
    write_json(folder.recommendation, {"mixture": answer.mixture})
    exported = CliRunner().invoke(export, [str(folder.root), "--to", "megatron"], catch_exceptions=False)
    assert exported.exit_code == 0
    assert "goal" not in exported.stdout


def test_a_domain_added_after_the_sweep_is_not_left_out_in_silence(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text()
    added = "  noise: noise.jsonl\n  late: {paths: words.jsonl, supply: 1e6}\n"
    swept_folder.config_file.write_text(text.replace("  noise: noise.jsonl\n", added))
    with pytest.raises(ConfigError, match="the table has no domain `late`"):
        fit(swept_folder.root)


@pytest.mark.parametrize("sampler", ["tpe", "law"])
def test_later_rounds_propose_new_mixtures_and_resume_with_the_same(swept_folder: StudyFolder, sampler: str) -> None:
    text = swept_folder.config_file.read_text()
    text = text.replace("  rounds: 1\n", f"  rounds: 2\n  proposals: 2\n  sampler: {sampler}\n")
    text += "target: {flops: 4e9, law: effective-data}\n"
    swept_folder.config_file.write_text(text)
    folder = StudyFolder.open(swept_folder.root)
    records = sweep(folder)
    mixtures = {record.spec.mixture for record in records}
    assert len(mixtures) == 9
    again = sweep(StudyFolder.open(folder.root))
    assert [record.run_id for record in again] == [record.run_id for record in records]


def test_a_round_that_takes_off_doubt_follows_from_the_records_alone(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text()
    text = text.replace("  rounds: 1\n", "  rounds: 3\n  proposals: 2\n  sampler: regret\n")
    swept_folder.config_file.write_text(text + "target: {flops: 4e9}\n")
    folder = StudyFolder.open(swept_folder.root)
    records = sweep(folder)
    decided = [read_round(folder.round_file(number)) for number in (1, 2)]
    for one in decided:
        assert isinstance(one, Round)
        assert one.asks
        assert one.regret is not None
        assert one.regret > 0
    assert len(records) > 13
    for number in (1, 2):
        folder.round_file(number).unlink()
    again = sweep(StudyFolder.open(folder.root))
    assert [record.run_id for record in again] == [record.run_id for record in records]
    assert [read_round(folder.round_file(number)) for number in (1, 2)] == decided


def overlapping(folder: StudyFolder) -> StudyFolder:
    text = folder.config_file.read_text()
    folder.config_file.write_text(text.replace("  rounds: 1\n", "  rounds: 4\n  proposals: 2\n  overlap: true\n"))
    return StudyFolder.open(folder.root)


def test_rounds_that_overlap_are_the_same_on_any_number_of_workers(swept_folder: StudyFolder) -> None:
    """And where the sweep was interrupted: each follows from the rounds before the last alone."""
    folder = overlapping(swept_folder)
    whole = sweep(folder)
    assert len(decided_rounds(folder)) == 3
    frame = table(folder)
    for record in whole:
        if record.spec.mixture not in first_round(open_plan(folder)):
            (folder.ledger / f"{record.run_id}.json").unlink()
    for number in (1, 2, 3):
        folder.round_file(number).unlink()
    run_sweep(folder, LocalExecutor(Work.of(folder), 1), NoTracker(), Watcher())
    pd.testing.assert_frame_equal(table(folder), frame)


def test_a_round_that_overlaps_begins_before_the_last_is_over(swept_folder: StudyFolder) -> None:
    folder = overlapping(swept_folder)
    begun: list[int] = []
    finished = 0

    class Counts(Watcher):
        def plan(self, jobs: Sequence[Job], flops: float, done: int) -> None:
            begun.append(finished)

        def finished(self, record: RunRecord) -> None:
            nonlocal finished
            finished += 1

    sweep(folder, watcher=Counts())
    made = [sum(1 for _ in one.asks) for _, one in decided_rounds(folder)]
    # Begun: the first round, the second when that is over, the third at once (the first is all it needs), the fourth
    # when the second is over and the third is not.
    assert begun[1] == 0
    assert begun[2] < made[0]
    assert made[0] <= begun[3] < made[0] + made[1]


def test_rounds_of_optunas_samplers_do_not_overlap(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text()
    swept_folder.config_file.write_text(text.replace("  rounds: 1\n", "  rounds: 2\n  sampler: tpe\n  overlap: true\n"))
    with pytest.raises(ConfigError, match=r"rounds overlap where sweep\.sampler is regret, but it is tpe"):
        _ = StudyFolder.open(swept_folder.root).config


def test_a_run_that_goes_on_counts_once(swept_folder: StudyFolder) -> None:
    """A short run that a later round takes further trains its trunk once, and its points stand once in the table."""
    text = swept_folder.config_file.read_text()
    swept_folder.config_file.write_text(text.replace("  rounds: 1\n", "  rounds: 3\n"))
    folder = StudyFolder.open(swept_folder.root)
    plan, before = open_plan(folder), table(folder)
    h = Mixture({"count": 0.2, "words": 0.5, "noise": 0.3})
    short, whole = Ask(h, 1, 1), Ask(h, 1, len(plan.tokens[1]))
    Round((short,)).write(folder.round_file(1))
    Round((whole,)).write(folder.round_file(2))
    processed: list[int] = []
    watcher = Watcher()
    watcher.progress = lambda job, tokens: processed.append(tokens * len(job))  # type: ignore[method-assign]
    sweep(folder, watcher=watcher)
    asked = spec_of(plan, whole)
    assert sum(processed) == asked.trained_tokens
    added = table(folder).iloc[len(before) :]
    assert list(added["tokens"]) == [asked.tokens_after(asked.steps(d)) for d in asked.tokens]
    assert set(added["run_id"]) == {asked.run_id}
    part = spec_of(plan, short)
    assert flops_beyond(asked, [part]) == pytest.approx(asked.flops - part.flops)
    assert without_parts([part, asked]) == [asked]


def test_a_sweep_ends_when_its_flops_are_spent(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text()
    text = text.replace("  rounds: 1\n", "  rounds: 3\n  sampler: regret\n  flops: 1e8\n")
    swept_folder.config_file.write_text(text)
    folder = StudyFolder.open(swept_folder.root)
    before = len(read_ledger(folder.ledger).records)
    assert len(sweep(folder)) == before
    kept = read_round(folder.round_file(1))
    assert isinstance(kept, Round)
    assert kept.stop is not None
    assert "sweep.flops" in kept.stop
    folder.config_file.write_text(text.replace("rounds: 3", "rounds: 2").replace("flops: 1e8", "flops: 1e13"))
    assert len(sweep(StudyFolder.open(folder.root))) > before


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_optunas_samplers_keep_to_the_flops_too(swept_folder: StudyFolder, sampler: str) -> None:
    spent = sum(record.spec.flops for record in read_ledger(swept_folder.ledger).records.values())
    text = swept_folder.config_file.read_text()
    flops = f"  flops: {spent + 4e9:.6g}\n"
    text = text.replace("  rounds: 1\n", f"  rounds: 4\n  proposals: 2\n  sampler: {sampler}\n{flops}")
    swept_folder.config_file.write_text(text)
    total = sum(record.spec.flops for record in sweep(StudyFolder.open(swept_folder.root)))
    assert spent < total <= (spent + 4e9) * 1.01


def test_the_table_of_a_round_is_written_whatever_becomes_of_the_next(swept_folder: StudyFolder) -> None:
    before = table(swept_folder)
    swept_folder.runs.unlink()
    text = swept_folder.config_file.read_text()
    swept_folder.config_file.write_text(text.replace("  rounds: 1\n", "  rounds: 2\n"))
    folder = StudyFolder.open(swept_folder.root)
    write_json(folder.round_file(1), [{"count": 0.5, "words": "much"}])
    with pytest.raises(ConfigError, match=r"1\.json is damaged") as caught:
        sweep(folder)
    assert "delete it: the round is then proposed anew" in (caught.value.hint or "")
    pd.testing.assert_frame_equal(table(folder), before)
