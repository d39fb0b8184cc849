"""Files of every format that was ever written still open, or are refused with what to do: see tests/data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mixlab.cli import app
from mixlab.corpus.inventory import Inventory
from mixlab.files import read_json
from mixlab.mixture import Mixture
from mixlab.runs.read import read_runs
from mixlab.search.recommendation import Recommendation
from mixlab.study.folder import StudyFolder
from proxies.backend.choice import Backend, make_engine
from proxies.model.engine import State
from proxies.training.checkpoint import load_model, load_trunk, tokens_left
from proxies.training.evaluate import Evaluator
from proxies.training.sampler import validation_windows
from proxies.training.texts import open_texts
from proxies.training.train import train_run
from sweeps.driver import Watcher, run_sweep
from sweeps.executors.base import Event
from sweeps.executors.serial import SerialExecutor
from sweeps.executors.work import Job, Work
from sweeps.ledger import read_ledger
from sweeps.plan import open_plan
from sweeps.proof import plan_proof
from sweeps.tracking import NoTracker

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("v1", "v2")
WITHOUT_DIGESTS = ("v1",)  # records and recommendations that do not say what they are of


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def study(version: str, tmp_path: Path) -> StudyFolder:
    """The study as it was in a version: its files over those of the versions before."""
    for name in VERSIONS[: VERSIONS.index(version) + 1]:
        shutil.copytree(DATA / name, tmp_path / "study", dirs_exist_ok=True)
    return StudyFolder.open(tmp_path / "study")


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_study_file_and_the_corpus(study: StudyFolder) -> None:
    assert study.config.trained == ("rising", "falling")
    Inventory.load(study.corpus).verify(study.corpus)
    assert [shape.params for shape in open_plan(study).shapes] == [1776, 6112, 14160]


def test_records_are_the_same_runs_as_today(study: StudyFolder, version: str) -> None:
    reading = read_ledger(study.ledger)
    assert len(reading.records) == 15
    assert len(reading.unsealed) == (15 if version in WITHOUT_DIGESTS else 0)
    assert len(reading.warnings) == (1 if version in WITHOUT_DIGESTS else 0)
    state = json.loads(invoke("status", str(study.root), "--json"))
    assert (state["runs"], state["done"], state["left"]) == (13, 13, 0)
    assert state["warnings"] == reading.warnings


class NothingToDo(SerialExecutor):
    def run(self, jobs: Iterable[Job | None]) -> Generator[Event, None, None]:
        assert not list(jobs), "a finished run was repeated"
        yield from ()


def test_a_finished_sweep_with_a_later_round_is_finished_today(study: StudyFolder, version: str) -> None:
    before = pd.read_parquet(DATA / "v1" / "runs.parquet")
    told: list[str] = []

    class Listener(Watcher):
        def warn(self, message: str) -> None:
            told.append(message)

    for _ in range(2):  # the second time every record has a digest
        result = run_sweep(study, NothingToDo(Work.of(study)), NoTracker(), Listener())
        assert result.count("done") == 15
        after = pd.read_parquet(study.runs)
        pd.testing.assert_frame_equal(after[before.columns], before)
    assert len(told) == (1 if version in WITHOUT_DIGESTS else 0)
    assert not read_ledger(study.ledger).unsealed


def test_the_run_table(study: StudyFolder) -> None:
    table = read_runs(study.root)
    assert table.domains == ("rising", "falling")
    assert len(table.frame) == 30
    fit = json.loads(invoke("fit", str(study.root), "--law", "additive-data", "--bootstrap", "0", "--json"))
    assert fit["rows"] == 30


def test_the_recommendation(study: StudyFolder) -> None:
    answer = Recommendation.from_dict(read_json(study.recommendation))
    assert answer.mixture == pytest.approx({"rising": 0.7141, "falling": 0.2859}, abs=1e-4)
    text = json.loads(invoke("export", str(study.root), "--to", "megatron", "--json"))
    assert text["weights"] == pytest.approx(answer.mixture)


def test_the_recommendation_is_what_is_proved(study: StudyFolder, version: str) -> None:
    answer = Recommendation.from_dict(read_json(study.recommendation))
    proof = plan_proof(study, flops=answer.flops)
    assert proof.mixtures["recommended"] == Mixture(answer.mixture)
    assert (proof.answer.params, proof.answer.tokens) == (answer.params, answer.tokens)
    assert [note for note in proof.notes if "does not say which runs" in note] == (
        list(proof.notes) if version in WITHOUT_DIGESTS else []
    )
    assert len(proof.notes) == (1 if version in WITHOUT_DIGESTS else 0)


def test_the_verification(study: StudyFolder) -> None:
    page = study.root / "page.html"
    invoke("report", str(study.root), "-o", str(page))
    measured = read_json(study.verification)["candidates"]["recommended"]["mean"]
    assert f"{measured:.4f}" in page.read_text()


def kept_run(folder: StudyFolder) -> Any:
    (model,) = folder.checkpoints.glob("*.model.safetensors")
    return read_ledger(folder.ledger).records[model.name.split(".")[0]]


def test_a_finished_model_scores_what_its_record_says(study: StudyFolder) -> None:
    record, texts = kept_run(study), open_texts(study.corpus)
    parameters, spec = load_model(study.checkpoints / f"{record.run_id}.model.safetensors")
    assert spec == record.spec
    engine = make_engine(Backend(), [spec])
    stack = parameters[None]
    engine.restore(State(stack, np.zeros_like(stack), np.zeros_like(stack)))
    windows = validation_windows(texts.validation, spec.shape.context, spec.eval_tokens)
    (evaluation,) = Evaluator(windows, texts.token_bytes)(engine)
    assert evaluation.losses == pytest.approx(record.points[-1].losses, abs=1e-4)


def test_a_kept_trunk_is_gone_on_from(study: StudyFolder) -> None:
    record = kept_run(study)
    longer = type(record.spec)(**{**vars(record.spec), "tokens": (*record.spec.tokens, 2 * record.spec.tokens[-1])})
    trunk = load_trunk(study.checkpoints, longer)
    assert trunk is not None
    assert list(trunk.points.values()) == list(record.points)
    left = tokens_left(study.checkpoints, longer)
    assert left < longer.trained_tokens
    trained: list[int] = []
    extended = train_run(longer, open_texts(study.corpus), Work.of(study).backend, study.checkpoints, trained.append)
    assert sum(trained) == left
    assert extended.points[:-1] == record.points
