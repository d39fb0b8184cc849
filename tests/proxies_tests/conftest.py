"""Small texts and specs for training tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from proxies.training.train import CorpusTokens


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def texts() -> CorpusTokens:
    """Two domains that a model can learn: one counts up, the other repeats letters."""
    rng = np.random.default_rng(0)
    count = (np.arange(6000) % 50).astype(np.uint16)
    repeat = np.repeat(rng.integers(50, 60, 1500), 4).astype(np.uint16)
    return CorpusTokens(
        train={"count": count[:5000], "repeat": repeat[:5000]},
        validation={"count": count[5000:], "repeat": repeat[5000:]},
        token_bytes=np.ones(64, dtype=np.int64),
    )


@pytest.fixture
def spec() -> RunSpec:
    """A run with three branches, small enough for a second."""
    return RunSpec(
        mixture=Mixture({"count": 0.7, "repeat": 0.3}),
        shape=ModelShape(depth=2, width=16, vocab_size=64, context=16),
        tokens=(640, 1280, 2560),
        seed=1,
        recipe=Recipe(learning_rate=0.005, batches=Batches.constant(4), warmup_steps=3),
        corpus="test",
        eval_tokens=128,
    )
