"""Blocks: the unit of work of a prepare. Rows go in, a file of cleaned documents comes out, whole or not at all.

Which rows are in a block depends on the sources alone, so a prepare that goes on after a kill finds its blocks again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixlab.corpus.clean.cleaned import SAMPLES, Cleaned, Edit
from mixlab.corpus.clean.cleaner import Cleaner
from mixlab.corpus.clean.near import Signatures
from mixlab.corpus.prepare.block_files import read_block, write_block
from mixlab.corpus.read.documents import document, wanted_columns
from mixlab.corpus.read.readers import BadRowError, Overlong, Payload, parse, raw_rows
from mixlab.corpus.read.sources import Source, expand
from mixlab.corpus.read.tokenized import Ids, IdsFormat, id_rows
from mixlab.study.config import DomainConfig

BLOCK_BYTES = 1 << 21
BLOCK_ROWS = 20_000

Row = tuple[Source, int, Payload | Ids]


@dataclass(frozen=True)
class RawBlock:
    """Rows of one domain, not parsed yet, and their bytes."""

    domain: str
    number: int
    rows: list[Row]
    size: int


def raw_blocks(
    name: str, domain: DomainConfig, url_field: str | None, form: IdsFormat | None, base_dir: Path
) -> Iterator[RawBlock]:
    """Read a domain block by block, files in their order."""
    rows: list[Row] = []
    number, size = 0, 0
    for row in _rows(domain, url_field, form, base_dir):
        rows.append(row)
        size += _size(row[2])
        if size >= BLOCK_BYTES or len(rows) >= BLOCK_ROWS:
            yield RawBlock(name, number, rows, size)
            rows, size, number = [], 0, number + 1
    if rows:
        yield RawBlock(name, number, rows, size)


def _rows(domain: DomainConfig, url_field: str | None, form: IdsFormat | None, base_dir: Path) -> Iterator[Row]:
    columns = wanted_columns(domain.text_field, domain.group_field, url_field)
    for source in expand(domain.paths, base_dir):
        if form is not None:
            if source.name.endswith(".idx"):
                continue
            for row, ids in id_rows(source, form):
                yield source, row, ids
        else:
            for row, payload in raw_rows(source, columns):
                yield source, row, payload


def _size(payload: Payload | Ids) -> int:
    if isinstance(payload, bytes):
        return len(payload)
    if isinstance(payload, dict):
        return sum(len(value) for value in payload.values() if isinstance(value, str))
    return 0 if isinstance(payload, Overlong) else payload.nbytes


@dataclass
class Skipped:
    """Rows that could not be used, by fault, and the first messages."""

    counts: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)

    def merge(self, counts: dict[str, int], samples: list[str]) -> None:
        self.counts.update(counts)
        self.samples += samples[: SAMPLES - len(self.samples)]


@dataclass(frozen=True)
class Documents:
    """The documents of a block's rows, before cleaning."""

    texts: list[str]
    groups: list[str]
    urls: list[str | None]
    skipped: Skipped


def read_documents(block: RawBlock, domain: DomainConfig, url_field: str | None) -> Documents:
    """Parse the rows of a block of text.

    Raises:
        BadRowError: on the first bad row, unless the domain skips them.
    """
    found = Documents([], [], [], Skipped())
    for source, row, payload in block.rows:
        where = f"{source}, row {row}"
        try:
            assert not isinstance(payload, np.ndarray)
            record = parse(source, row, payload)
            text, group = document(record, where, domain.text_field, domain.group_field)
            url = _url(record, where, url_field)
        except BadRowError as error:
            if domain.on_bad_row == "error":
                raise
            found.skipped.merge({error.reason: 1}, [error.message])
            continue
        found.texts.append(text)
        found.groups.append(group)
        found.urls.append(url)
    return found


def _url(record: dict[str, Any], where: str, url_field: str | None) -> str | None:
    if url_field is None:
        return None
    url = record.get(url_field)
    if not isinstance(url, str):
        hint = "set corpus.cleaning.urls.field to the field that holds the address"
        raise BadRowError(f"{where}: field `{url_field}` must hold an address, but is {url!r:.60}", hint, "no address")
    return url


