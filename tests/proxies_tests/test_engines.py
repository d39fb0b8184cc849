"""The engines agree step by step, out of memory is met by smaller passes, and a missing compiler is no obstacle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mixlab.errors import ConfigError, SweepError
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import Backend, choose_backend, make_engine
from proxies.model.engine import Engine
from proxies.model.parameters import unpacked
from proxies.native.library import load_library
from proxies.pytorch.engine import TorchEngine
from proxies.pytorch.stack import ModelStack

NATIVE = choose_backend(ProxyConfig(device="cpu"))
needs_native = pytest.mark.skipif(NATIVE.engine != "native", reason=NATIVE.note)
PLAIN = Backend("cpu", "torch", "fp32")
STEPS = 30


def spec_of(shape: ModelShape) -> RunSpec:
    recipe = Recipe(learning_rate=0.002, batches=Batches.constant(2), warmup_steps=1)
    return RunSpec(Mixture({"a": 1.0}), shape, (1000,), 1, recipe, "test", 100)


def text(shape: ModelShape, sequences: int, seed: int = 0) -> NDArray[np.int32]:
    """Every token follows from the one before, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    following = rng.permutation(shape.vocab_size)
    rows = [rng.integers(shape.vocab_size, size=sequences)]
    for _ in range(shape.context):
        rows.append(following[rows[-1]])
    return np.stack(rows, axis=1).astype(np.int32)


def run(engine: Engine, sequences: NDArray[np.int32], steps: Sequence[int] = (STEPS,)) -> NDArray[np.float32]:
    """Losses (S,) of steps of two sequences each, handed over in `steps` at a time."""
    parts, done = [], 0
    for count in steps:
        part = sequences[None, 2 * done : 2 * (done + count)]
        parts.append(engine.train(part, [2] * count, [1.0] * count, done)[0])
        done += count
    return np.concatenate(parts)


# Widths, heads, contexts and vocabularies that do not fit the vectors and tiles; one head to several.
SHAPES = [
    ModelShape(2, 40, 257, 50),
    ModelShape(2, 40, 257, 50, tied=True),
    ModelShape(3, 64, 61, 131),
    ModelShape(1, 8, 5, 9),
    ModelShape(2, 104, 300, 33),
    ModelShape(3, 60, 257, 50, mlp_width=151),
    ModelShape(2, 22, 31, 35, tied=True, mlp_width=37),
]


@needs_native
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_native_step_is_torchs_step(shape: ModelShape) -> None:
    spec, sequences = spec_of(shape), text(shape, 2 * STEPS)
    plain, native = make_engine(PLAIN, [spec]), make_engine(Backend("cpu", "native", "fp32"), [spec])
    assert np.array_equal(plain.state().parameters, native.state().parameters)
    expected, found = run(plain, sequences), run(native, sequences)
    assert expected[-1] < expected[0] - 0.1
    assert found == pytest.approx(expected, rel=1e-4)
    # Adam divides by the root of a gradient's square: where that is rounding alone, so is the step. Hence by norm.
    ours, theirs = native.state().parameters, plain.state().parameters
    assert np.linalg.norm(ours - theirs) < 2e-3 * np.linalg.norm(ours)
    assert native.score(sequences[:5]) == pytest.approx(plain.score(sequences[:5]), rel=2e-4)


@needs_native
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_native_gradient_is_torchs_gradient(shape: ModelShape) -> None:
    spec, sequences = spec_of(shape), text(shape, 2)
    plain, native = make_engine(PLAIN, [spec]), make_engine(Backend("cpu", "native", "fp32"), [spec])
    # After one step at rate zero the first moment is a tenth of the clipped gradient.
    for engine in (plain, native):
        engine.train(sequences[None], [2], [0.0], 0)
    ours, theirs = native.state().first, plain.state().first
    scale = np.abs(theirs).max()
    assert scale > 0
    assert np.allclose(ours, theirs, rtol=1e-3, atol=2e-6 * scale)


@needs_native
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gradient_in_bf16_is_near_that_in_fp32(shape: ModelShape) -> None:
    # On a processor without products of bf16 it is worked out slowly, but through the same layouts.
    spec, sequences = spec_of(shape), text(shape, 2)
    moments = []
    for precision in ("fp32", "bf16"):
        engine = make_engine(Backend("cpu", "native", precision), [spec])  # type: ignore[arg-type]
        engine.train(sequences[None], [2], [0.0], 0)
        moments.append(unpacked(engine.state().first[0], shape))
    for name, exact in moments[0].items():
        assert np.linalg.norm(moments[1][name] - exact) < 0.03 * np.linalg.norm(exact), name


