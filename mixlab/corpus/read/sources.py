"""What a domain's paths stand for: local files, folders and globs, and URLs that fsspec knows (s3://, hf://, memory://).

A source is opened here and nowhere else, so that every format can be read from every place.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from mixlab.errors import CorpusError

DATA_ENDINGS = (".jsonl", ".ndjson", ".parquet", ".txt", ".md", ".json.gz", ".json.zst", ".bin")
_EXTRAS = {"hf": "mixlab[hf]", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


@dataclass(frozen=True)
class Source:
    """One file to read: a local path or a URL."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def is_url(self) -> bool:
        return "://" in self.name

    def size(self) -> int:
        """Bytes of the file as stored."""
        if self.is_url:
            system, path = _filesystem(self.name)
            return int(system.info(path).get("size") or 0)
        return os.stat(self.name).st_size

    def stamp(self) -> list[Any]:
        """What changes when the file does: path, size and time, or what the remote system offers for them."""
        if self.is_url:
            system, path = _filesystem(self.name)
            return [self.name, self.size(), str(system.ukey(path))]
        stat = os.stat(self.name)
        return [os.path.realpath(self.name), stat.st_size, stat.st_mtime_ns]

    def open(self) -> BinaryIO:
        """The file's bytes as stored."""
        if self.is_url:
            system, path = _filesystem(self.name)
            return cast(BinaryIO, system.open(path, "rb"))
        return open(self.name, "rb")

    @contextmanager
    def open_text(self) -> Iterator[BinaryIO]:
        """The file's bytes, unpacked where its name ends in .gz or .zst."""
        name = self.name.lower()
        with self.open() as raw:
            if name.endswith(".gz"):
                yield io.BufferedReader(gzip.GzipFile(fileobj=raw, mode="rb"), 1 << 18)
            elif name.endswith(".zst"):
                # The zstandard package's stream reader ends without an error on a cut file; arrow's raises.
                yield io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), 1 << 18)
            else:
                yield raw


def expand(paths: Iterable[str], base_dir: Path | str = ".") -> list[Source]:
    """The files that `paths` (files, folders, globs, URLs; local ones relative to `base_dir`) stand for, each once.

    The files of one folder or glob are sorted. Files and folders below a given folder whose name starts with "." are
    not part of it.

    Raises:
        CorpusError: if an entry matches no file, a folder's links run in a circle, or a URL needs a package that is
            not installed.
    """
    found: dict[Source, None] = {}
    for entry in paths:
        names = _remote(entry) if "://" in entry else [str(path) for path in _local(entry, base_dir)]
        found.update(dict.fromkeys(map(Source, names)))
    return list(found)


def _local(entry: str, base_dir: Path | str) -> list[Path]:
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
    return files


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
            raise CorpusError(f"cannot read folder {folder}: {error.strerror}", "permit reading the folder") from error
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


def _remote(entry: str) -> list[str]:
    """The files of a URL: itself, the matches of a glob, or the data files of a folder or hub data set."""
    system, path = _filesystem(entry)
    try:
        if glob.has_magic(path):
            found = sorted(match for match in system.glob(path) if system.isfile(match))
        elif system.isfile(path):
            found = [path]
        else:
            found = sorted(file for file in system.find(path) if _is_data(str(file)))
    except Exception as error:  # every remote system has exceptions of its own
        raise CorpusError(f"cannot list {entry}: {_reason(error)}", "check the address and the permissions") from error
    if not found:
        raise CorpusError(f"no file matches `{entry}`", "correct the URL in study.yaml")
    return [str(system.unstrip_protocol(file)) for file in found]


def _is_data(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    plain = name.removesuffix(".gz").removesuffix(".zst")
    return not name.startswith((".", "readme")) and (plain.endswith(DATA_ENDINGS) or name.endswith(DATA_ENDINGS))


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.split("://", 1)[0]
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _EXTRAS.get(protocol, f"the package that serves {protocol}://")
        raise CorpusError(f"cannot read {url}: {_reason(error)}", f"pip install {package}") from None
    except ValueError as error:
        raise CorpusError(f"cannot read {url}: {_reason(error)}", "give a path or a URL that fsspec knows") from None
    return system, path


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
