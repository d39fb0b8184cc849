"""Perplexity per token and bits per byte of documents under a proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.tokenizer import Tokenizer
from proxies.model.engine import Engine
from proxies.model.memory import SCORED_PER_PASS

MOST_TOKENS = 4096  # of a document: what follows hardly changes its mean
MOST_NATS = 100.0  # per token: exp() of more says nothing, and soon is too large for a float


@dataclass(frozen=True)
class DocumentScore:
    """Of one document.

    Attributes:
        perplexity: exp of the mean loss per token.
        bits_per_byte: the same text in bits per byte of UTF-8.
    """

    perplexity: float
    bits_per_byte: float


def document_windows(ids: NDArray[np.integer], end: int, context: int) -> NDArray[np.int32]:
    """A document's ids in windows of `context` + 1, shape (w, context + 1), padded with -1.

    The token for the end of a document comes before the first one, as in training, so that every token is predicted;
    each window starts with the last token of the one before.
    """
    tokens = np.concatenate([[end], ids.astype(np.int32)])
    starts = range(0, max(len(tokens) - 1, 1), context)
    windows = np.full((len(starts), context + 1), -1, dtype=np.int32)
    for row, start in enumerate(starts):
        piece = tokens[start : start + context + 1]
        windows[row, : len(piece)] = piece
    return windows


def score_documents(
    engine: Engine, context: int, tokenizer: Tokenizer, texts: Iterable[str], most_tokens: int = MOST_TOKENS
) -> Iterator[DocumentScore]:
    """Score documents in their order, by their first `most_tokens` tokens.

    Args:
        engine: holds one model.
        context: tokens of a sequence of it.
        tokenizer: that of the corpus the model was trained on.
        texts: the documents; an empty one scores as its end alone: perplexity 1 and 0 bits.
    """
    lengths = tokenizer.byte_lengths()
    waiting: list[NDArray[np.int32]] = []
    for text in texts:
        ids = np.asarray(tokenizer.encode(text)[:most_tokens])
        waiting.append(document_windows(ids, tokenizer.end_of_document, context))
        if sum(len(windows) for windows in waiting) >= SCORED_PER_PASS:
            yield from _score(engine, waiting, lengths)
            waiting = []
    if waiting:
        yield from _score(engine, waiting, lengths)


def _score(engine: Engine, documents: list[NDArray[np.int32]], lengths: NDArray[np.int32]) -> Iterator[DocumentScore]:
    windows = np.concatenate(documents)
    # A causal model's losses do not depend on what follows, so any token will do as padding.
    losses = engine.score(np.maximum(windows, 0))[0].astype(np.float64)
    real = windows[:, 1:] >= 0
    owner = np.repeat(np.arange(len(documents)), [len(each) for each in documents])
    count = len(documents)
    nats = np.bincount(owner, weights=np.where(real, losses, 0.0).sum(axis=1), minlength=count)
    tokens = np.bincount(owner, weights=real.sum(axis=1), minlength=count)
    sizes = np.where(real, lengths[np.maximum(windows[:, 1:], 0)], 0).sum(axis=1)
    volume = np.bincount(owner, weights=sizes, minlength=count)
    for loss, length, size in zip(nats, np.maximum(tokens, 1), np.maximum(volume, 1), strict=True):
        yield DocumentScore(float(np.exp(min(loss / length, MOST_NATS))), float(loss / size / np.log(2)))
