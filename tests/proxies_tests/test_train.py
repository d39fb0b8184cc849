"""Training, with every engine: branches equal lone runs, stacks equal lone runs, resume equals uninterrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixlab.errors import ConfigError
from mixlab.mixture import Mixture
from mixlab.objective import Objective
from mixlab.runs.flops import training_flops
from mixlab.runs.records import records_to_table
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import Backend, choose_backend, make_engine
from proxies.model.engine import State
from proxies.training import train
from proxies.training.checkpoint import load_model, load_trunk, trunk_path
from proxies.training.evaluate import Evaluator
from proxies.training.sampler import validation_windows
from proxies.training.train import CorpusTokens, StoppedError, train_run, train_stack

NATIVE = choose_backend(ProxyConfig(device="cpu"))
needs_native = pytest.mark.skipif(NATIVE.engine != "native", reason=NATIVE.note)
BACKENDS = [
    pytest.param(Backend("cpu", "torch", "fp32"), id="torch"),
    pytest.param(Backend("cpu", "native", "fp32"), id="native", marks=needs_native),
    pytest.param(Backend("cpu", "native", "bf16"), id="native-bf16", marks=needs_native),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


def losses(record: RunRecord) -> list[dict[str, float]]:
    return [point.losses for point in record.points]


def test_a_run_learns_and_reports_exact_counts(texts: CorpusTokens, spec: RunSpec, backend: Backend) -> None:
    record = train_run(spec, texts, backend)
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
    assert record.mfu == spec.flops / record.wall_seconds / record.peak_flops > 0
    assert (record.environment["engine"], record.environment["precision"]) == (backend.engine, backend.precision)


def test_a_branch_equals_a_run_planned_for_it_alone_bitwise(
    texts: CorpusTokens, spec: RunSpec, backend: Backend
) -> None:
    together = train_run(spec, texts, backend)
    for index, tokens in enumerate(spec.tokens):
        alone = train_run(replace(spec, tokens=(tokens,)), texts, backend)
        assert alone.points[0].losses == together.points[index].losses


def test_stacked_equals_lone(texts: CorpusTokens, spec: RunSpec, backend: Backend) -> None:
    members = [
        spec,
        replace(spec, seed=2),
        replace(spec, mixture=Mixture({"count": 0.1, "repeat": 0.9})),
        replace(spec, recipe=replace(spec.recipe, learning_rate=0.01)),
    ]
    stacked = train_stack(members, texts, backend)
    for member, record in zip(members, stacked, strict=True):
        lone = train_run(member, texts, backend)
        for a, b in zip(losses(record), losses(lone), strict=True):
            assert a == pytest.approx(b, rel=1e-4 if backend.engine == "torch" else 0)


def test_resume_equals_uninterrupted_bitwise(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, tmp_path: Path
) -> None:
    whole = train_run(spec, texts, backend, checkpoints=tmp_path / "whole")

    class KilledError(Exception):
        pass

    seen = 0

    def stop(tokens: int) -> None:
        nonlocal seen
        seen += tokens
        if seen > 2000:
            raise KilledError

    with pytest.raises(KilledError):
        train_run(spec, texts, backend, checkpoints=tmp_path / "cut", progress=stop)
    assert trunk_path(tmp_path / "cut", spec).exists()
    processed: list[int] = []
    resumed = train_run(spec, texts, backend, checkpoints=tmp_path / "cut", progress=processed.append)
    assert losses(resumed) == losses(whole)
    assert sum(processed) < spec.trained_tokens  # it did not start anew


class Asked:
    """A `should_stop` that counts how often it is asked, and says yes the `stop_at`-th time (0: never)."""

    def __init__(self, stop_at: int = 0) -> None:
        self.times, self._stop_at = 0, stop_at

    def __call__(self) -> bool:
        self.times += 1
        return self.times == self._stop_at


@pytest.fixture
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Few steps in a chunk; returns how many."""
    monkeypatch.setattr(train, "CHUNK_STEPS", 3)
    return 3


def test_wherever_a_run_is_stopped_it_goes_on_as_if_it_had_not_been(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, many_chunks: int, tmp_path: Path
) -> None:
    never = Asked()
    whole = train_run(spec, texts, backend, tmp_path / "whole", should_stop=never)
    assert never.times > 12  # in the trunk and in each of three branches
    decays = [spec.steps(tokens) - spec.trunk_steps(tokens) for tokens in spec.tokens]
    for stop_at in range(1, never.times + 1):
        folder, processed = tmp_path / str(stop_at), []
        with pytest.raises(StoppedError):
            train_run(spec, texts, backend, folder, processed.append, Asked(stop_at))
        if not processed:
            assert not folder.exists()
        resumed = train_run(spec, texts, backend, folder, processed.append)
        assert losses(resumed) == losses(whole)
        again = sum(processed) - spec.trained_tokens  # of the decay that was left in the middle
        assert 0 <= again <= (max(decays) - 1) // many_chunks * many_chunks * spec.batch_tokens(0)


@pytest.mark.usefixtures("many_chunks")
def test_stacks_are_stopped_too_and_members_end_alike(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, tmp_path: Path
) -> None:
    members = [spec, replace(spec, seed=2, mixture=Mixture({"count": 0.1, "repeat": 0.9}))]
    whole, done = train_stack(members, texts, backend), None
    for _ in range(100):
        try:
            done = train_stack(members, texts, backend, tmp_path, should_stop=Asked(6))
            break
        except StoppedError:
            continue
    assert done is not None
    assert [losses(record) for record in done] == [losses(record) for record in whole]


