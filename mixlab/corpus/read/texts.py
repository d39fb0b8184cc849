"""The documents to classify: one by one as they are stored, or a fair sample that fits in memory."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixlab.corpus.read.documents import document
from mixlab.corpus.read.readers import BadRowError, records
from mixlab.errors import ConfigError, argument, did_you_mean
from mixlab.study.config import DomainConfig
from mixlab.study.folder import StudyFolder
from mixlab.study.new import name_domains

SAMPLE_DOCUMENTS = 20_000
SAMPLE_BYTES = 64_000_000
HASH_DIGITS = 16


@dataclass(frozen=True)
class DomainTexts:
    """A domain's text to read.

    Attributes:
        name: of the domain.
        paths: files, folders, globs or URLs; relative ones lie in `base_dir`.
        text_field, group_field: as in study.yaml.
        skipped: counts rows that cannot be used, by fault, where they are to be skipped (None: they are errors).
    """

    name: str
    paths: tuple[str, ...]
    base_dir: Path = Path()
    text_field: str = "text"
    group_field: str | None = None
    skipped: Counter[str] | None = None


def domain_texts(name: str, config: DomainConfig, root: Path) -> DomainTexts:
    """What a study says of a domain's text.

    Raises:
        ConfigError: when it is tokenised already.
    """
    if config.format != "auto":
        raise ConfigError(
            f"classification needs text, but domain `{name}` is tokenised ({config.format})",
            f"name the other domains by {argument('domains', '--domain')}",
        )
    skipped: Counter[str] | None = Counter() if config.on_bad_row == "skip" else None
    return DomainTexts(name, config.paths, root, config.text_field, config.group_field, skipped)


def study_texts(study: StudyFolder, names: Sequence[str] = ()) -> tuple[DomainTexts, ...]:
    """The text of a study's domains: of those named, or of all.

    Raises:
        ConfigError: when there is no such domain, or it is tokenised already.
    """
    known = study.config.domains
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no domain `{name}` in {study.config_file}", did_you_mean(name, known))
    return tuple(domain_texts(name, known[name], study.root) for name in dict.fromkeys(names or known))


def file_texts(
    paths: Sequence[Path], text_field: str = "text", group_field: str | None = None
) -> tuple[DomainTexts, ...]:
    """The text of files and folders, each a domain that is named after it."""
    named = name_domains(paths)
    return tuple(
        DomainTexts(name, (str(path.resolve()),), Path(), text_field, group_field) for name, path in named.items()
    )


@dataclass(frozen=True)
class Doc:
    """A document: its place among all that are read (from 0), domain, id (or the start of its SHA-256), and text."""

    index: int
    domain: str
    id: str
    text: str


def read(sources: Iterable[DomainTexts]) -> Iterator[Doc]:
    """Every document of the sources in order, as stored: what `prepare` would drop is here too.

    Raises:
        CorpusError: on text that cannot be read, by file and row.
    """
    index = 0
    for source in sources:
        for record, text in read_records(source):
            yield Doc(index, source.name, record_id(record, text), text)
            index += 1


def read_records(source: DomainTexts) -> Iterator[tuple[dict[str, Any], str]]:
    """(record, text) of every document of one domain; what was skipped is that of the latest reading."""
    skipped = source.skipped
    if skipped is not None:
        skipped.clear()
    for where, record in records(source.paths, source.base_dir, skipped=skipped):
        try:
            text, _ = document(record, where, source.text_field, source.group_field)
        except BadRowError as error:
            if skipped is None:
                raise
            skipped[error.reason] += 1
            continue
        yield record, text


def record_id(record: dict[str, Any], text: str) -> str:
    """The record's `id` where it has one that is text or a number, else the start of the text's SHA-256."""
    given = record.get("id")
    if isinstance(given, (str, int)) and not isinstance(given, bool):
        return str(given)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def sample(
    sources: Sequence[DomainTexts], seed: int, most: int = SAMPLE_DOCUMENTS, most_bytes: int = SAMPLE_BYTES
) -> list[Doc]:
    """A random sample of at most `most` documents and `most_bytes` characters, in the order they are read.

    Each document draws a number from (seed, index), and the smallest stay: one pass, whatever the size of the corpus.
    """
    kept: list[tuple[int, int, Doc]] = []
    size = 0
    for doc in read(sources):
        draw = int.from_bytes(hashlib.blake2b(f"{seed} {doc.index}".encode(), digest_size=8).digest(), "big")
        heapq.heappush(kept, (-draw, doc.index, doc))
        size += len(doc.text)
        while len(kept) > most or (size > most_bytes and len(kept) > 1):
            size -= len(heapq.heappop(kept)[2].text)
    return sorted((doc for _, _, doc in kept), key=lambda doc: doc.index)
