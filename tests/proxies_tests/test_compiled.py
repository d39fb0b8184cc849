"""Compiled steps equal eager ones, and where compiling fails the engine goes on without and says so."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mixlab.errors import ConfigError, SweepError
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import Backend, choose_backend, make_engine
from proxies.model.engine import Engine
from proxies.model.parameters import Floats
from proxies.pytorch.engine import TorchEngine
from proxies.pytorch.stack import ModelStack
from proxies.training.train import CorpusTokens, train_run

EAGER = Backend("cpu", "torch", "fp32")
COMPILED = choose_backend(ProxyConfig(device="cpu", engine="torch", compile="on"))
SHAPE = ModelShape(1, 16, 11, 6)
SIZES = (1, 2, 4, 4, 8, 3)
MEMBERS = 2


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation as always but for the code that inductor would write, which takes a C++ compiler many seconds."""
    compile_with = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda *args, mode=None, **options: compile_with(*args, **options))


def specs_of(members: int = MEMBERS, shape: ModelShape = SHAPE) -> list[RunSpec]:
    recipe = Recipe(learning_rate=0.01, batches=Batches.constant(2), warmup_steps=1)
    return [RunSpec(Mixture({"a": 1.0}), shape, (1000,), seed, recipe, "test", 100) for seed in range(members)]


def train(engine: Engine, sizes: tuple[int, ...] = SIZES, members: int = MEMBERS) -> Floats:
    """Losses (K, S) of steps of these sizes, at a rate that changes with the step."""
    rng = np.random.default_rng(0)
    rows = rng.integers(SHAPE.vocab_size, size=(members, sum(sizes), SHAPE.context + 1)).astype(np.int32)
    return engine.train(rows, sizes, [1 / (1 + step) for step in range(len(sizes))], 0)


def agree(backend: Backend) -> Engine:
    """Check that both ways come to the same losses and state; returns the compiled engine."""
    eager, compiled = make_engine(EAGER, specs_of()), make_engine(backend, specs_of())
    assert train(compiled) == pytest.approx(train(eager), rel=1e-5)
    for ours, theirs in zip(compiled.state(), eager.state(), strict=True):
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)
    return compiled


def test_the_setting_is_resolved() -> None:
    assert replace(EAGER, compile=True) == COMPILED
    assert str(COMPILED) == "cpu, torch engine, fp32, compiled"
    for value in ("auto", "off"):
        assert not choose_backend(ProxyConfig(device="cpu", engine="torch", compile=value)).compile
    assert make_engine(EAGER, specs_of()).describe()["compile"] == "off"


@pytest.mark.skipif(choose_backend(ProxyConfig(device="cpu")).engine != "native", reason="no native engine")
def test_the_native_engine_is_not_compiled_again() -> None:
    with pytest.raises(ConfigError, match=r"proxies\.compile is on, which is for PyTorch"):
        choose_backend(ProxyConfig(device="cpu", compile="on"))


@pytest.mark.usefixtures("traced")
def test_a_traced_step_is_the_eager_step_at_every_batch_size() -> None:
    assert agree(COMPILED).describe()["compile"] == "on"


@pytest.mark.usefixtures("traced")
def test_steps_are_compiled_once_for_all_batches_above_one_sequence() -> None:
    engine = make_engine(COMPILED, specs_of())
    train(engine, (2, 1))
    with torch.compiler.set_stance("fail_on_recompile"):
        train(engine, (8, 1, 4, 4))
        train(make_engine(COMPILED, specs_of()), (16, 2))
    assert engine.describe()["compile"] == "on"


@pytest.mark.usefixtures("traced")
def test_out_of_memory_cuts_compiled_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(make_engine(EAGER, specs_of()), (4, 4))
    engine, differentiated, largest = make_engine(COMPILED, specs_of()), TorchEngine._differentiated, 1

    def short_of_memory(self: TorchEngine, losses: object, flat: torch.Tensor, rows: torch.Tensor) -> object:
        if rows.shape[0] * rows.shape[1] > largest:
            raise torch.OutOfMemoryError
        return differentiated(self, losses, flat, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(TorchEngine, "_differentiated", short_of_memory)
    assert train(engine, (4, 4)) == pytest.approx(whole, rel=1e-5)
    about = engine.describe()
    assert (about["compile"], about["out_of_memory"]) == ("on", "passes cut to 1 sequences of 1 models")
    largest = 0
    with pytest.raises(SweepError, match="one sequence of 6 tokens"):
        train(engine, (4,))


def test_what_cannot_be_compiled_is_trained_eagerly_and_recorded(
    texts: CorpusTokens, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise RuntimeError("no such processor\nand more")

    expected = train_run(spec, texts, EAGER)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: unable)
    record = train_run(spec, texts, COMPILED)
    assert [point.losses for point in record.points] == [point.losses for point in expected.points]
    assert record.environment["compile"] == "failed, RuntimeError: no such processor"


def test_an_error_of_the_step_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise ValueError("this is wrong")

    monkeypatch.setattr(ModelStack, "mean_losses", broken)
    with pytest.raises(ValueError, match="this is wrong"):
        train(make_engine(COMPILED, specs_of()), (2,))


@pytest.mark.slow
def test_without_a_compiler_steps_are_eager(tmp_path: Path) -> None:
    # In a process of its own, with no cache: a compiler is looked for once.
    script = (
        "from test_compiled import COMPILED, EAGER, make_engine, specs_of, train\n"
        "engine = make_engine(COMPILED, specs_of())\n"
        "assert (train(engine, (2, 2)) == train(make_engine(EAGER, specs_of()), (2, 2))).all()\n"
        "print(engine.describe()['compile'])\n"
    )
    environment = {
        **os.environ,
        "CXX": "no-such-compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("failed, InvalidCxxCompiler")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in what inductor imports
def test_a_compiled_step_is_the_eager_step_at_every_batch_size() -> None:
    assert agree(COMPILED).describe()["compile"] == "on"
