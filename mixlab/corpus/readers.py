"""Streams documents out of the files people keep text in; damaged input is an error with its file and row.

JSON lines (`.jsonl`, `.ndjson`, and compressed `.json.gz`, `.json.zst`), parquet, and plain UTF-8 text; any of the
text formats may be packed as `.gz` or `.zst`. Memory is bounded by the longest line or document.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mixlab.errors import CorpusError, did_you_mean

ID_STEM = "id-stem"
PIECE_BYTES = 4_000
MAX_LINE_BYTES = 1 << 28

Document = tuple[str, str]


def documents(
    paths: Iterable[str], text_field: str = "text", group_field: str | None = None, base_dir: Path | str = "."
) -> Iterator[Document]:
    """Yield (text, group) of every document, files in sorted order, rows in the file's order.

    Documents with equal `group` belong to one side of a split: the value of `group_field`, or with "id-stem" the `id`
    up to its last "-", or the SHA-256 of the document's own text.

    Raises:
        CorpusError: no file matched, or a file is empty, truncated, not UTF-8, not JSON, or lacks the text.
    """
    for path in expand_paths(paths, base_dir):
        yield from file_documents(path, text_field, group_field)


def expand_paths(paths: Iterable[str], base_dir: Path | str = ".") -> list[Path]:
    """The files that `paths` (files, folders, globs; relative to `base_dir`) stand for, each once.

    The files of one folder or glob are sorted. Files and folders below a given folder whose name starts with "." are
    not part of it.

    Raises:
        CorpusError: if an entry matches no file, or a folder's links run in a circle.
    """
    found: dict[Path, None] = {}
    for entry in paths:
        path = Path(base_dir) / Path(entry).expanduser()
        if path.is_dir():
            files = _walk(path)
        elif path.is_file():
            files = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            files = [match for match in matches if match.is_file()]
        if not files:
            raise CorpusError(f"no file matches `{entry}` (looked at {path})", "correct the path in study.yaml")
        found.update(dict.fromkeys(files))
    return list(found)


def _walk(top: Path) -> list[Path]:
    """All files below `top`, sorted; links to folders are followed."""
    files: list[Path] = []

    def visit(folder: Path, above: tuple[str, ...]) -> None:
        real = os.path.realpath(folder)
        if real in above:
            raise CorpusError(f"the links of folder {folder} run in a circle", "remove the link, or name the files")
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise CorpusError(f"cannot read folder {folder}: {error.strerror}", "permit reading it") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                visit(entry, (*above, real))
            elif entry.is_file():
                files.append(entry)
            elif entry.is_symlink():
                raise CorpusError(f"link {entry} leads nowhere or in a circle", "remove the link")

    visit(top, ())
    return files


def file_documents(path: Path, text_field: str = "text", group_field: str | None = None) -> Iterator[Document]:
    """The documents of one file, by the ending of its name; raises as `documents` does."""
    try:
        if path.stat().st_size == 0:
            raise CorpusError(f"{path} is empty", "remove it from the domain's paths")
        count = 0
        for document in _dispatch(path, text_field, group_field):
            count += 1
            yield document
        if count == 0:
            raise CorpusError(f"{path} holds no document", "remove it from the domain's paths")
    except (EOFError, gzip.BadGzipFile, zlib.error, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.strerror:
            raise CorpusError(f"cannot read {path}: {error.strerror}", "permit reading it") from error
        raise _damaged(path, error) from error  # pyarrow reports bad zstd frames as an OSError without errno


def _damaged(path: Path, error: BaseException) -> CorpusError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return CorpusError(f"{path} is truncated or damaged: {reason}", "fetch or pack the file again")


def _dispatch(path: Path, text_field: str, group_field: str | None) -> Iterator[Document]:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _parquet(path, text_field, group_field)
    packed = name.endswith((".gz", ".zst"))
    inner = name.rsplit(".", 1)[0] if packed else name
    if inner.endswith((".jsonl", ".ndjson")) or (packed and inner.endswith(".json")):
        return _json_lines(path, text_field, group_field)
    return _plain(path, group_field)


def _open(path: Path) -> BinaryIO:
    name = path.name.lower()
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.open(path, "rb"))
    if name.endswith(".zst"):
        # The zstandard package's stream reader ends without an error on a cut file; arrow's raises.
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return open(path, "rb")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with _open(path) as file:
        row = 0
        while line := file.readline(MAX_LINE_BYTES):
            row += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise CorpusError(f"{path}, row {row}: longer than {MAX_LINE_BYTES:,} bytes", "split the line")
            yield row, line


def _json_lines(path: Path, text_field: str, group_field: str | None) -> Iterator[Document]:
    for row, line in _lines(path):
        if line.isspace():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig" if row == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}, row {row}", error.start) from None
        except (ValueError, RecursionError) as error:
            hint = "the file may be cut short; fetch it again"
            raise CorpusError(f"{path}, row {row}: not valid JSON: {error}", hint) from None
        if not isinstance(record, dict):
            raise CorpusError(
                f"{path}, row {row}: a row must be a JSON object, but is {type(record).__name__}",
                'write one {"text": ...} a line',
            )
        yield _document(record, f"{path}, row {row}", text_field, group_field)


def _parquet(path: Path, text_field: str, group_field: str | None) -> Iterator[Document]:
    with pq.ParquetFile(path) as file:
        names = set(file.schema_arrow.names)
        wanted = [name for name in (text_field, _field(group_field)) if name]
        for name in wanted:
            if name not in names:
                raise _no_field(str(path), name, names)
        row = 0
        for batch in file.iter_batches(batch_size=256, columns=list(dict.fromkeys(wanted))):
            for record in batch.to_pylist():
                row += 1
                yield _document(record, f"{path}, row {row}", text_field, group_field)


def _plain(path: Path, group_field: str | None) -> Iterator[Document]:
    """A text file: one document, or where it is long pieces of about `PIECE_BYTES` that end at blank lines."""
    if group_field is not None:
        hint = "leave group_field out, or store the text as JSON lines"
        raise CorpusError(f"{path} is plain text and has no field `{group_field}` to group by", hint)
    piece: list[str] = []
    size = 0
    for row, line in _lines(path):
        try:
            piece.append(line.decode("utf-8-sig" if row == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}, row {row}", error.start) from None
        size += len(line)
        if size >= PIECE_BYTES and line.isspace():
            yield _with_hash("".join(piece), f"{path}, row {row}")
            piece, size = [], 0
    if piece:
        yield _with_hash("".join(piece), str(path))


def _field(group_field: str | None) -> str | None:
    return "id" if group_field == ID_STEM else group_field


def _document(record: dict[str, Any], where: str, text_field: str, group_field: str | None) -> Document:
    if text_field not in record:
        raise _no_field(where, text_field, record)
    text = record[text_field]
    if not isinstance(text, str):
        raise CorpusError(
            f"{where}: field `{text_field}` must be text, but is {type(text).__name__}",
            "set the domain's text_field to the field that holds the text",
        )
    if group_field is None:
        return _with_hash(text, where)
    name = str(_field(group_field))
    if name not in record:
        raise _no_field(where, name, record)
    group = record[name]
    if isinstance(group, bool) or not isinstance(group, (str, int)):
        hint = "set the domain's group_field to a field that every row has"
        raise CorpusError(f"{where}: field `{name}` must be text or a whole number, but is {group!r:.60}", hint)
    key = str(group)
    # An id without "-" is its own stem.
    return text, key.rpartition("-")[0] or key if group_field == ID_STEM else key


def _with_hash(text: str, where: str) -> Document:
    return text, hashlib.sha256(utf8(text, where)).hexdigest()


def utf8(text: str, where: str) -> bytes:
    """`text` as UTF-8.

    Raises:
        CorpusError: on a lone surrogate, which JSON escapes can spell and UTF-8 cannot.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: a lone surrogate at character {error.start}", "repair the text's escapes"
        ) from None


def _not_utf8(where: str, offset: int) -> CorpusError:
    hint = "convert the file to UTF-8, or name only the text files, for example with a glob"
    return CorpusError(f"{where}: not UTF-8 at byte {offset} of the row", hint)


def _no_field(where: str, name: str, known: Iterable[str]) -> CorpusError:
    hint = did_you_mean(name, known)
    return CorpusError(f"{where}: there is no field `{name}`", f"{hint} (text_field and group_field in study.yaml)")
