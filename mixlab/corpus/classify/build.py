"""The classifier that the options ask for: from labels, seed words or clusters, from a file, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.classify.labelled import evaluate, read_examples, train_labelled
from mixlab.corpus.classify.seeds import read_topics, train_from_seeds
from mixlab.corpus.learn.base import OTHER, Classifier, Embedder, checked_vectors, load_classifier, load_embedder
from mixlab.corpus.learn.clusters import find_clusters
from mixlab.corpus.learn.embed import Lsa, read_embeddings
from mixlab.corpus.learn.linear import LinearModel
from mixlab.corpus.learn.store import load_model
from mixlab.corpus.read.texts import DomainTexts, read, sample
from mixlab.errors import ConfigError

ALL = "all"
Assigned = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class Wanted:
    """Which classifier, in the words of the command's options; at most one of the first five says so.

    Attributes:
        labelled: examples with labels in `label_field`; `group_field` says which are related.
        topics: seed words.
        clusters: their number, or 0 to choose it.
        model: a file that an earlier classify wrote.
        classifier: module:object.
        embeddings, embedder: what to cluster instead of our own vectors.
        least: topics less probable are `other`.
        seed: of everything random.
    """

    labelled: Path | None = None
    label_field: str = "label"
    text_field: str = "text"
    group_field: str | None = None
    topics: Path | None = None
    clusters: int | None = None
    model: Path | None = None
    classifier: str | None = None
    embeddings: Path | None = None
    embedder: str | None = None
    least: float = 0.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Built:
    """A classifier ready to tag.

    Attributes:
        classifier: reads text (None: every document's topic is `assigned`, or there are no topics).
        labels: the topics, `other` added where improbable topics become it.
        assigned: topic and probability of every document, where they do not come from text.
        method: `labelled`, `topics`, `clusters`, `model`, `classifier` or `none`.
        about: what was measured while it was built, for the JSON.
    """

    classifier: Classifier | None
    labels: tuple[str, ...]
    method: str
    assigned: Assigned | None = None
    about: dict[str, Any] = field(default_factory=dict)


def build_classifier(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    """Train or load what is wanted.

    Raises:
        ConfigError: on options that contradict each other.
        CorpusError: on examples or text that cannot carry a classifier.
    """
    chosen = [name for name in ("labelled", "topics", "model", "classifier") if getattr(wanted, name) is not None]
    chosen += ["clusters"] if wanted.clusters is not None else []
    if len(chosen) > 1:
        given = ", ".join(f"--{name}" for name in chosen)
        raise ConfigError(f"topics come from one place, but got {given}", "keep one of them")
    if (wanted.embeddings or wanted.embedder) and chosen != ["clusters"]:
        raise ConfigError("--embeddings and --embedder are for --clusters", "add --clusters auto")
    if wanted.embeddings and wanted.embedder:
        raise ConfigError("vectors come from one place, but got --embeddings and --embedder", "keep one of them")
    method = chosen[0] if chosen else "none"
    makers = {
        "labelled": _from_labels,
        "topics": _from_topics,
        "clusters": _from_clusters,
        "model": _from_model,
        "classifier": _from_object,
        "none": lambda wanted, sources: Built(None, (ALL,), "none"),
    }
    return makers[method](wanted, sources)


def _with_other(labels: Sequence[str], least: float) -> tuple[str, ...]:
    return (*labels, OTHER) if least > 0 and OTHER not in labels else tuple(labels)


def _from_labels(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    assert wanted.labelled is not None
    examples = read_examples(wanted.labelled, wanted.label_field, wanted.text_field, wanted.group_field)
    trained = train_labelled(examples, wanted.seed)
    about = {
        "examples": len(examples.texts),
        "hold_out": trained.evaluation.to_json(),
        "selection": trained.selection.to_json(),
        "terms": _terms(trained.model),
    }
    return Built(trained.model, _with_other(trained.model.labels, wanted.least), "labelled", about=about)


def _from_topics(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    assert wanted.topics is not None
    topics = read_topics(wanted.topics)
    texts = [doc.text for doc in sample(sources, wanted.seed)]
    model, report = train_from_seeds(texts, topics, wanted.seed)
    about = {"hits": report.hits, "believed": report.believed, "unused": report.unused, "terms": _terms(model)}
    return Built(model, _with_other(model.labels, wanted.least), "topics", about={"examples": len(texts), **about})


def _from_clusters(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    docs = sample(sources, wanted.seed)
    texts = [doc.text for doc in docs]
    count = wanted.clusters or None
    if wanted.embeddings is not None:
        vectors = read_embeddings(wanted.embeddings, [doc.id for doc in read(sources)])
        model, choice = find_clusters(texts, vectors[[doc.index for doc in docs]], count, wanted.seed, None)
        found = model.assign(vectors)
        top = found.max(axis=1).astype(np.float32)
        labels = _with_other(model.labels, wanted.least)
        topic = np.where(top < wanted.least, len(labels) - 1, found.argmax(axis=1)).astype(np.int32)
        about = {"silhouettes": choice.silhouettes, "examples": len(texts)}
        return Built(None, labels, "clusters", (topic, top), about)
    embedder: Embedder = load_embedder(wanted.embedder) if wanted.embedder else Lsa.fit(texts, wanted.seed)
    model, choice = find_clusters(texts, checked_vectors(embedder, texts), count, wanted.seed, embedder)
    about = {"silhouettes": choice.silhouettes, "examples": len(texts)}
    return Built(model, _with_other(model.labels, wanted.least), "clusters", about=about)


def _from_model(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    assert wanted.model is not None
    model = load_model(wanted.model)
    return Built(model, _with_other(model.labels, wanted.least), "model")


def _from_object(wanted: Wanted, sources: Sequence[DomainTexts]) -> Built:
    assert wanted.classifier is not None
    classifier = load_classifier(wanted.classifier)
    return Built(classifier, _with_other(classifier.labels, wanted.least), "classifier")


def evaluate_on(wanted: Wanted, built: Built, path: Path) -> dict[str, Any]:
    """What a classifier is worth on labelled examples that are only used to test it."""
    if built.classifier is None:
        raise ConfigError("--test needs a classifier that reads text", "leave --embeddings out, or --test")
    examples = read_examples(path, wanted.label_field, wanted.text_field, wanted.group_field)
    return evaluate(built.classifier, examples).to_json()


def _terms(model: LinearModel) -> dict[str, list[str]]:
    return {label: model.top_terms(label, 8) for label in model.labels}
