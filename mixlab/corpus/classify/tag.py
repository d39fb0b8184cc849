"""Tags every document: topic, probability and signals, in one pass over the text with bounded memory.

Text goes through in batches, over worker processes where there are several. What stays is about 40 bytes a document;
ids go straight to the table on disk.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixlab.corpus.learn.contracts import Classifier, Embedder, checked_probabilities, checked_vectors
from mixlab.corpus.learn.linear import LinearModel
from mixlab.corpus.parallel import ordered_map
from mixlab.corpus.read.texts import Doc, DomainTexts, read
from mixlab.corpus.signals.basic import basic_signals
from mixlab.corpus.signals.quality import QUALITY, quality_scores
from mixlab.corpus.signals.scores import Scores
from mixlab.corpus.tokenizer import Tokenizer
from mixlab.errors import CorpusError, WriteError, argument

BATCH_DOCUMENTS = 256
BATCH_CHARACTERS = 1_000_000
SAMPLES_PER_TOPIC = 20
SHOWN_CHARACTERS = 200
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Tagger:
    """What is found out about a text; parts that are None are left out.

    Attributes:
        classifier: topics.
        quality: good against this.
        embedder: vectors, for semantic dedup.
        tokenizer: counts tokens (None: bytes / 4).
        least: a topic less probable than this gives way to the label of index `other`.
    """

    classifier: Classifier | None = None
    quality: LinearModel | None = None
    embedder: Embedder | None = None
    tokenizer: Tokenizer | None = None
    least: float = 0.0
    other: int = 0

    def __call__(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of shape (n,), and `vectors` of shape (n, d)."""
        sizes = np.array([len(text.encode()) for text in texts], dtype=np.int64)
        columns: dict[str, NDArray[Any]] = {"bytes": sizes, **basic_signals(texts)}
        if self.tokenizer is None:
            columns["tokens"] = np.ceil(sizes / 4).astype(np.int64)
        else:
            columns["tokens"] = np.array([len(self.tokenizer.encode(text)) + 1 for text in texts], dtype=np.int64)
        if self.classifier is not None:
            probabilities = checked_probabilities(self.classifier, texts)
            top = probabilities.max(axis=1).astype(np.float32)
            columns["probability"] = top
            columns["topic"] = np.where(top < self.least, self.other, probabilities.argmax(axis=1)).astype(np.int32)
        if self.quality is not None:
            columns[QUALITY] = quality_scores(self.quality, texts)
        if self.embedder is not None:
            columns["vectors"] = checked_vectors(self.embedder, texts)
        return columns


@dataclass(frozen=True, eq=False)
class Tags:
    """What is known of n documents, in the order they are read.

    Attributes:
        domains: the domains' names.
        domain: index of each document's, shape (n,).
        labels: the topics' names.
        topic: index of each document's, shape (n,).
        probability: that it is right, shape (n,).
        bytes, tokens: shape (n,).
        signals: by name, each of shape (n,).
        samples: a few random documents of each topic, by domain and topic, as one line.
        vectors: shape (n, d) where they were asked for.
    """

    domains: tuple[str, ...]
    domain: NDArray[np.int32]
    labels: tuple[str, ...]
    topic: NDArray[np.int32]
    probability: NDArray[np.float32]
    bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]
    signals: dict[str, NDArray[np.float32]]
    samples: dict[tuple[str, str], list[str]]
    vectors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.topic)


