"""The classifier that is asked for: from labels, seed words or clusters, from a file, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.classify.job import ClassifierSpec
from mixlab.corpus.classify.labelled import evaluate, read_examples, train_labelled
from mixlab.corpus.classify.seeds import read_topics, train_from_seeds
from mixlab.corpus.learn.by_name import import_classifier, import_embedder
from mixlab.corpus.learn.clusters import find_clusters
from mixlab.corpus.learn.contracts import OTHER, Classifier, Embedder, checked_vectors
from mixlab.corpus.learn.embed import Lsa, read_embeddings
from mixlab.corpus.learn.linear import LinearModel
from mixlab.corpus.learn.store import load_classifier
from mixlab.corpus.read.texts import DomainTexts, read, sample
from mixlab.errors import ConfigError, argument

ALL = "all"
Assigned = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class BuiltClassifier:
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


def build_classifier(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    """Train or load a classifier; the sources are the text that it is for.

    Raises:
        ConfigError: on a specification that contradicts itself.
        CorpusError: on examples or text that cannot carry a classifier.
    """
    method = spec.method or "none"
    makers = {
        "labelled": _from_labels,
        "topics": _from_topics,
        "clusters": _from_clusters,
        "model": _from_model,
        "classifier": _from_object,
        "none": lambda spec, sources: BuiltClassifier(None, (ALL,), "none"),
    }
    return makers[method](spec, sources)


def _ready(
    classifier: Classifier, spec: ClassifierSpec, method: str, about: dict[str, Any] | None = None
) -> BuiltClassifier:
    return BuiltClassifier(classifier, _with_other(classifier.labels, spec), method, about=about or {})


def _with_other(labels: Sequence[str], spec: ClassifierSpec) -> tuple[str, ...]:
    return (*labels, OTHER) if spec.min_probability > 0 and OTHER not in labels else tuple(labels)


def _from_labels(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    assert spec.labelled is not None
    examples = read_examples(spec.labelled, spec.label_field, spec.text_field, spec.group_field)
    trained = train_labelled(examples, spec.seed)
    about = {
        "examples": len(examples.texts),
        "hold_out": trained.evaluation.to_dict(),
        "selection": trained.selection.to_dict(),
        "terms": _terms(trained.model),
    }
    return _ready(trained.model, spec, "labelled", about)


def _from_topics(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    assert spec.topics is not None
    topics = read_topics(spec.topics)
    texts = [doc.text for doc in sample(sources, spec.seed)]
    model, report = train_from_seeds(texts, topics, spec.seed)
    about = {"hits": report.hits, "believed": report.believed, "unused": report.unused, "terms": _terms(model)}
    return _ready(model, spec, "topics", {"examples": len(texts), **about})


def _from_clusters(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    docs = sample(sources, spec.seed)
    texts = [doc.text for doc in docs]
    count = None if spec.clusters == "auto" else spec.clusters
    if spec.embeddings is not None:
        vectors = read_embeddings(spec.embeddings, [doc.id for doc in read(sources)])
        model, choice = find_clusters(texts, vectors[[doc.index for doc in docs]], count, spec.seed, None)
        found = model.assign(vectors)
        top = found.max(axis=1).astype(np.float32)
        labels = _with_other(model.labels, spec)
        topic = np.where(top < spec.min_probability, len(labels) - 1, found.argmax(axis=1)).astype(np.int32)
        about = {"silhouettes": choice.silhouettes, "examples": len(texts)}
        return BuiltClassifier(None, labels, "clusters", (topic, top), about)
    embedder: Embedder = import_embedder(spec.embedder) if spec.embedder else Lsa.fit(texts, spec.seed)
    model, choice = find_clusters(texts, checked_vectors(embedder, texts), count, spec.seed, embedder)
    about = {"silhouettes": choice.silhouettes, "examples": len(texts)}
    return _ready(model, spec, "clusters", about)


def _from_model(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    assert spec.model is not None
    return _ready(load_classifier(spec.model), spec, "model")


def _from_object(spec: ClassifierSpec, sources: Sequence[DomainTexts]) -> BuiltClassifier:
    assert spec.classifier is not None
    return _ready(import_classifier(spec.classifier), spec, "classifier")


def evaluate_on(spec: ClassifierSpec, built: BuiltClassifier, path: Path) -> dict[str, Any]:
    """What a classifier is worth on labelled examples that are only used to test it.

    Raises:
        ConfigError: when there is no classifier that reads text.
        CorpusError: on examples that cannot be read, or whose labels it does not know.
    """
    if built.classifier is None:
        hint = f"leave out {argument('test' if built.method == 'none' else 'embeddings')}"
        raise ConfigError("a test on labelled examples needs a classifier that reads text", hint)
    examples = read_examples(path, spec.label_field, spec.text_field, spec.group_field)
    return evaluate(built.classifier, examples).to_dict()


def _terms(model: LinearModel) -> dict[str, list[str]]:
    return {label: model.top_terms(label, 8) for label in model.labels}
