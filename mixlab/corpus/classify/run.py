"""One classification from start to end: build the classifier, tag every document, count, cut."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.classify.classifier import BuiltClassifier, build_classifier, evaluate_on
from mixlab.corpus.classify.cut import Cut, cut_by_job
from mixlab.corpus.classify.job import TOPIC, UNIFORM, ClassifyJob
from mixlab.corpus.classify.shares import (
    TopicShare,
    even_out,
    read_reference,
    topic_shares,
    topic_tokens,
    uniform_reference,
)
from mixlab.corpus.classify.tag import Progress, Tagger, Tags, tag_documents
from mixlab.corpus.learn.by_name import import_embedder
from mixlab.corpus.learn.contracts import OTHER
from mixlab.corpus.learn.embed import Lsa, read_embeddings
from mixlab.corpus.learn.store import can_save, save_classifier
from mixlab.corpus.read.sources import expand
from mixlab.corpus.read.texts import DomainTexts, read, sample
from mixlab.corpus.signals.basic import COMPRESSION, LENGTH
from mixlab.corpus.signals.filters import drop_lowest, keep, signal
from mixlab.corpus.signals.quality import MOST, QUALITY, train_quality
from mixlab.corpus.signals.scores import Scores
from mixlab.errors import ConfigError, did_you_mean
from mixlab.files import write_json

TAGS_FILE, RESULT_FILE = "tags.parquet", "topics.json"
MODEL_FILE, QUALITY_FILE = "model.safetensors", "quality.safetensors"
# Starting processes that import scikit-learn takes seconds; below so much text on disk one process is faster.
PARALLEL_BYTES = 20_000_000


@dataclass(frozen=True, eq=False)
class Classification:
    """What came out.

    Attributes:
        job: what was asked.
        built: the classifier.
        tags: of every document.
        shares: by domain, its topics.
        evened: by domain, shares by topic with the over-represented ones capped.
        cuts: by domain, where domains are cut.
        approximate_tokens: whether tokens are counted as bytes / 4.
        about: what was measured besides, for the JSON.
    """

    job: ClassifyJob
    built: BuiltClassifier
    tags: Tags
    shares: dict[str, list[TopicShare]]
    evened: dict[str, dict[str, float]]
    cuts: dict[str, Cut]
    approximate_tokens: bool
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def tags_file(self) -> Path:
        """The table of documents, topics and signals."""
        return self.job.folder / TAGS_FILE

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.built.method,
            "labels": list(self.tags.labels),
            "documents": len(self.tags),
            "approximate_tokens": self.approximate_tokens,
            "classifier": self.built.about,
            **self.about,
            "domains": {
                name: {
                    "topics": [share.to_dict() for share in shares],
                    "evened_out": self.evened[name],
                    "samples": {s.topic: self.tags.samples.get((name, s.topic), []) for s in shares},
                }
                for name, shares in self.shares.items()
            },
            "signals": {name: _summary(values) for name, values in self.tags.signals.items()},
            "parts": [cut.to_dict() for cut in self.cuts.values()],
        }


def classify(job: ClassifyJob, progress: Progress | None = None) -> Classification:
    """Run a job; tags.parquet, topics.json and the models are written to its folder.

    Args:
        progress: called with (domain, characters of text since the last call).

    Raises:
        ConfigError: on a job that cannot be meant.
        CorpusError: on text that cannot be read, or cannot carry what is asked.
        WriteError: when the folder cannot be written.
    """
    job = job.completed()
    scores = Scores(job.scores) if job.scores else None
    _check_signal_names(job, scores)
    _check_reference(job)
    built = build_classifier(job.classifier, job.sources)
    wanted = _shares_from_file(job, built.labels)
    about: dict[str, Any] = {}
    if job.test is not None:
        about["test"] = evaluate_on(job.classifier, built, job.test)
    tagger, measured = _tagger(job, built)
    if tagger.quality is not None:
        about["quality"] = {"cross_validated_macro_f1": measured}
    workers = job.workers or _worker_count(job)
    table = job.folder / TAGS_FILE
    tags = tag_documents(job.sources, tagger, table, built.labels, built.assigned, scores, workers, progress)
    if job.cut.semantic_dedup is not None and job.classifier.embeddings is not None:
        ids = [doc.id for doc in read(job.sources)]
        tags = replace(tags, vectors=read_embeddings(job.classifier.embeddings, ids))
    reported = [name for name in tags.domains if name != job.reference]
    shares = {name: topic_shares(tags, name, _reference(job, tags, name, wanted), job.over) for name in reported}
    outcome = Classification(
        job=job,
        built=built,
        tags=tags,
        shares=shares,
        evened={name: even_out(found, job.over) for name, found in shares.items()},
        cuts={name: cut_by_job(job, tags, name) for name in reported} if job.cut.asked else {},
        approximate_tokens=tagger.tokenizer is None,
        about=about,
    )
    if can_save(built.classifier):
        save_classifier(job.folder / MODEL_FILE, built.classifier)
    if tagger.quality is not None:
        save_classifier(job.folder / QUALITY_FILE, tagger.quality)
    write_json(job.folder / RESULT_FILE, outcome.to_dict())
    return outcome


def _check_signal_names(job: ClassifyJob, scores: Scores | None) -> None:
    """Name a signal that will not be there before hours of work rather than after."""
    known = {LENGTH, COMPRESSION, *(scores.names if scores else ())} | ({QUALITY} if job.good else set())
    empty = {name: np.zeros(1) for name in sorted(known)}
    if job.cut.by not in (None, TOPIC):
        signal(empty, str(job.cut.by))
    if job.cut.keep is not None:
        keep(empty, job.cut.keep)
    if job.cut.drop_lowest is not None:
        drop_lowest(empty, job.cut.drop_lowest, job.cut.usual_signal)


def _check_reference(job: ClassifyJob) -> None:
    names = [source.name for source in job.sources]
    if job.reference != UNIFORM and job.reference not in names and not Path(job.reference).suffix:
        hint = did_you_mean(job.reference, (UNIFORM, *(job.study.config.domains if job.study else names)))
        raise ConfigError(f"the reference must be a domain, but there is no domain `{job.reference}`", hint)


def _shares_from_file(job: ClassifyJob, labels: Sequence[str]) -> Mapping[str, float] | None:
    """The reference shares, where they are in a file."""
    names = (UNIFORM, *(source.name for source in job.sources))
    return None if job.reference in names else read_reference(Path(job.reference), labels)


def _reference(job: ClassifyJob, tags: Tags, domain: str, given: Mapping[str, float] | None) -> Mapping[str, float]:
    """The shares that a domain's topics are compared with."""
    if given is not None:
        return given
    if job.reference == UNIFORM:
        return uniform_reference(topic_tokens(tags, domain))
    tokens = topic_tokens(tags, job.reference)
    total = max(sum(tokens.values()), 1)
    return {label: count / total for label, count in tokens.items()}