@pytest.mark.usefixtures("many_chunks")
def test_a_run_that_is_stopped_again_and_again_diverges_where_it_would_have(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, tmp_path: Path
) -> None:
    # Finite, but far above its lowest loss, which a run that goes on has to know.
    wild = replace(spec, tokens=(25600,), recipe=replace(spec.recipe, learning_rate=30.0, warmup_steps=200))
    whole: list[int] = []
    assert train_run(wild, texts, backend, progress=whole.append).status == "diverged"
    processed: list[int] = []
    for _ in whole[1:]:
        with pytest.raises(StoppedError):
            train_run(wild, texts, backend, tmp_path, processed.append, Asked(2))
    assert train_run(wild, texts, backend, tmp_path, processed.append, Asked(2)).status == "diverged"
    assert processed == whole


def test_a_run_without_checkpoints_stops_as_well(texts: CorpusTokens, spec: RunSpec) -> None:
    with pytest.raises(StoppedError, match="after 0 steps"):
        train_run(spec, texts, should_stop=Asked(1))


def test_a_longer_run_goes_on_from_the_trunk_of_a_shorter_one_bitwise(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, tmp_path: Path
) -> None:
    short = replace(spec, tokens=spec.tokens[:2])
    train_run(short, texts, backend, checkpoints=tmp_path)
    processed: list[int] = []
    extended = train_run(spec, texts, backend, checkpoints=tmp_path, progress=processed.append)
    assert losses(extended) == losses(train_run(spec, texts, backend))
    assert sum(processed) == spec.tokens_after(spec.steps(2560)) - spec.tokens_after(spec.trunk_steps(1280))


def test_a_trunk_serves_no_run_that_branches_before_it(texts: CorpusTokens, spec: RunSpec, tmp_path: Path) -> None:
    train_run(spec, texts, checkpoints=tmp_path)
    assert load_trunk(tmp_path, replace(spec, tokens=(640, 900, 2560))) is None
    assert load_trunk(tmp_path, replace(spec, recipe=replace(spec.recipe, warmup_steps=4))) is None
    kept = load_trunk(tmp_path, spec)
    assert kept is not None
    assert list(kept.points) == [640, 1280]  # the last branch is made again, to end with its model


def test_the_cost_stated_by_a_spec_is_what_is_trained(texts: CorpusTokens, spec: RunSpec, backend: Backend) -> None:
    processed: list[int] = []
    train_run(spec, texts, backend, progress=processed.append)
    assert sum(processed) == spec.trained_tokens


def test_a_finished_model_can_be_loaded(texts: CorpusTokens, spec: RunSpec, tmp_path: Path) -> None:
    record = train_run(spec, texts, checkpoints=tmp_path)
    parameters, loaded = load_model(tmp_path / f"{spec.run_id}.model.safetensors")
    assert loaded == spec
    windows = validation_windows(texts.validation, spec.shape.context, spec.eval_tokens)
    engine = make_engine(Backend(), [spec])
    engine.restore(State(*(parameters[None],) * 3))
    assert Evaluator(windows, texts.token_bytes)(engine)[0].losses == record.points[-1].losses


def test_a_pool_is_repeated_and_the_table_says_so(texts: CorpusTokens, spec: RunSpec, backend: Backend) -> None:
    plain = train_run(spec, texts, backend)
    pooled = train_run(replace(spec, pools=(("count", 160),)), texts, backend)
    assert pooled.points[-1].realised == plain.points[-1].realised
    assert pooled.points[-1].losses != plain.points[-1].losses
    table = records_to_table([plain, pooled], Objective.over({"count": 1.0}), {"count": 5000, "repeat": 5000})
    assert table.column("unique.count").tolist() == [5000] * 3 + [160] * 3


@pytest.mark.parametrize("rate", [1e20, 30.0])  # not finite, and finite but far above where it was
def test_divergence_stops_the_run_and_is_recorded(
    texts: CorpusTokens, spec: RunSpec, backend: Backend, rate: float
) -> None:
    wild = replace(spec, tokens=(25600,), recipe=replace(spec.recipe, learning_rate=rate, warmup_steps=200))
    processed: list[int] = []
    record = train_run(wild, texts, backend, progress=processed.append)
    assert record.status == "diverged"
    assert not record.points
    assert sum(processed) < wild.trained_tokens


def test_a_diverged_member_leaves_the_others_alone(texts: CorpusTokens, spec: RunSpec, backend: Backend) -> None:
    wild = replace(spec, recipe=replace(spec.recipe, learning_rate=1e20))
    record, other = train_stack([wild, spec], texts, backend)
    assert record.status == "diverged"
    assert losses(other)[-1] == pytest.approx(losses(train_run(spec, texts, backend))[-1], rel=1e-4)


def test_runs_that_differ_in_shape_cannot_be_stacked(texts: CorpusTokens, spec: RunSpec) -> None:
    with pytest.raises(ConfigError, match=r"equal in shape, tokens and recipe .* but got 2 runs of 2 kinds"):
        train_stack([spec, replace(spec, shape=replace(spec.shape, width=24))], texts)
    with pytest.raises(ConfigError, match="but got 0 runs"):
        train_stack([], texts)
