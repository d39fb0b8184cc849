"""Readers: every format gives the same documents, and damaged input is refused with file and row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixlab.corpus.readers import documents
from mixlab.errors import CorpusError

ROWS = [{"text": f"text {i} é\n" * 50, "id": f"book{i // 3}-{i:04d}"} for i in range(300)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(LINES))
    elif name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(LINES)
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_bytes(LINES)
    return path


FORMATS = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json.gz", "a.parquet"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    read = list(documents([name], "text", "id-stem", tmp_path))
    assert read == [(row["text"], row["id"].split("-")[0]) for row in ROWS]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, name: str, share: float) -> None:
    path = write(tmp_path, name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorpusError, match=name):
        list(documents([name], base_dir=tmp_path))


def test_two_zstd_frames_are_both_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl.zst")
    path.write_bytes(path.read_bytes() * 2)
    assert len(list(documents(["a.jsonl.zst"], base_dir=tmp_path))) == 600


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', r"row 2: not valid JSON"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"row 2: not UTF-8"),
        (b'{"text": "a"}\n{"body": "b"}\n', r"row 2: there is no field `text`"),
        (b'{"text": 3}\n', r"row 1: field `text` must be text, but is int"),
        (b"[1]\n", r"row 1: a row must be a JSON object"),
        (b'{"text": "\\ud800"}\n', r"row 1: a lone surrogate"),
        (b"", r"is empty"),
        (b"\n\n", r"holds no document"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(data)
    with pytest.raises(CorpusError, match=message) as caught:
        list(documents(["bad.jsonl"], base_dir=tmp_path))
    assert "bad.jsonl" in caught.value.message
    assert caught.value.hint


def test_plain_text_is_cut_at_blank_lines_and_loses_nothing(tmp_path: Path) -> None:
    text = "".join(f"paragraph {i} with some words\nand more\n\n" for i in range(2000))
    (tmp_path / "book.txt").write_text(text)
    pieces = [piece for piece, _ in documents(["book.txt"], base_dir=tmp_path)]
    assert "".join(pieces) == text
    assert all(4_000 <= len(piece) < 4_100 for piece in pieces[:-1])


def test_folders_and_globs_are_sorted_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", "b/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [text for text, _ in documents(["."], base_dir=tmp_path)] == ["a.txt", "b/1.txt", "b/2.txt"]
    assert [text for text, _ in documents(["b/*.txt", "b"], base_dir=tmp_path)] == ["b/1.txt", "b/2.txt"]
    with pytest.raises(CorpusError, match="no file matches"):
        list(documents(["c*"], base_dir=tmp_path))


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("a")
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d")
    with pytest.raises(CorpusError, match="circle"):
        list(documents(["d"], base_dir=tmp_path))
