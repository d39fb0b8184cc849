"""One classification from start to end: build, tag, count, cut; what `mixlab classify` prints comes from here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.classify.build import Built, Wanted, build_classifier, evaluate_on
from mixlab.corpus.classify.parts import Cut, cut_domain
from mixlab.corpus.classify.shares import (
    UNIFORM,
    TopicShare,
    even_out,
    read_reference,
    topic_shares,
    topic_tokens,
    uniform_reference,
)
from mixlab.corpus.classify.tag import Machine, Progress, Tags, tag_documents
from mixlab.corpus.learn.base import OTHER, load_embedder
from mixlab.corpus.learn.embed import Lsa, read_embeddings
from mixlab.corpus.learn.store import can_save, save_model
from mixlab.corpus.read.sources import expand
from mixlab.corpus.read.texts import DomainTexts, read, sample
from mixlab.corpus.signals.filters import bucket_names, buckets, drop_lowest, keep, signal
from mixlab.corpus.signals.quality import MOST, QUALITY, train_quality
from mixlab.corpus.signals.scores import Scores
from mixlab.corpus.signals.semantic import semantic_keepers
from mixlab.corpus.tokenizer import Tokenizer
from mixlab.errors import ConfigError, did_you_mean
from mixlab.files import write_json

TAGS_FILE, RESULT_FILE = "tags.parquet", "topics.json"
MODEL_FILE, QUALITY_FILE = "model.safetensors", "quality.safetensors"
# Starting processes that import scikit-learn takes seconds; below so much text on disk one process is faster.
PARALLEL_BYTES = 20_000_000
TOPIC = "topic"


@dataclass(frozen=True)
class Cutting:
    """How domains are filtered and cut.

    Attributes:
        by: `topic`, a signal, or None for not at all.
        buckets: for a signal.
        keep, drop_lowest: filters, as `signals.filters` reads them.
        semantic: the cosine from which a document counts as a copy of a better one.
        smallest: topics of a smaller share go to `other`.
    """

    by: str | None = None
    buckets: int = 3
    keep: str | None = None
    drop_lowest: str | None = None
    semantic: float | None = None
    smallest: float = 0.02

    @property
    def filters(self) -> bool:
        return any(each is not None for each in (self.keep, self.drop_lowest, self.semantic))


@dataclass(frozen=True)
class Job:
    """All that `mixlab classify` is asked.

    Attributes:
        sources: domains to classify, in order.
        wanted: the classifier.
        cutting: filters and parts.
        out: folder for tags, result and models.
        test: labelled examples to test the classifier on.
        good: reference of good text (None: no quality signal).
        scores: signals from elsewhere.
        reference: `uniform`, one of the sources, or a JSON file.
        over: from so many times the reference on a topic is over-represented.
        tokenizer: counts tokens (None: bytes / 4).
        workers: processes (None: as it pays).
    """

    sources: tuple[DomainTexts, ...]
    wanted: Wanted
    cutting: Cutting
    out: Path
    test: Path | None = None
    good: DomainTexts | None = None
    scores: Path | None = None
    reference: str = UNIFORM
    over: float = 1.5
    tokenizer: Tokenizer | None = None
    workers: int | None = None


@dataclass(frozen=True, eq=False)
class Classification:
    """What came out: tags, shares by domain, evened-out shares by domain, and cuts by domain."""

    built: Built
    tags: Tags
    shares: dict[str, list[TopicShare]]
    evened: dict[str, dict[str, float]]
    cuts: dict[str, Cut]
    approximate_tokens: bool
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.built.method,
            "labels": list(self.tags.labels),
            "documents": len(self.tags),
            "approximate_tokens": self.approximate_tokens,
            "classifier": self.built.about,
            **self.about,
            "domains": {
                name: {
                    "topics": [share.to_json() for share in shares],
                    "evened_out": self.evened[name],
                    "samples": {s.topic: self.tags.samples.get((name, s.topic), []) for s in shares},
                }
                for name, shares in self.shares.items()
            },
            "signals": {name: _summary(values) for name, values in self.tags.signals.items()},
            "parts": [cut.to_json() for cut in self.cuts.values()],
        }


def classify(job: Job, progress: Progress | None = None) -> Classification:
    """Run a job; tags, models and topics.json are written to its folder `out`.

    Raises:
        ConfigError: on options that cannot be meant.
        CorpusError: on text that cannot be read, or cannot carry what is asked.
    """
    scores = Scores(job.scores) if job.scores else None
    _check_signal_names(job, scores)
    built = build_classifier(job.wanted, job.sources)
    about: dict[str, Any] = {}
    if job.test is not None:
        about["test"] = evaluate_on(job.wanted, built, job.test)
    machine, measured = _machine(job, built)
    if machine.quality is not None:
        about["quality"] = {"cross_validated_macro_f1": measured}
    workers = job.workers or _workers(job)
    tags = tag_documents(
        job.sources, machine, job.out / TAGS_FILE, built.labels, built.assigned, scores, workers, progress
    )
    if job.cutting.semantic is not None and job.wanted.embeddings is not None:
        ids = [doc.id for doc in read(job.sources)]
        tags = replace(tags, vectors=read_embeddings(job.wanted.embeddings, ids))
    references = _references(job, tags)
    shares = {name: topic_shares(tags, name, references[name], job.over) for name in references}
    outcome = Classification(
        built=built,
        tags=tags,
        shares=shares,
        evened={name: even_out(found, job.over) for name, found in shares.items()},
        cuts=_cuts(job, tags, [name for name in tags.domains if name != job.reference]),
        approximate_tokens=job.tokenizer is None,
        about=about,
    )
    if can_save(built.classifier):
        save_model(job.out / MODEL_FILE, built.classifier)
    if machine.quality is not None:
        save_model(job.out / QUALITY_FILE, machine.quality)
    write_json(job.out / RESULT_FILE, outcome.to_json())
    return outcome


def _check_signal_names(job: Job, scores: Scores | None) -> None:
    """Name a signal that will not be there before hours of work rather than after."""
    known = {"length", "compression", *(scores.names if scores else ())} | ({QUALITY} if job.good else set())
    empty = {name: np.zeros(1) for name in sorted(known)}
    if job.cutting.by not in (None, TOPIC):
        signal(empty, str(job.cutting.by))
    if job.cutting.by == TOPIC and job.wanted == Wanted(seed=job.wanted.seed):
        raise ConfigError("--by topic needs topics", "add --labelled, --topics, --clusters, --model or --classifier")
    if job.cutting.keep is not None:
        keep(empty, job.cutting.keep)
    if job.cutting.drop_lowest is not None:
        drop_lowest(empty, job.cutting.drop_lowest, _usual(job.cutting))


def _usual(cutting: Cutting) -> str | None:
    return cutting.by if cutting.by != TOPIC else None


def _machine(job: Job, built: Built) -> tuple[Machine, dict[str, float]]:
    seed = job.wanted.seed
    needs_texts = job.good is not None or job.cutting.semantic is not None
    texts = [doc.text for doc in sample(job.sources, seed)] if needs_texts else []
    quality, measured = None, dict[str, float]()
    if job.good is not None:
        good = [doc.text for doc in sample((job.good,), seed, MOST)]
        quality, measured = train_quality(good, texts, seed)
    embedder = None
    if job.cutting.semantic is not None and job.wanted.embeddings is None:
        embedder = load_embedder(job.wanted.embedder) if job.wanted.embedder else Lsa.fit(texts, seed)
    other = built.labels.index(OTHER) if OTHER in built.labels else 0
    least = job.wanted.least if built.classifier is not None else 0.0
    return Machine(built.classifier, quality, embedder, job.tokenizer, least, other), measured


def _workers(job: Job) -> int:
    """One process for little text, or for a classifier of the user's own, which may not be fit to be sent to others."""
    if job.wanted.classifier or job.wanted.embedder:
        return 1
    size = sum(file.size() for source in job.sources for file in expand(source.paths, source.base_dir))
    return len(os.sched_getaffinity(0)) if size >= PARALLEL_BYTES else 1


