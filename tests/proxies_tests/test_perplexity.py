"""Perplexity of documents: against the plain loss of the same tokens, however they are batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixlab.corpus.tokenizer import ByteTokenizer
from mixlab.shapes import ModelShape
from proxies.model import Stack
from proxies.perplexity import document_windows, score_documents


@pytest.fixture
def stack() -> Stack:
    shape = ModelShape(depth=1, width=16, vocab_size=257, context=16)
    return Stack(shape, [0], torch.device("cpu"))


def test_windows_predict_every_token_once() -> None:
    ids = np.arange(20)
    windows = document_windows(ids, 256, 8)
    targets = windows[:, 1:]
    assert targets[targets >= 0].tolist() == list(range(20))
    assert windows[0, 0] == 256
    assert windows[1, 0] == windows[0, -1]


def test_scores_are_those_of_each_document_alone(stack: Stack) -> None:
    with torch.no_grad():
        stack.flat.mul_(3.0)
    texts = ["a short one", "", "x" * 200, "grüße " * 30, "b"]
    together = list(score_documents(stack, ByteTokenizer(), texts))
    for text, found in zip(texts, together, strict=True):
        (alone,) = score_documents(stack, ByteTokenizer(), [text])
        assert found.perplexity == pytest.approx(alone.perplexity, rel=1e-4)
    ids = [256, *b"b"]
    with torch.no_grad():
        loss = float(stack.losses(torch.tensor([[ids]]))[0, 0, 0])
    assert together[4].perplexity == pytest.approx(np.exp(loss), rel=1e-4)
    assert together[4].bits_per_byte == pytest.approx(loss / np.log(2), rel=1e-4)
    assert together[1].perplexity == 1


def test_only_the_first_tokens_are_scored(stack: Stack) -> None:
    (long,) = score_documents(stack, ByteTokenizer(), ["ab" * 500], most_tokens=10)
    (short,) = score_documents(stack, ByteTokenizer(), ["ab" * 5], most_tokens=10)
    assert long == short
