"""Readers: every format gives the same documents, and damaged input is refused with file and row."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixlab.corpus.read.documents import documents
from mixlab.corpus.read.readers import records
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


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_truncated_file_says_after_which_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = b"".join(json.dumps({"text": f"{i * 7919 % 10007} {i}"}).encode() + b"\n" for i in range(100_000))
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines)[:-200])
    else:
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(lines)
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorpusError, match=rf"{name}, after row \d{{5}}: truncated or damaged"):
        list(documents([name], base_dir=tmp_path))


def test_records_are_rows_with_all_their_fields(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    write(tmp_path, "b.parquet")
    found = list(records(["a.jsonl", "b.parquet"], tmp_path))
    assert [record for _, record in found] == ROWS * 2
    assert found[0][0].endswith("a.jsonl, row 1")
    assert found[-1][0].endswith("b.parquet, row 300")
    (_, first), *_ = records(["b.parquet"], tmp_path, columns=["id"])
    assert first == {"id": ROWS[0]["id"]}


def test_bad_rows_can_be_skipped_and_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixlab.corpus.read.readers.MAX_LINE_BYTES", 200)
    rows = [
        b'{"text": "a"}', b'{"text": "\xff"}', b'{"text": 3}', b"[1]", b'{"text": "' + b"x" * 900 + b'"}', b"{",
        b'{"body": "b"}', b'{"text": "\\ud800"}', b'{"text": "z"}',
    ]  # fmt: skip
    (tmp_path / "bad.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    skipped: Counter[str] = Counter()
    assert [text for text, _ in documents(["bad.jsonl"], base_dir=tmp_path, skipped=skipped)] == ["a", "z"]
    assert skipped == {
        "not UTF-8": 1, "no text": 1, "not an object": 1, "too long": 1, "not JSON": 1, "no field text": 1,
        "lone surrogate": 1,
    }  # fmt: skip
    with pytest.raises(CorpusError, match=r"bad\.jsonl, row 2: not UTF-8 at byte 10"):
        list(documents(["bad.jsonl"], base_dir=tmp_path))


def test_bad_utf8_in_plain_text_is_named_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nth\xffree\n")
    with pytest.raises(CorpusError, match=r"a\.txt, row 3: not UTF-8 at byte 2 of the row"):
        list(documents(["a.txt"], base_dir=tmp_path))


def test_text_without_blank_lines_is_cut_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixlab.corpus.read.readers.MAX_PIECE_BYTES", 10_000)
    text = "".join(f"line {i}\n" for i in range(9000))
    (tmp_path / "a.txt").write_text(text)
    pieces = [piece for piece, _ in documents(["a.txt"], base_dir=tmp_path)]
    assert "".join(pieces) == text
    assert max(map(len, pieces)) < 10_100


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.jsonl.gz"])
def test_a_line_without_end_is_refused_by_its_row(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixlab.corpus.read.readers.MAX_LINE_BYTES", 1000)
    data = b'{"text": "first"}\n{"text": "' + b"x" * 50_000 + b'"}\n{"text": "last"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(CorpusError, match=rf"{name}, row 2: longer than 1,000 bytes"):
        list(documents([name], base_dir=tmp_path))


@pytest.mark.slow
def test_a_line_of_a_gigabyte_takes_bounded_memory(tmp_path: Path) -> None:
    with open(tmp_path / "long.jsonl", "wb") as file:
        file.write(b'{"text": "first"}\n')
        file.truncate(1 << 30)
        file.seek(1 << 30)
        file.write(b'\n{"text": "last"}\n')
    script = (
        "import collections, resource, sys\n"
        "from mixlab.corpus.read.documents import documents\n"
        "skipped = collections.Counter()\n"
        "found = [text for text, _ in documents(['long.jsonl'], base_dir=sys.argv[1], skipped=skipped)]\n"
        "print(found, dict(skipped), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("['first', 'last'] {'too long': 1}")
    assert int(result.stdout.split()[-1]) < 500_000
    with pytest.raises(CorpusError, match=r"long\.jsonl, row 2: longer than"):
        list(documents(["long.jsonl"], base_dir=tmp_path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


@pytest.mark.parametrize("name", FORMATS)
def test_urls_are_read_like_files(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    system = fsspec.filesystem("memory")
    system.pipe(f"/readers/{name}", path.read_bytes())
    expected = [(row["text"], row["id"].split("-")[0]) for row in ROWS]
    try:
        assert list(documents([f"memory://readers/{name}"], "text", "id-stem")) == expected
        assert list(documents(["memory://readers/*"], "text", "id-stem")) == expected
        assert list(documents(["memory://readers"], "text", "id-stem")) == expected
        assert list(documents([f"file://{path}"], "text", "id-stem")) == expected
    finally:
        system.rm("/readers", recursive=True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nothing/*.jsonl", "no file matches"),
        ("memory://nothing", "no file matches|cannot list"),
        ("nosuch://a/b", "cannot read nosuch://a/b: "),
    ],
)
def test_urls_that_lead_nowhere_are_refused(url: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        list(documents([url]))


def test_a_hub_data_set_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CorpusError, match=r"cannot read hf://datasets/a/b/\*\.parquet: ") as caught:
        list(documents(["hf://datasets/a/b/*.parquet"]))
    assert caught.value.hint == "pip install mixlab[hf]"