def _references(job: Job, tags: Tags) -> dict[str, dict[str, float]]:
    """The reference shares of every domain that is reported."""
    tokens = {name: topic_tokens(tags, name) for name in tags.domains}
    if job.reference == UNIFORM:
        return {name: uniform_reference(tokens[name]) for name in tags.domains}
    if job.reference in tags.domains:
        total = max(sum(tokens[job.reference].values()), 1)
        shares = {label: count / total for label, count in tokens[job.reference].items()}
        return {name: shares for name in tags.domains if name != job.reference}
    path = Path(job.reference)
    if not path.suffix:
        hint = did_you_mean(job.reference, (UNIFORM, *tags.domains))
        raise ConfigError(f"--reference: there is no domain `{job.reference}`", hint)
    shares = read_reference(path, tags.labels)
    return dict.fromkeys(tags.domains, shares)


def _cuts(job: Job, tags: Tags, domains: Sequence[str]) -> dict[str, Cut]:
    if job.cutting.by is None and not job.cutting.filters:
        return {}
    return {name: _cut(job, tags, name) for name in domains}


def _cut(job: Job, tags: Tags, domain: str) -> Cut:
    cutting = job.cutting
    mine = tags.domain == tags.domains.index(domain)
    signals = {name: values[mine] for name, values in tags.signals.items()}
    stays = np.ones(int(mine.sum()), dtype=bool)
    dropped: dict[str, int] = {}

    def apply(name: str, mask: NDArray[np.bool_]) -> None:
        nonlocal stays
        dropped[name] = int((stays & ~mask).sum())
        stays = stays & mask

    if cutting.keep is not None:
        apply(f"keep {cutting.keep}", keep(signals, cutting.keep))
    if cutting.drop_lowest is not None:
        apply(f"drop lowest {cutting.drop_lowest}", drop_lowest(signals, cutting.drop_lowest, _usual(cutting)))
    if cutting.semantic is not None and tags.vectors is not None:
        best = signals[QUALITY] if QUALITY in signals else signals["length"]
        rows = np.flatnonzero(stays)
        kept = np.zeros(len(stays), dtype=bool)
        kept[rows] = semantic_keepers(tags.vectors[mine][rows], best[rows], cutting.semantic, job.wanted.seed)
        apply(f"semantic dedup {cutting.semantic:g}", kept)
    labels, part = _parts(cutting, tags, mine, signals, stays)
    return cut_domain(tags, domain, labels, part, stays, cutting.smallest if cutting.by == TOPIC else 0.0, dropped)


def _parts(
    cutting: Cutting,
    tags: Tags,
    mine: NDArray[np.bool_],
    signals: dict[str, NDArray[np.float32]],
    stays: NDArray[np.bool_],
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Names of the parts, and each document's."""
    if cutting.by is None:
        return ("",), np.zeros(len(stays), dtype=np.int32)
    if cutting.by == TOPIC:
        return tags.labels, tags.topic[mine]
    values = signal(signals, cutting.by)
    part = np.zeros(len(stays), dtype=np.int32)
    part[stays] = buckets(values[stays], tags.tokens[mine][stays], cutting.buckets, cutting.by)
    return tuple(f"{name}-{cutting.by}" for name in bucket_names(cutting.buckets)), part


def _summary(values: NDArray[np.float32]) -> dict[str, float]:
    """Quantiles of a signal."""
    points = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {name: float(p) for name, p in zip(("q05", "q25", "median", "q75", "q95"), points, strict=True)}