def clean_block(
    block: RawBlock, domain: DomainConfig, cleaner: Cleaner, side: Callable[[str], str], path: Path
) -> None:
    """Clean a block and write its file."""
    if block.rows and isinstance(block.rows[0][2], np.ndarray):
        _write_ids(block, side, path)
        return
    url_field = cleaner.config.urls.field if cleaner.config.urls else None
    documents = read_documents(block, domain, url_field)
    cleaned = cleaner.clean(documents.texts, documents.urls)
    data = [text.encode() for text in cleaned.texts]
    _write(path, cleaned, data, [side(group) for group in documents.groups], documents.skipped)


def _write_ids(block: RawBlock, side: Callable[[str], str], path: Path) -> None:
    """A block of tokenised documents: no step but the removal of exact copies applies."""
    cleaned, data, sides = Cleaned(), [], []
    for _, _, ids in block.rows:
        assert isinstance(ids, np.ndarray)
        data.append(ids.tobytes())
        digest = hashlib.sha256(data[-1])
        cleaned.keys.append(int.from_bytes(digest.digest()[:8], "little"))
        cleaned.sizes.append(len(data[-1]))
        cleaned.drops.append(None)
        cleaned.languages.append("")
        sides.append(side(digest.hexdigest()))
    cleaned.finals = cleaned.keys
    _write(path, cleaned, data, sides, Skipped())


def _write(path: Path, cleaned: Cleaned, data: list[bytes], sides: list[str], skipped: Skipped) -> None:
    arrays: dict[str, np.ndarray] = {
        "data": np.frombuffer(b"".join(data), dtype=np.uint8),
        "lengths": np.fromiter(map(len, data), dtype=np.int64, count=len(data)),
        "keys": np.array(cleaned.keys, dtype=np.uint64),
        "finals": np.array(cleaned.finals, dtype=np.uint64),
        "sizes": np.array(cleaned.sizes, dtype=np.int64),
        "validation": np.array([side == "validation" for side in sides], dtype=bool),
    }
    if cleaned.signatures is not None:
        arrays["signatures"] = cleaned.signatures
    facts = {
        "drops": cleaned.drops,
        "languages": cleaned.languages,
        "edits": {kind: asdict(edit) for kind, edit in cleaned.edits.items()},
        "skipped": dict(skipped.counts),
        "samples": skipped.samples,
    }
    write_block(path, arrays, facts)


class CleanBlock:
    """A file that `clean_block` wrote.

    Attributes:
        lengths, sizes: bytes of every document as it is now, and as it was read; shape (documents,).
        keys, finals: hashes of its text before anything was taken out, and as it is now.
        validation: whether it is on that side of the split.
        signatures: shape (documents, HASHES), or None where near-duplicates are not looked for.
        drops: the rule that drops it, or None.
        languages: codes, empty where languages are not identified.
        edits: by kind.
        skipped, samples: rows that could not be used by fault, and the first messages.
    """

    def __init__(self, path: Path) -> None:
        arrays, facts = read_block(path)
        self._data = arrays["data"].tobytes()
        self.lengths, self.sizes = arrays["lengths"], arrays["sizes"]
        self._ends = np.cumsum(self.lengths)
        self.keys, self.finals = arrays["keys"], arrays["finals"]
        self.validation = arrays["validation"]
        self.signatures: Signatures | None = arrays.get("signatures")
        self.drops: list[str | None] = facts["drops"]
        self.languages: list[str] = facts["languages"]
        self.edits = {kind: Edit(**edit) for kind, edit in facts["edits"].items()}
        self.skipped: dict[str, int] = facts["skipped"]
        self.samples: list[str] = facts["samples"]

    def __len__(self) -> int:
        return len(self.lengths)

    def data(self, number: int) -> bytes:
        """A document's text as UTF-8, or its ids as little-endian uint32."""
        end = int(self._ends[number])
        return self._data[end - int(self.lengths[number]) : end]
