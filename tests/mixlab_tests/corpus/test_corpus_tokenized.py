"""Shards that are tokenised already: nanoGPT's, llm.c's and Megatron's, read back id by id; misfits are refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.corpus.read.sources import Source
from mixlab.corpus.read.tokenized import IdsFormat, id_rows
from mixlab.corpus.shards import open_shard
from mixlab.corpus.tokenizer import train_bpe
from mixlab.errors import CorpusError
from mixlab.study.folder import StudyFolder

END = 400


def documents(count: int = 60) -> list[np.ndarray]:
    random_ = np.random.default_rng(0)
    return [random_.integers(0, 300, random_.integers(1, 50)) for _ in range(count)]


def flat(texts: list[np.ndarray], dtype: str = "<u2", end: bool = True) -> bytes:
    return np.concatenate([np.append(ids, END) if end else ids for ids in texts]).astype(dtype).tobytes()


def megatron(folder: Path, texts: list[np.ndarray], dtype: str = "<u2", code: int = 8) -> Path:
    """A .bin and .idx as Megatron writes them, the end of document inside; every document is one sequence."""
    closed = [np.append(ids, END).astype(dtype) for ids in texts]
    (folder / "m.bin").write_bytes(b"".join(ids.tobytes() for ids in closed))
    lengths = np.array([len(ids) for ids in closed], dtype="<i4")
    pointers = np.concatenate([[0], np.cumsum(lengths[:-1].astype(np.int64) * np.dtype(dtype).itemsize)])
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(closed), len(closed) + 1)
    index = [
        head,
        lengths.tobytes(),
        pointers.astype("<i8").tobytes(),
        np.arange(len(closed) + 1, dtype="<i8").tobytes(),
    ]
    (folder / "m.idx").write_bytes(b"".join(index))
    return folder / "m.bin"


def read(path: Path, **changes: object) -> list[np.ndarray]:
    form = IdsFormat(**{"kind": "nanogpt", "dtype": "uint16", "end": END, "vocab_size": END + 1, **changes})  # type: ignore[arg-type]
    return [ids for _, ids in id_rows(Source(str(path)), form)]


def same(found: list[np.ndarray], texts: list[np.ndarray]) -> bool:
    return len(found) == len(texts) and all(map(np.array_equal, found, texts))


@pytest.mark.parametrize(("dtype", "name"), [("<u2", "uint16"), ("<u4", "uint32")])
def test_a_flat_file_is_split_at_its_ends(tmp_path: Path, dtype: str, name: str) -> None:
    path = tmp_path / "train.bin"
    path.write_bytes(flat(documents(), dtype))
    assert same(read(path, dtype=name), documents())
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(flat(documents(), dtype)) // np.dtype(dtype).itemsize
    path.write_bytes(header.tobytes() + flat(documents(), dtype))
    assert same(read(path, dtype=name), documents())


def test_a_file_without_ends_is_cut_into_windows(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    ids = np.arange(5000) % 300
    path.write_bytes(ids.astype("<u2").tobytes())
    assert [len(window) for window in read(path)] == [2048, 2048, 904]
    np.testing.assert_array_equal(np.concatenate(read(path)), ids)


@pytest.mark.parametrize(("dtype", "code"), [("<u2", 8), ("<i4", 4)])
def test_megatron_files_are_read_by_their_index(tmp_path: Path, dtype: str, code: int) -> None:
    assert same(read(megatron(tmp_path, documents(), dtype, code), kind="megatron"), documents())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(flat(documents()))
    with pytest.raises(CorpusError, match=r"a\.bin, document \d+: id \d+ is outside the tokenizer's vocabulary of 100"):
        read(path, vocab_size=100)
    path.write_bytes(flat(documents())[:-1])
    with pytest.raises(CorpusError, match="no positive multiple of 2"):
        read(path)
    path.write_bytes(struct.pack("<iii", 20240520, 1, 1000) + bytes(1012))
    with pytest.raises(CorpusError, match=r"must have 3,024 bytes by its header, but has 1,024"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(CorpusError, match="is empty"):
        read(path)
    whole = megatron(tmp_path, documents())
    data = whole.read_bytes()
    whole.write_bytes(data[:-10])
    with pytest.raises(CorpusError, match=r"by its index, but has"):
        read(whole, kind="megatron")
    index = whole.with_suffix(".idx")
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(CorpusError, match="is not a whole Megatron index"):
        read(whole, kind="megatron")
    index.unlink()
    with pytest.raises(CorpusError, match=r"cannot read .*m\.idx"):
        read(whole, kind="megatron")


def study(root: Path, tokenizer: str) -> StudyFolder:
    (root / "text.jsonl").write_text("".join(json.dumps({"text": f"text number {n}"}) + "\n" for n in range(60)))
    config = {
        "name": "s",
        "domains": {"ids": {"paths": "ids.bin", "format": "nanogpt", "end_of_document": END}, "text": "text.jsonl"},
        "corpus": {"tokenizer": tokenizer, "validation_fraction": 0.3},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(config))
    return StudyFolder.open(root)


def test_a_tokenised_domain_beside_text(tmp_path: Path) -> None:
    tokenizer = train_bpe((f"some text {n} and more" for n in range(500)), 301)
    tokenizer.save(tmp_path / "tokenizer.json")
    texts = [ids % tokenizer.end_of_document for ids in documents()]
    (tmp_path / "ids.bin").write_bytes(flat([*texts, texts[5], texts[7]]))
    folder = study(tmp_path, "tokenizer.json")
    inventory = prepare_corpus(folder).inventory
    facts = inventory.shards["ids"]
    assert (facts.documents, facts.duplicates) == (60, 2)
    end = tokenizer.end_of_document
    found = []
    for split in ("train", "validation"):
        ids = np.asarray(open_shard(folder.corpus, "ids", split))
        found += [tuple(part[:-1].tolist()) for part in np.split(ids, np.flatnonzero(ids == end) + 1)[:-1]]
    assert sorted(found) == sorted(tuple(ids.tolist()) for ids in texts)
    assert facts.train_bytes + facts.validation_bytes == sum(int(tokenizer.byte_lengths()[ids].sum()) for ids in texts)


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_a_tokenised_domain_needs_its_tokenizer(tmp_path: Path, tokenizer: str) -> None:
    (tmp_path / "ids.bin").write_bytes(flat(documents()))
    with pytest.raises(CorpusError, match="needs the tokenizer that it was made with"):
        prepare_corpus(study(tmp_path, tokenizer))