@needs_native
def test_bf16_trains_to_the_same_loss() -> None:
    shape = ModelShape(2, 64, 64, 64)
    spec, sequences = spec_of(shape), text(shape, 400)
    exact, rounded = (
        run(make_engine(Backend("cpu", "native", precision), [spec]), sequences, (200,))
        for precision in ("fp32", "bf16")
    )
    assert exact[-50:].mean() < exact[0] / 2
    assert rounded == pytest.approx(exact, abs=0.05)
    assert rounded[-50:].mean() == pytest.approx(exact[-50:].mean(), rel=0.02)
    assert not np.array_equal(rounded, exact)


@needs_native
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_how_steps_are_handed_over_changes_nothing(precision: str) -> None:
    shape = SHAPES[0]
    spec, sequences = spec_of(shape), text(shape, 2 * STEPS)
    once = run(make_engine(Backend("cpu", "native", precision), [spec]), sequences)  # type: ignore[arg-type]
    parts = run(make_engine(Backend("cpu", "native", precision), [spec]), sequences, (1, 7, 22))  # type: ignore[arg-type]
    assert np.array_equal(once, parts)


@pytest.mark.parametrize("backends", [PLAIN, NATIVE], ids=str)
def test_members_equal_lone_runs_over_200_steps(backends: Backend) -> None:
    shape = ModelShape(2, 24, 40, 16)
    specs = [replace(spec_of(shape), seed=seed) for seed in range(3)]
    texts = np.stack([text(shape, 400, seed) for seed in range(3)])
    together = make_engine(backends, specs).train(texts, [2] * 200, [1.0] * 200, 0)
    for member, spec in enumerate(specs):
        alone = make_engine(backends, [spec]).train(texts[member : member + 1], [2] * 200, [1.0] * 200, 0)
        assert together[member] == pytest.approx(alone[0], rel=1e-5 if backends is PLAIN else 0)


def test_out_of_memory_is_met_by_smaller_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = ModelShape(2, 16, 30, 12)
    specs = [replace(spec_of(shape), seed=seed) for seed in range(2)]
    texts = np.stack([text(shape, 12, seed) for seed in range(2)])
    whole = make_engine(PLAIN, specs).train(texts, [4] * 3, [1.0] * 3, 0)
    losses, largest = ModelStack.losses, 1

    def short_of_memory(self: ModelStack, sequences: torch.Tensor, flat: torch.Tensor | None = None) -> torch.Tensor:
        if sequences.shape[0] * sequences.shape[1] > largest:
            raise torch.OutOfMemoryError
        return losses(self, sequences, flat)

    monkeypatch.setattr(ModelStack, "losses", short_of_memory)
    engine = make_engine(PLAIN, specs)
    assert engine.train(texts, [4] * 3, [1.0] * 3, 0) == pytest.approx(whole, rel=1e-5)
    assert engine.describe()["out_of_memory"] == "passes cut to 1 sequences of 1 models"
    largest = 0
    with pytest.raises(SweepError, match="one sequence of 12 tokens through one model"):
        engine.train(texts, [4] * 3, [1.0] * 3, 3)


def test_without_a_compiler_torch_trains_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    load_library.cache_clear()
    try:
        backend = choose_backend(ProxyConfig(device="cpu"))
        assert (backend.engine, backend.precision) == ("torch", "fp32")
        assert "no C++ compiler (no-such-compiler)" in backend.note
        assert isinstance(make_engine(backend, [spec_of(SHAPES[0])]), TorchEngine)
        with pytest.raises(ConfigError, match=r"proxies\.engine is native, but it cannot be built"):
            choose_backend(ProxyConfig(device="cpu", engine="native"))
        with pytest.raises(ConfigError, match="which the torch engine has on CUDA alone"):
            choose_backend(ProxyConfig(device="cpu", precision="bf16"))
    finally:
        load_library.cache_clear()


@needs_native
def test_the_library_is_compiled_once_by_many_processes(tmp_path: Path) -> None:
    code = "from proxies.native.library import load_library; load_library()"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list((tmp_path / "mixlab").glob("*.so"))) == 1
