"""What a classification is asked: which text, where topics come from, which signals, and how domains are cut."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mixlab.corpus.read.texts import DomainTexts, study_texts
from mixlab.corpus.tokenizer import TOKENIZER_FILE, Tokenizer, load_tokenizer
from mixlab.errors import ConfigError, argument
from mixlab.study.folder import StudyFolder

TOPIC = "topic"
UNIFORM = "uniform"
METHODS = ("labelled", "topics", "clusters", "model", "classifier")


@dataclass(frozen=True)
class ClassifierSpec:
    """Where topics come from: at most one of the first five, by default clusters.

    Attributes:
        labelled: a file of examples, whose rows have `label_field`, `text_field` and, where rows are related,
            `group_field`.
        topics: a YAML of topics with a few seed words each.
        clusters: find so many topics, or `auto`.
        model: a model.safetensors of an earlier classification.
        classifier: a classifier of the user's own, `module:object`.
        embeddings: a file of vectors to cluster in place of mixlab's own.
        embedder: an embedding model of the user's own, `module:object`, whose vectors are clustered.
        min_probability: topics less probable are `other`.
        seed: of everything random.
    """

    labelled: Path | None = None
    topics: Path | None = None
    clusters: int | Literal["auto"] | None = None
    model: Path | None = None
    classifier: str | None = None
    label_field: str = "label"
    text_field: str = "text"
    group_field: str | None = None
    embeddings: Path | None = None
    embedder: str | None = None
    min_probability: float = 0.0
    seed: int = 0

    @property
    def method(self) -> str | None:
        """Which of `METHODS` is given.

        Raises:
            ConfigError: when several are, or a number of clusters that is none.
        """
        given = [name for name in METHODS if getattr(self, name) is not None]
        if len(given) > 1:
            listed = " and ".join(argument(name) for name in given)
            raise ConfigError(f"topics come from one source, but {listed} were given", "keep one of them")
        if isinstance(self.clusters, int) and self.clusters < 2:
            raise ConfigError(
                f"a text has at least 2 clusters, but got {self.clusters}", f"raise {argument('clusters')}"
            )
        return given[0] if given else None


@dataclass(frozen=True)
class CutSpec:
    """How domains are filtered and cut into parts.

    Attributes:
        by: `topic`, a signal, or None for one part.
        buckets: parts by a signal.
        keep: a filter such as `quality > .3 and length >= 200`.
        drop_lowest: a filter, `[SIGNAL=]FRACTION`.
        semantic_dedup: a filter: the cosine from which a document counts as a copy of a better one.
        smallest: topics of a smaller share of the tokens go to `other`.
    """

    by: str | None = None
    buckets: int = 3
    keep: str | None = None
    drop_lowest: str | None = None
    semantic_dedup: float | None = None
    smallest: float = 0.02

    @property
    def filters(self) -> bool:
        return any(each is not None for each in (self.keep, self.drop_lowest, self.semantic_dedup))

    @property
    def asked(self) -> bool:
        """Whether domains are cut at all."""
        return self.by is not None or self.filters

    @property
    def usual_signal(self) -> str | None:
        """The signal that `drop_lowest` means where it names none."""
        return self.by if self.by != TOPIC else None


@dataclass(frozen=True)
class ClassifyJob:
    """One classification.

    Attributes:
        sources: domains to classify, in order.
        classifier: where topics come from.
        cut: filters and parts.
        study: whose domains the sources are (None: they are files).
        out: folder for tags, topics.json and models (None: `classify` in the study, or here).
        test: labelled examples that the classifier is tested on.
        good: a file of good text, which gives the signal `quality`.
        scores: a parquet of signals by document id.
        reference: the shares that topics are compared with: `uniform`, a domain, or a JSON file.
        over: a topic with more than so many times its reference share is over-represented.
        workers: processes (None: as many as pay).
    """

    sources: tuple[DomainTexts, ...]
    classifier: ClassifierSpec = field(default_factory=ClassifierSpec)
    cut: CutSpec = field(default_factory=CutSpec)
    study: StudyFolder | None = None
    out: Path | None = None
    test: Path | None = None
    good: Path | None = None
    scores: Path | None = None
    reference: str = UNIFORM
    over: float = 1.5
    workers: int | None = None

    @property
    def folder(self) -> Path:
        return self.out or (self.study or StudyFolder(Path())).classification

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The study's, once it has been prepared."""
        path = self.study.corpus / TOKENIZER_FILE if self.study else None
        return load_tokenizer(path) if path is not None and path.is_file() else None

    def completed(self) -> ClassifyJob:
        """The job with what follows from the rest: clusters where no topics are given, and the reference's text.

        Raises:
            ConfigError: on a classifier that cannot be meant.
        """
        job = self
        if job.classifier.method is None and (job.cut.by == TOPIC or not job.cut.asked):
            job = replace(job, classifier=replace(job.classifier, clusters="auto"))
        job._check_vectors()
        names = [source.name for source in job.sources]
        if job.study is not None and job.reference in job.study.config.domains and job.reference not in names:
            job = replace(job, sources=(*job.sources, *study_texts(job.study, [job.reference])))
        return job

    def _check_vectors(self) -> None:
        spec = self.classifier
        if spec.embeddings and spec.embedder:
            raise ConfigError(
                f"vectors come from one source, but {argument('embeddings')} and {argument('embedder')} were given",
                "keep one of them",
            )
        used = spec.method == "clusters" or self.cut.semantic_dedup is not None
        if (spec.embeddings or spec.embedder) and not used:
            raise ConfigError(
                "vectors are for clusters and for semantic deduplication, but neither is asked for",
                f"add {argument('clusters')} or {argument('semantic_dedup')}",
            )
