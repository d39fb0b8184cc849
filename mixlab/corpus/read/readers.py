"""Streams rows out of the files people keep text in; damaged input is an error with its file and row.

JSON lines (`.jsonl`, `.ndjson`, and compressed `.json.gz`, `.json.zst`), parquet, and plain UTF-8 text; any of the
text formats may be packed as `.gz` or `.zst`. Memory is bounded by `MAX_LINE_BYTES`.

Reading has two halves. `raw_rows` takes a file apart, which only one process can do; `parse` makes sense of a row,
which any process can. What is wrong with a file raises in the first, what is wrong with a row in the second.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mixlab.corpus.read.sources import Source, expand
from mixlab.errors import CorpusError, did_you_mean

PIECE_BYTES = 4_000
MAX_PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 26
PARQUET_ROWS = 256

Record = dict[str, Any]


@dataclass(frozen=True)
class Overlong:
    """In place of a line of more than `limit` bytes, which is not kept."""

    limit: int


# A row before it is parsed: a JSON line, a piece of plain text, or a parquet row.
Payload = bytes | Record | Overlong


class BadRowError(CorpusError):
    """A row that cannot be used; `reason` is the kind of fault, by which skipped rows are counted."""

    def __init__(self, message: str, hint: str | None = None, reason: str = "unusable") -> None:
        super().__init__(message, hint)
        self.reason = reason


def records(
    paths: Iterable[str],
    base_dir: Path | str = ".",
    columns: Sequence[str] | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of every row, files in sorted order, rows in the file's order.

    `where` names file and row for messages. A record holds the row's fields; a piece of plain text is
    `{"text": piece}`.

    Args:
        paths: files, folders, globs or URLs; relative ones lie in `base_dir`.
        columns: read only these columns of a parquet file (absent: all).
        skipped: where given, a row that cannot be parsed is counted here by its fault and left out. A file that is
            truncated or empty is an error all the same.

    Raises:
        CorpusError: no file matched, or a file is empty, truncated, not UTF-8, not JSON, or lacks a column.
    """
    for source in expand(paths, base_dir):
        for row, payload in raw_rows(source, columns):
            where = f"{source}, row {row}"
            try:
                record = parse(source, row, payload)
            except BadRowError as error:
                if skipped is None:
                    raise
                skipped[error.reason] += 1
                continue
            yield where, record


def raw_rows(source: Source, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Payload]]:
    """Yield (row, payload) of one file, by the ending of its name; blank JSON lines are passed over.

    Raises:
        CorpusError: when the file is empty, truncated or damaged, naming the last row that was read.
    """
    row = 0
    try:
        if source.size() == 0:
            raise CorpusError(f"{source} is empty", "remove it from the paths, or download it again")
        for row, payload in _dispatch(source, columns):
            yield row, payload
        if row == 0:
            raise CorpusError(f"{source} holds no document", "remove it from the paths")
    except (EOFError, gzip.BadGzipFile, zlib.error, pa.ArrowException) as error:
        raise _damaged(source, row, error) from error
    except OSError as error:
        if error.strerror:
            raise CorpusError(f"cannot read {source}: {error.strerror}", "permit reading the file") from error
        raise _damaged(source, row, error) from error  # pyarrow reports bad zstd frames as an OSError without errno
    except Exception as error:
        # Every remote system has exceptions of its own.
        if source.is_url and not isinstance(error, CorpusError):
            raise CorpusError(
                f"cannot read {source}, after row {row}: {error}", "run the same command again"
            ) from error
        raise


def _damaged(source: Source, row: int, error: BaseException) -> CorpusError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return CorpusError(
        f"{source}, after row {row}: truncated or damaged: {reason}", "download or compress the file again"
    )


def format_of(source: Source) -> str:
    """`parquet`, `json` (one object a line) or `text`, by the ending of the name."""
    name = source.name.lower()
    if name.endswith(".parquet"):
        return "parquet"
    packed = name.endswith((".gz", ".zst"))
    inner = name.rsplit(".", 1)[0] if packed else name
    if inner.endswith((".jsonl", ".ndjson")) or (packed and inner.endswith(".json")):
        return "json"
    return "text"


