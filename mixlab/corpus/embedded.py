"""The quickstart's corpus: real text that every machine with mixlab has, found in the Python environment itself.

Eight kinds of text of unequal size: sources and unit tests, C++ headers, English documentation, licences, package
descriptions, type stubs and tables. No network; the same environment gives the same bytes.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import inspect
import io
import json
import os
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mixlab.errors import CorpusError

MAX_FILE_BYTES = 1_000_000
MIN_TEXT_CHARACTERS = 200
TEXTS = "texts"

# (path for people and grouping, text)
Found = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class EmbeddedText:
    """A domain's documents, and how many bytes of them at most."""

    documents: Callable[[], Found]
    max_bytes: int


def write_embedded_corpus(folder: Path | str) -> dict[str, int]:
    """Write `<folder>/texts/<domain>.jsonl.gz`, one {"text", "id"} a line, `id` being the file it is from.

    Files of more than 1 MB, files that cannot be read as UTF-8 and texts of under 200 characters are left out.

    Returns:
        Bytes of text by domain.

    Raises:
        CorpusError: when the environment lacks one of the kinds of text.
    """
    out = Path(folder) / TEXTS
    out.mkdir(parents=True, exist_ok=True)
    sizes = {name: _write(out / f"{name}.jsonl.gz", source) for name, source in SOURCES.items()}
    missing = [name for name, size in sizes.items() if size == 0]
    if missing:
        raise CorpusError(
            f"this Python environment holds no text for {', '.join(missing)}",
            "use text of your own: mixlab init DIR --from FILE...",
        )
    return sizes


def _write(path: Path, source: EmbeddedText) -> int:
    buffer, size, seen = io.BytesIO(), 0, set()
    # A fixed time and no name, so that the bytes depend on the text alone.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as packed:
        for ident, text in source.documents():
            data = len(text.encode())
            if len(text.strip()) < MIN_TEXT_CHARACTERS or text in seen:
                continue
            if size + data > source.max_bytes:
                break
            seen.add(text)
            packed.write((json.dumps({"text": text, "id": ident}, ensure_ascii=False) + "\n").encode())
            size += data
    path.write_bytes(buffer.getvalue())
    return size


def _stdlib() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _packages(*names: str) -> Iterator[Path]:
    """Folders of installed packages, found without importing them; one that is absent is left out."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent


def _site() -> Path:
    return Path(next(_packages("numpy"))).parent


def _walk(top: Path, endings: tuple[str, ...], skip: tuple[str, ...] = ()) -> Iterator[Path]:
    """Files below `top` by ending, in sorted order; folders named in `skip` are not entered."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in skip and not name.startswith((".", "__py")))
        for name in sorted(files):
            if name.lower().endswith(endings):
                yield Path(folder, name)


def _read(files: Iterator[Path], base: Path) -> Found:
    for path in files:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                continue
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if "\0" not in text:
            yield path.relative_to(base).as_posix(), text


def _python() -> Found:
    yield from _read(
        _walk(_stdlib(), (".py",), ("site-packages", "dist-packages", "test", "tests", "lib2to3")), _stdlib()
    )


def _tests() -> Found:
    for package in _packages("scipy", "numpy", "matplotlib", "pandas"):
        files = (path for path in _walk(package, (".py",)) if "tests" in path.parts)
        yield from _read(files, package.parent)


def _headers() -> Found:
    for package in _packages("torch"):
        yield from _read(_walk(package / "include" / "ATen", (".h", ".cuh")), package.parent)
        yield from _read(_walk(package / "include" / "torch", (".h",)), package.parent)


def _prose() -> Found:
    for package in _packages("scipy", "pandas", "matplotlib", "optuna", "numpy"):
        for ident, text in _read(_walk(package, (".py",), ("tests",)), package.parent):
            for number, docstring in enumerate(_docstrings(text)):
                yield f"{ident}-{number}", docstring


def _docstrings(source: str) -> Iterator[str]:
    """The long docstrings of a module, dedented."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and len(docstring) >= 2 * MIN_TEXT_CHARACTERS:
                yield inspect.cleandoc(docstring) + "\n"


def _dist_info() -> Iterator[Path]:
    return iter(sorted(path for path in _site().glob("*.dist-info") if not path.name.startswith("mixlab")))


def _licences() -> Found:
    for folder in _dist_info():
        files = (path for path in _walk(folder, ("",)) if _is_licence(path))
        for ident, text in _read(files, _site()):
            # Long bundles of licences are cut, so that no single one is the whole validation text.
            for number, piece in enumerate(_pieces(text)):
                yield f"{ident}-{number}", piece


def _is_licence(path: Path) -> bool:
    return path.name.lower().startswith(("licen", "copying", "notice", "authors"))


def _pieces(text: str, characters: int = 4000) -> Iterator[str]:
    """`text` in pieces of about `characters`, cut at blank lines."""
    piece = ""
    for paragraph in text.split("\n\n"):
        piece += paragraph + "\n\n"
        if len(piece) >= characters:
            yield piece
            piece = ""
    if piece:
        yield piece


def _metadata() -> Found:
    for ident, text in _read((folder / "METADATA" for folder in _dist_info()), _site()):
        description = text.partition("\n\n")[2]
        for number, piece in enumerate(_pieces(description)):
            yield f"{ident}-{number}", piece


def _stubs() -> Found:
    for package in _packages("torch", "numpy", "matplotlib", "scipy", "pyarrow", "wandb"):
        yield from _read(_walk(package, (".pyi",)), package.parent)


def _tables() -> Found:
    for package in _packages("numpy", "matplotlib", "scipy"):
        for ident, text in _read(_walk(package, (".csv", ".dat", ".afm")), package.parent):
            for number, piece in enumerate(_rows(text)):
                yield f"{ident}-{number}", piece


def _rows(text: str, rows: int = 100) -> Iterator[str]:
    """A table in pieces of `rows` lines."""
    lines = text.splitlines(keepends=True)
    for start in range(0, len(lines), rows):
        yield "".join(lines[start : start + rows])


SOURCES: dict[str, EmbeddedText] = {
    "python": EmbeddedText(_python, 6_000_000),
    "tests": EmbeddedText(_tests, 6_000_000),
    "cpp_headers": EmbeddedText(_headers, 5_000_000),
    "prose": EmbeddedText(_prose, 4_000_000),
    "stubs": EmbeddedText(_stubs, 2_000_000),
    "tables": EmbeddedText(_tables, 2_000_000),
    "licences": EmbeddedText(_licences, 1_000_000),
    "metadata": EmbeddedText(_metadata, 1_000_000),
}