class Excerpts:
    """A few documents of every topic, drawn at random by their place, shortened to one line."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[int, str]]] = {}

    def add(self, docs: Sequence[Doc], topics: Sequence[str]) -> None:
        for doc, topic in zip(docs, topics, strict=True):
            kept = self._kept.setdefault((doc.domain, topic), [])
            draw = zlib.crc32(str(doc.index).encode())
            if len(kept) < SAMPLES_PER_TOPIC or draw < kept[-1][0]:
                kept.append((draw, " ".join(doc.text[: 4 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS]))
                kept.sort()
                del kept[SAMPLES_PER_TOPIC:]

    def lines(self) -> dict[tuple[str, str], list[str]]:
        return {place: [line for _, line in kept] for place, kept in self._kept.items()}


def tag_documents(
    sources: Sequence[DomainTexts],
    tagger: Tagger,
    out: Path,
    labels: tuple[str, ...],
    assigned: tuple[NDArray[np.int32], NDArray[np.float32]] | None = None,
    scores: Scores | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Tags:
    """Tag every document of the sources and write the table `out` (parquet), atomically.

    Args:
        labels: the topics.
        assigned: topic and probability of every document where a classifier did not read the text, each of shape (n,).
        scores: signals of every document from elsewhere.
        workers: processes.
        progress: called with (domain, characters since the last call).

    Raises:
        CorpusError: on text that cannot be read.
        WriteError: when the table cannot be written.
    """
    names = tuple(source.name for source in sources)
    excerpts = Excerpts()
    parts: dict[str, list[NDArray[Any]]] = {}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".tags.") as scratch:
            draft = Path(scratch, out.name)
            writer: pq.ParquetWriter | None = None
            for batch, columns in _tagged(tagger, _batches(read(sources)), workers):
                columns |= _known(batch, columns, assigned, scores)
                columns["domain"] = np.array([names.index(doc.domain) for doc in batch], dtype=np.int32)
                table = _table(batch, columns, labels)
                writer = writer or pq.ParquetWriter(draft, table.schema, compression="zstd")
                writer.write_table(table)
                excerpts.add(batch, [labels[i] for i in columns["topic"]])
                for name, values in columns.items():
                    parts.setdefault(name, []).append(values)
                if progress:
                    progress(batch[-1].domain, sum(len(doc.text) for doc in batch))
            assert writer is not None, "a source without documents is an error of the readers"
            writer.close()
            os.replace(draft, out)
    except OSError as error:
        raise WriteError(
            f"cannot write {out}: {error.strerror}", "free space or permit writing there, then run the same command"
        ) from error
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    return Tags(
        domains=names,
        domain=whole.pop("domain"),
        labels=labels,
        topic=whole.pop("topic"),
        probability=whole.pop("probability"),
        bytes=whole.pop("bytes"),
        tokens=whole.pop("tokens"),
        vectors=whole.pop("vectors", None),
        samples=excerpts.lines(),
        signals=whole,
    )


def _known(
    batch: list[Doc],
    columns: dict[str, NDArray[Any]],
    assigned: tuple[NDArray[np.int32], NDArray[np.float32]] | None,
    scores: Scores | None,
) -> dict[str, NDArray[Any]]:
    """The columns that do not come from the text: topics assigned before, and scores from elsewhere."""
    more: dict[str, NDArray[Any]] = {}
    at = slice(batch[0].index, batch[-1].index + 1)
    if assigned is not None:
        more = {"topic": assigned[0][at], "probability": assigned[1][at]}
    elif "topic" not in columns:
        more = {"topic": np.zeros(len(batch), np.int32), "probability": np.ones(len(batch), np.float32)}
    if scores is not None:
        found = scores.of([doc.id for doc in batch])
        clash = sorted(set(found) & set(columns))
        if clash:
            raise CorpusError(
                f"the scores have a column `{clash[0]}`, which mixlab computes itself",
                f"rename it in the file of {argument('scores')}",
            )
        more |= found
    return more


def _table(batch: list[Doc], columns: dict[str, NDArray[Any]], labels: tuple[str, ...]) -> pa.Table:
    data: dict[str, Any] = {
        "domain": pa.array([doc.domain for doc in batch], pa.string()),
        "id": pa.array([doc.id for doc in batch], pa.string()),
        "topic": pa.array([labels[i] for i in columns["topic"]], pa.string()),
    }
    plain = (name for name in columns if name not in ("domain", "topic", "vectors"))
    return pa.table(data | {name: pa.array(columns[name]) for name in plain})


def _batches(docs: Iterable[Doc]) -> Iterator[list[Doc]]:
    batch: list[Doc] = []
    size = 0
    for doc in docs:
        batch.append(doc)
        size += len(doc.text)
        if len(batch) >= BATCH_DOCUMENTS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tagged(
    tagger: Tagger, batches: Iterator[list[Doc]], workers: int
) -> Iterator[tuple[list[Doc], dict[str, NDArray[Any]]]]:
    """(batch, columns) in order; texts go to the workers, documents stay here."""
    waiting: deque[list[Doc]] = deque()

    def texts() -> Iterator[list[str]]:
        for batch in batches:
            waiting.append(batch)
            yield [doc.text for doc in batch]

    for columns in ordered_map(Tagger.__call__, texts(), workers, _same, tagger):
        yield waiting.popleft(), columns


def _same(tagger: Tagger) -> Tagger:
    return tagger
