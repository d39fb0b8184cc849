"""Perplexity of documents: against the plain loss of the same tokens, however they are batched."""

from __future__ import annotations

import numpy as np
import pytest

from mixlab.corpus.tokenizer import ByteTokenizer
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import choose_backend, make_engine
from proxies.model.engine import Engine, State
from proxies.training.perplexity import document_windows, score_documents

CONTEXT = 16


@pytest.fixture
def engine() -> Engine:
    shape = ModelShape(depth=1, width=16, vocab_size=257, context=CONTEXT)
    recipe = Recipe(learning_rate=0.002, batches=Batches.constant(1), warmup_steps=1)
    spec = RunSpec(Mixture({"a": 1.0}), shape, (1000,), 0, recipe, "test", 100)
    engine = make_engine(choose_backend(ProxyConfig(device="cpu")), [spec])
    engine.restore(State(*(3.0 * values for values in engine.state())))
    return engine


def test_windows_predict_every_token_once() -> None:
    ids = np.arange(20)
    windows = document_windows(ids, 256, 8)
    targets = windows[:, 1:]
    assert targets[targets >= 0].tolist() == list(range(20))
    assert windows[0, 0] == 256
    assert windows[1, 0] == windows[0, -1]


def test_scores_are_those_of_each_document_alone(engine: Engine) -> None:
    texts = ["a short one", "", "x" * 200, "grüße " * 30, "b"]
    together = list(score_documents(engine, CONTEXT, ByteTokenizer(), texts))
    for text, found in zip(texts, together, strict=True):
        (alone,) = score_documents(engine, CONTEXT, ByteTokenizer(), [text])
        assert found.perplexity == pytest.approx(alone.perplexity, rel=1e-4)
    ids = [256, *b"b", *[0] * (CONTEXT - 1)]
    loss = float(engine.score(np.array([ids], dtype=np.int32))[0, 0, 0])
    assert together[4].perplexity == pytest.approx(np.exp(loss), rel=1e-4)
    assert together[4].bits_per_byte == pytest.approx(loss / np.log(2), rel=1e-4)
    assert together[1].perplexity == 1


def test_only_the_first_tokens_are_scored(engine: Engine) -> None:
    (long,) = score_documents(engine, CONTEXT, ByteTokenizer(), ["ab" * 500], most_tokens=10)
    (short,) = score_documents(engine, CONTEXT, ByteTokenizer(), ["ab" * 5], most_tokens=10)
    assert long == short