def _tagger(job: ClassifyJob, built: BuiltClassifier) -> tuple[Tagger, dict[str, float]]:
    """What tags the documents, and the cross-validated macro-F1 of its quality signal, where it has one."""
    spec = job.classifier
    needs_texts = job.good is not None or job.cut.semantic_dedup is not None
    texts = [doc.text for doc in sample(job.sources, spec.seed)] if needs_texts else []
    quality, measured = None, dict[str, float]()
    if job.good is not None:
        good = DomainTexts("good", (str(job.good.resolve()),))
        quality, measured = train_quality([doc.text for doc in sample((good,), spec.seed, MOST)], texts, spec.seed)
    embedder = None
    if job.cut.semantic_dedup is not None and spec.embeddings is None:
        embedder = import_embedder(spec.embedder) if spec.embedder else Lsa.fit(texts, spec.seed)
    other = built.labels.index(OTHER) if OTHER in built.labels else 0
    least = spec.min_probability if built.classifier is not None else 0.0
    return Tagger(built.classifier, quality, embedder, job.tokenizer, least, other), measured


def _worker_count(job: ClassifyJob) -> int:
    """One process for little text, or for a classifier of the user's own, which may not be fit to be sent to others."""
    if job.classifier.classifier or job.classifier.embedder:
        return 1
    size = sum(file.size() for source in job.sources for file in expand(source.paths, source.base_dir))
    return len(os.sched_getaffinity(0)) if size >= PARALLEL_BYTES else 1


def _summary(values: NDArray[np.float32]) -> dict[str, float]:
    """Quantiles of a signal."""
    points = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {name: float(p) for name, p in zip(("q05", "q25", "median", "q75", "q95"), points, strict=True)}
