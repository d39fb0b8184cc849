"""Topics from a few seed words each: hits are weak labels for a classifier, which then learns from its own answers.

A document that the seeds do not speak of, and that the classifier does not take for one of the topics, is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.corpus.learn.contracts import OTHER
from mixlab.corpus.learn.features import WORDS
from mixlab.corpus.learn.linear import WORDS_ONLY, LinearModel, train_linear
from mixlab.errors import ConfigError, CorpusError
from mixlab.study.yaml import load_yaml

LEARNING_ROUNDS = 2
FEWEST_HITS = 8
# Of a topic's documents with hits, the share with the clearest ones that is believed.
BELIEVED = 0.6
# In the second round a document counts for a topic from this probability on.
SURE = 0.6


@dataclass(frozen=True)
class SeedReport:
    """What the seeds found: documents with a hit and documents believed, by topic, and words that occur nowhere."""

    hits: dict[str, int]
    believed: dict[str, int]
    unused: dict[str, list[str]]


def read_topics(path: Path) -> dict[str, tuple[str, ...]]:
    """topics.yaml: names -> seed words (a list, or one line with commas); a phrase may have several words.

    Raises:
        ConfigError: when it is empty, a topic is named twice or has no word, or a word is given for two topics.
    """
    document = load_yaml(path)
    hint = "write one topic a line, for example\n  cooking: [recipe, oven, flour]"
    if not isinstance(document.data, dict) or not document.data:
        raise ConfigError(f"{path} must name topics and their seed words, but holds none", hint)
    topics: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for name, value in document.data.items():
        where = f"{path}:{document.line((name,))}"
        if name.strip().lower() == OTHER:
            raise ConfigError(f"{where}: `{OTHER}` is kept for documents of no topic", "rename the topic")
        words = _seed_words(value)
        if not words:
            raise ConfigError(f"{where}: topic `{name:.60}` has no seed words", hint)
        for word in words:
            if word in owner:
                raise ConfigError(f"{where}: `{word}` is a seed of `{owner[word]}` and of `{name}`", "keep one of them")
            owner[word] = name
        topics[name] = words
    if len(topics) < 2:
        raise ConfigError(f"{path} must name at least 2 topics, but names {len(topics)}", hint)
    return topics


def _seed_words(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    words = (" ".join(str(part).lower().split()) for part in parts if isinstance(part, (str, int)))
    return tuple(dict.fromkeys(word for word in words if word))


def seed_scores(texts: Sequence[str], topics: Mapping[str, Sequence[str]]) -> tuple[Array, dict[str, list[str]]]:
    """How much the seeds of each topic say about each text, shape (n, K), and the seeds that occur nowhere.

    A word counts ln(1 + its occurrences) times ln(n / documents that have it); plurals in -s count as the word.
    """
    scores = np.zeros((len(texts), len(topics)))
    lowered = [text[: WORDS.most_characters].lower() for text in texts]
    unused: dict[str, list[str]] = {}
    for column, (name, words) in enumerate(topics.items()):
        for word in words:
            pattern = re.compile(rf"(?<!\w){re.escape(word)}s?(?!\w)")
            # `in` is much faster than the pattern, and most texts do not have the word.
            counts = np.array([len(pattern.findall(text)) if word in text else 0 for text in lowered])
            having = int((counts > 0).sum())
            if having == 0:
                unused.setdefault(name, []).append(word)
                continue
            scores[:, column] += np.log1p(counts) * np.log1p(len(texts) / having)
    return scores, unused


def train_from_seeds(
    texts: Sequence[str], topics: Mapping[str, Sequence[str]], seed: int
) -> tuple[LinearModel, SeedReport]:
    """A classifier over the topics and `other`, from weak labels.

    The seeds themselves are no features in the first round: a classifier that saw them would learn to look for them
    and nothing else.

    Raises:
        CorpusError: when a topic's seeds occur in fewer than `FEWEST_HITS` documents.
    """
    scores, unused = seed_scores(texts, topics)
    hits = {name: int((scores[:, k] > 0).sum()) for k, name in enumerate(topics)}
    few = {name: count for name, count in hits.items() if count < FEWEST_HITS}
    if few:
        listed = ", ".join(f"`{name:.40}` occur in {count}" for name, count in few.items())
        raise CorpusError(
            f"the seed words of a topic must occur in at least {FEWEST_HITS} documents, but those of {listed}",
            "add seed words that are more common, or leave the topic out",
        )
    names = (*topics, OTHER)
    truth = _believe(scores)
    believed = {name: int((truth == k).sum()) for k, name in enumerate(topics)}
    words = frozenset(word for seeds in topics.values() for word in seeds)
    for turn in range(LEARNING_ROUNDS):
        rows = np.flatnonzero(truth >= 0).tolist()
        some, labels = [texts[i] for i in rows], [names[truth[i]] for i in rows]
        groups = [str(i) for i in rows]
        first = turn == 0
        candidates = (("words",),) if first else WORDS_ONLY
        model, _ = train_linear(some, labels, groups, seed, candidates, words if first else frozenset())
        if turn < LEARNING_ROUNDS - 1:
            truth = _relabel(model, texts, scores, truth, names)
    return model, SeedReport(hits, believed, unused)


def _believe(scores: Array) -> NDArray[np.int64]:
    """The label of each document that is believed, else -1: clear winners by hits, and `other` without any hit."""
    n, count = scores.shape
    truth = np.full(n, -1)
    best = scores.argmax(axis=1)
    ordered = np.sort(scores, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    for k in range(count):
        mine = np.flatnonzero((best == k) & (scores[:, k] > 0))
        if len(mine):
            kept = mine[np.argsort(-margin[mine], kind="stable")][: max(FEWEST_HITS, round(BELIEVED * len(mine)))]
            truth[kept] = k
    truth[scores.max(axis=1) == 0] = count
    return truth


def _relabel(
    model: LinearModel, texts: Sequence[str], scores: Array, truth: NDArray[np.int64], names: tuple[str, ...]
) -> NDArray[np.int64]:
    """Labels for the next round: the classifier where it is sure, the seeds where they were believed."""
    probabilities = model.probabilities(texts)
    said = np.array([names.index(label) for label in model.labels])[probabilities.argmax(axis=1)]
    sure = probabilities.max(axis=1) >= SURE
    other = len(names) - 1
    updated = np.where(truth == other, -1, truth)
    updated[sure & (said == other) & (scores.max(axis=1) == 0)] = other
    updated[sure & (said != other)] = said[sure & (said != other)]
    return updated