def _dispatch(source: Source, columns: Sequence[str] | None) -> Iterator[tuple[int, Payload]]:
    kind = format_of(source)
    if kind == "parquet":
        return _parquet(source, columns)
    return _json_lines(source) if kind == "json" else _pieces(source)


def _lines(source: Source) -> Iterator[tuple[int, bytes | Overlong]]:
    with source.open_text() as file:
        row = 0
        while line := file.readline(MAX_LINE_BYTES):
            row += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                _finish_line(file)
                yield row, Overlong(MAX_LINE_BYTES)
            else:
                yield row, line


def _finish_line(file: BinaryIO) -> None:
    while (part := file.readline(1 << 20)) and not part.endswith(b"\n"):
        pass


def _json_lines(source: Source) -> Iterator[tuple[int, Payload]]:
    for row, line in _lines(source):
        if isinstance(line, Overlong) or not line.isspace():
            yield row, line


def _pieces(source: Source) -> Iterator[tuple[int, Payload]]:
    """A text file: one document, or where it is long pieces of about `PIECE_BYTES` that end at blank lines.

    The row of a piece is that of its first line. Without blank lines a piece ends at `MAX_PIECE_BYTES`.
    """
    piece: list[bytes] = []
    size, first = 0, 1
    for row, line in _lines(source):
        if isinstance(line, Overlong):
            yield row, line
            continue
        if not piece:
            first = row
        piece.append(line)
        size += len(line)
        if (size >= PIECE_BYTES and line.isspace()) or size >= MAX_PIECE_BYTES:
            yield first, b"".join(piece)
            piece, size = [], 0
    if piece:
        yield first, b"".join(piece)


def _parquet(source: Source, columns: Sequence[str] | None) -> Iterator[tuple[int, Payload]]:
    with source.open() as raw, pq.ParquetFile(raw) as file:
        names = file.schema_arrow.names
        for name in columns or ():
            if name not in names:
                raise no_field(str(source), name, names, "the names of fields in study.yaml")
        row = 0
        for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns and list(columns)):
            for record in batch.to_pylist():
                row += 1
                yield row, record


def parse(source: Source, row: int, payload: Payload) -> Record:
    """The record of a row that `raw_rows` gave.

    Raises:
        BadRowError: when it is too long, not UTF-8 or not a JSON object.
    """
    where = f"{source}, row {row}"
    if isinstance(payload, dict):
        return payload
    if isinstance(payload, Overlong):
        raise BadRowError(f"{where}: longer than {payload.limit:,} bytes", "split the line", "too long")
    try:
        text = payload.decode("utf-8-sig" if row == 1 else "utf-8")
    except UnicodeDecodeError as error:
        above = payload[: error.start].count(b"\n")
        offset = error.start - (payload.rfind(b"\n", 0, error.start) + 1)
        hint = "convert the file to UTF-8, or name only the text files, for example with a glob"
        message = f"{source}, row {row + above}: not UTF-8 at byte {offset} of the row"
        raise BadRowError(message, hint, "not UTF-8") from None
    return {"text": text} if format_of(source) == "text" else _json_object(text, where)


def _json_object(text: str, where: str) -> Record:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "the file may be cut short; download it again"
        raise BadRowError(f"{where}: not valid JSON: {error}", hint, "not JSON") from None
    if not isinstance(record, dict):
        message = f"{where}: a row must be a JSON object, but is {type(record).__name__}"
        raise BadRowError(message, 'write one object per line, {"text": ...}', "not an object")
    return record


def no_field(where: str, name: str, known: Iterable[str], setting: str) -> BadRowError:
    """A row without a field; `setting` is what names it."""
    near = did_you_mean(name, known)
    hint = f"correct {setting}; {near}" if near else f"correct {setting}"
    return BadRowError(f"{where}: there is no field `{name}`", hint, f"no field {name}")
