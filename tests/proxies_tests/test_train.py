"""Training: branches equal lone runs, stacks equal lone runs, resume equals uninterrupted, losses fall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mixlab.errors import SweepError
from mixlab.flops import training_flops
from mixlab.mixture import Mixture
from mixlab.specs import RunRecord, RunSpec
from proxies import train
from proxies.checkpoint import load_model
from proxies.train import Texts, train_run, train_stack


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def losses(record: RunRecord) -> list[dict[str, float]]:
    return [point.losses for point in record.points]


def test_a_run_learns_and_reports_exact_counts(texts: Texts, spec: RunSpec) -> None:
    record = train_run(spec, texts)
    assert record.status == "done"
    assert [point.tokens for point in record.points] == [640, 1280, 2560]
    means = [np.mean(list(point.losses.values())) for point in record.points]
    assert means[0] > means[1] > means[2]
    assert means[2] < np.log(64) - 0.5
    last = record.points[-1]
    assert sum(last.realised.values()) == 2560
    assert last.realised["count"] == pytest.approx(0.7 * 2560, abs=16)
    assert last.flops == training_flops(spec.shape, 2560)
    assert last.bits_per_byte["count"] == pytest.approx(last.losses["count"] / np.log(2))


def test_a_branch_equals_a_run_planned_for_it_alone_bitwise(texts: Texts, spec: RunSpec) -> None:
    together = train_run(spec, texts)
    for index, tokens in enumerate(spec.tokens):
        alone = train_run(replace(spec, tokens=(tokens,)), texts)
        assert alone.points[0].losses == together.points[index].losses


def test_stacked_equals_lone(texts: Texts, spec: RunSpec) -> None:
    members = [
        spec,
        replace(spec, seed=2),
        replace(spec, mixture=Mixture({"count": 0.1, "repeat": 0.9})),
        replace(spec, recipe=replace(spec.recipe, learning_rate=0.01)),
    ]
    stacked = train_stack(members, texts)
    for member, record in zip(members, stacked, strict=True):
        lone = train_run(member, texts)
        for a, b in zip(losses(record), losses(lone), strict=True):
            assert a == pytest.approx(b, rel=1e-4)


def test_resume_equals_uninterrupted_bitwise(
    texts: Texts, spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_run(spec, texts, checkpoints=tmp_path / "whole")

    class KilledError(Exception):
        pass

    seen = 0

    def stop(tokens: int) -> None:
        nonlocal seen
        seen += tokens
        if seen > 2000:
            raise KilledError

    with pytest.raises(KilledError):
        train_run(spec, texts, checkpoints=tmp_path / "cut", progress=stop)
    assert (tmp_path / "cut" / f"{spec.run_id}.trunk.safetensors").exists()
    processed: list[int] = []
    resumed = train_run(spec, texts, checkpoints=tmp_path / "cut", progress=processed.append)
    assert losses(resumed) == losses(whole)
    assert sum(processed) < spec.trained_tokens  # it did not start anew
    assert not (tmp_path / "cut" / f"{spec.run_id}.trunk.safetensors").exists()


def test_the_cost_stated_by_a_spec_is_what_is_trained(texts: Texts, spec: RunSpec) -> None:
    processed: list[int] = []
    train_run(spec, texts, progress=processed.append)
    assert sum(processed) == spec.trained_tokens


def test_a_finished_model_can_be_loaded(texts: Texts, spec: RunSpec, tmp_path: Path) -> None:
    record = train_run(spec, texts, checkpoints=tmp_path)
    stack, loaded = load_model(tmp_path / f"{spec.run_id}.model.safetensors")
    assert loaded == spec
    windows = train.validation_windows(texts.validation, spec.shape.context, spec.eval_tokens)
    again = train.Evaluator(windows, texts.token_bytes, torch.device("cpu"))(stack)[0]
    assert again.losses == record.points[-1].losses


def test_a_second_mixture_in_the_decay_is_used(texts: Texts, spec: RunSpec) -> None:
    plain = train_run(spec, texts)
    annealed = train_run(replace(spec, anneal=Mixture({"count": 0.0, "repeat": 1.0})), texts)
    assert annealed.points[-1].realised["repeat"] > plain.points[-1].realised["repeat"] + 200
    assert annealed.points[-1].losses["repeat"] < plain.points[-1].losses["repeat"]


def test_divergence_is_recorded_not_raised(texts: Texts, spec: RunSpec) -> None:
    wild = replace(spec, recipe=replace(spec.recipe, learning_rate=1e20))
    record, other = train_stack([wild, spec], texts)
    assert record.status == "diverged"
    assert not record.points
    assert other.status == "done"


def test_runs_that_differ_in_shape_cannot_be_stacked(texts: Texts, spec: RunSpec) -> None:
    with pytest.raises(SweepError, match="equal in shape, tokens and recipe"):
        train_stack([spec, replace(spec, shape=replace(spec.shape, width=24))], texts)
