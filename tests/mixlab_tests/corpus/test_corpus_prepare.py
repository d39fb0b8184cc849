"""Prepare: no leak, same bytes twice, prefixes, strange names, kills, damage, and real text."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mixlab.commands.init import init
from mixlab.commands.prepare import prepare
from mixlab.corpus.embedded import write_embedded_corpus
from mixlab.corpus.inventory import Inventory
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.corpus.prepare.worker import side
from mixlab.corpus.shards import open_shard, slug, token_bytes
from mixlab.corpus.tokenizer import load_tokenizer
from mixlab.errors import ConfigError, CorpusError, WriteError
from mixlab.study.folder import StudyFolder
from mixlab.study.new import write_study

CORPORA = Path(__file__).resolve().parents[3] / "../shared/corpora"


def study(
    root: Path, documents: int = 200, corpus: str = "", extra: str = "", names: tuple[str, ...] = ("a", "b")
) -> StudyFolder:
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, name in enumerate(names):
        rows = [
            {"text": f"{index} document {i}: grüße " + "word " * (i % 40), "id": f"g{i // 4}-{i}"}
            for i in range(documents)
        ]
        (root / f"{index}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lines.append(f"  {json.dumps(name)}: {{paths: {index}.jsonl{extra}}}\n")
    text = "name: s\ndomains:\n" + "".join(lines) + f"corpus: {{validation_fraction: 0.2{corpus}}}\n"
    (root / "study.yaml").write_text(text)
    return StudyFolder.open(root)


def texts(folder: StudyFolder, name: str, split: str) -> list[str]:
    ids = np.asarray(open_shard(folder.corpus, name, split))
    ends = np.flatnonzero(ids == 256)
    return [bytes(part[part < 256].astype(np.uint8)).decode() for part in np.split(ids, ends + 1)[:-1]]


def test_shards_hold_the_text_and_no_group_is_on_both_sides(tmp_path: Path) -> None:
    folder = study(tmp_path, extra=", group_field: id-stem")
    prepared = prepare_corpus(folder)
    assert prepared.built
    group = lambda text: int(text.split()[2][:-1]) // 4  # noqa: E731
    train, validation = texts(folder, "a", "train"), texts(folder, "a", "validation")
    assert len(train) + len(validation) == 200
    assert not {group(t) for t in train} & {group(t) for t in validation}
    facts = prepared.inventory.shards["a"]
    assert facts.train_tokens == facts.train_bytes + len(train)
    assert int(token_bytes(folder.corpus)[open_shard(folder.corpus, "a", "train")].sum()) == facts.train_bytes


def test_copies_are_dropped_before_the_split(tmp_path: Path) -> None:
    folder = study(tmp_path, extra=", group_field: id")
    row = json.dumps({"text": "0 document 0: grüße ", "id": "x"})
    with open(tmp_path / "0.jsonl", "a") as file:
        file.writelines(json.dumps({**json.loads(row), "id": f"x{i}"}) + "\n" for i in range(50))
    inventory = prepare_corpus(folder).inventory
    assert inventory.shards["a"].duplicates == 50
    assert not set(texts(folder, "a", "train")) & set(texts(folder, "a", "validation"))


@pytest.mark.parametrize("corpus", ["", ", tokenizer: bpe, vocab_size: 320"])
def test_a_rebuild_gives_the_same_bytes_and_a_rerun_does_nothing(tmp_path: Path, corpus: str) -> None:
    folder = study(tmp_path, corpus=corpus)
    first = prepare_corpus(folder).inventory
    before = {path.name: path.read_bytes() for path in folder.corpus.iterdir()}
    assert not prepare_corpus(folder).built
    again = prepare_corpus(folder, force=True)
    assert again.built
    assert {path.name: path.read_bytes() for path in folder.corpus.iterdir()} == before
    assert again.inventory.fingerprint == first.fingerprint == Inventory.load(folder.corpus).fingerprint
    with open(tmp_path / "1.jsonl", "a") as file:
        file.write('{"text": "one more", "id": "z-1"}\n')
    changed = prepare_corpus(folder)
    assert changed.built
    assert changed.inventory.fingerprint != first.fingerprint


def test_bpe_tokens_are_counted_in_bytes_and_read_back(tmp_path: Path) -> None:
    folder = study(tmp_path, corpus=", tokenizer: bpe, vocab_size: 320")
    inventory = prepare_corpus(folder).inventory
    assert inventory.vocab_size == 320
    facts = inventory.shards["a"]
    assert int(token_bytes(folder.corpus)[open_shard(folder.corpus, "a", "train")].sum()) == facts.train_bytes
    assert facts.train_tokens < facts.train_bytes / 2
    tokenizer = load_tokenizer(folder.corpus / "tokenizer.json")
    assert tokenizer.hash == inventory.tokenizer


def test_max_bytes_gives_a_prefix(tmp_path: Path) -> None:
    whole, part = study(tmp_path / "w"), study(tmp_path / "p", corpus=", max_bytes: 5K")
    prepare_corpus(whole)
    inventory = prepare_corpus(part).inventory
    facts = inventory.shards["a"]
    assert 4000 < facts.train_bytes + facts.validation_bytes <= 5000
    for split in ("train", "validation"):
        short = open_shard(part.corpus, "a", split)
        np.testing.assert_array_equal(short, open_shard(whole.corpus, "a", split)[: len(short)])


def test_strange_names_are_safe_on_disk(tmp_path: Path) -> None:
    names = ("../x", "<script>", "n" * 300, "Web", "web", "문서", "a.train")
    folder = study(tmp_path / "study", names=names)
    inventory = prepare_corpus(folder).inventory
    assert [domain.name for domain in inventory.domains] == list(names)
    assert len({slug(name) for name in names}) == len(names)
    assert len(list(folder.corpus.glob("*.bin"))) == 2 * len(names)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_an_empty_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="validation side of domain `a` is empty"):
        prepare_corpus(study(tmp_path, documents=1))
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("empty", "hint"),
    [
        ("validation", r"give the domain more documents, or set corpus\.validation_fraction to 0\.\d+"),
        ("train", "give the domain more documents"),
    ],
)
def test_the_hint_for_an_empty_side_fits_it(tmp_path: Path, empty: str, hint: str) -> None:
    folder = study(tmp_path)
    other = {"validation": "train", "train": "validation"}[empty]
    rows = [f"a single text {i}" for i in range(1000)]
    here = [row for row in rows if side(hashlib.sha256(row.encode()).hexdigest(), 0.2) == other][:20]
    (tmp_path / "0.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in here))
    message = (
        rf"the {empty} side of domain `a` is empty .*: documents to split: 20 \(documents read: 20; dropped: none\)"
    )
    with pytest.raises(CorpusError, match=message) as refused:
        prepare_corpus(folder)
    assert re.fullmatch(hint, str(refused.value.hint))


def test_one_group_for_all_is_named_as_the_cause(tmp_path: Path) -> None:
    folder = study(tmp_path, extra=", group_field: id-stem")
    path = tmp_path / "0.jsonl"
    path.write_text(re.sub(r'"id": "g\d+-', '"id": "wiki-', path.read_text()))
    with pytest.raises(CorpusError, match="documents share few groups") as refused:
        prepare_corpus(folder)
    assert refused.value.hint == "choose a group_field with more values, or leave it out"


def test_a_flipped_bit_is_named(tmp_path: Path) -> None:
    folder = study(tmp_path)
    inventory = prepare_corpus(folder).inventory
    path = folder.corpus / "b.train.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"checksum mismatch in shard .*b\.train\.bin"):
        inventory.verify(folder.corpus)
    with pytest.raises(CorpusError, match="checksum mismatch"):
        prepare_corpus(folder)
    path.write_bytes(data[:-2])
    with pytest.raises(CorpusError, match="must have"):
        open_shard(folder.corpus, "b", "train")


# A prepare that is killed where it first comes to a function of its own.
KILLED_AT = """
import os, signal, sys
from mixlab.corpus.prepare import build
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder

root, name = sys.argv[1:]

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if name == "append":
    build.ShardWriter.append = kill
else:
    setattr(build, name, kill)
prepare_corpus(StudyFolder.open(root))
"""


@pytest.mark.parametrize("where", ["append", "_check_sides", "Inventory"])
def test_a_killed_prepare_leaves_no_corpus(tmp_path: Path, where: str) -> None:
    folder = study(tmp_path, documents=2000)
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, str(tmp_path), where], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / ".corpus.building" / "a.train.bin").exists() or where == "append"
    with pytest.raises(CorpusError, match="no prepared corpus"):
        Inventory.load(folder.corpus)
    prepared = prepare_corpus(study(tmp_path, documents=200))
    assert prepared.built
    assert prepared.inventory.shards["a"].documents == 200
    assert not (tmp_path / ".corpus.building").exists()


def test_bad_rows_are_skipped_where_the_caller_says_so(tmp_path: Path) -> None:
    folder = study(tmp_path)
    with open(tmp_path / "1.jsonl", "a") as file:
        file.write("no JSON\n")
    with pytest.raises(CorpusError, match=r"1\.jsonl, row 201: not valid JSON"):
        prepare_corpus(folder)
    prepared = prepare_corpus(folder, on_bad_row="skip")
    assert prepared.inventory.shards["b"].skipped_rows == {"not JSON": 1}
    assert prepared.bytes_read == sum(facts.read_bytes for facts in Inventory.load(folder.corpus).shards.values()) > 0
    data = replace(prepared, samples=0).to_dict()
    assert data["cleaning"]["b"]["skipped"] == {"rows": {"not JSON": 1}, "samples": []}
    assert data["fingerprint"] == prepared.inventory.fingerprint


def test_a_change_of_the_tokenizer_is_noticed_whatever_domains_are_called(tmp_path: Path) -> None:
    prepare_corpus(study(tmp_path / "made", corpus=", tokenizer: bpe, vocab_size: 320"))
    made = (tmp_path / "made" / "corpus" / "tokenizer.json").read_text()
    folder = study(tmp_path / "s", corpus=", tokenizer: own.json", names=("tokenizer", "b"))
    (tmp_path / "s" / "own.json").write_text(made)
    prepare_corpus(folder)
    assert not prepare_corpus(folder).built
    (tmp_path / "s" / "own.json").write_text(made + "\n")
    assert prepare_corpus(folder).built
    with open(tmp_path / "s" / "0.jsonl", "a") as file:
        file.write('{"text": "one more", "id": "z-1"}\n')
    assert prepare_corpus(folder).built


def test_a_corpus_that_cannot_be_written_is_a_failed_write(tmp_path: Path) -> None:
    folder = study(tmp_path)
    folder.corpus_building.write_text("in the way")
    with pytest.raises(WriteError, match="cannot write the corpus") as refused:
        prepare_corpus(folder)
    assert refused.value.exit_code == 1
    assert refused.value.hint


def test_init_and_prepare_commands(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("web[1]", "no"):
        text = "".join(f"{name} paragraph {i} " + "x" * 200 + "\n\n" for i in range(4000))
        (tmp_path / "texts" / f"{name}.txt").write_text(text)
    assert CliRunner().invoke(init, [str(tmp_path)], catch_exceptions=False).exit_code == 0
    with pytest.raises(ConfigError, match="already exists"):
        CliRunner().invoke(init, [str(tmp_path)], catch_exceptions=False)
    result = CliRunner().invoke(prepare, [str(tmp_path), "--json"], catch_exceptions=False)
    assert list(json.loads(result.stdout)["domains"]) == ["no", "web[1]"]
    table = CliRunner().invoke(prepare, [str(tmp_path)], catch_exceptions=False)
    assert "web[1]" in table.stdout
    assert "up to date" in table.stderr


def test_the_embedded_corpus_is_reproducible_and_can_be_prepared(tmp_path: Path) -> None:
    sizes = write_embedded_corpus(tmp_path)
    assert len(sizes) >= 6
    assert min(sizes.values()) > 100_000
    assert max(sizes.values()) > 2 * min(sizes.values())
    before = {path.name: path.read_bytes() for path in (tmp_path / "texts").iterdir()}
    write_embedded_corpus(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "texts").iterdir()} == before
    path = write_study(tmp_path, {name: tmp_path / "texts" / f"{name}.jsonl.gz" for name in sizes})
    path.write_text(path.read_text().replace("# max_bytes: 50M ", "max_bytes: 1M # "))
    inventory = prepare_corpus(StudyFolder.open(tmp_path)).inventory
    assert all(facts.validation_tokens > 3_000 for facts in inventory.shards.values())


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")
def test_real_corpora(tmp_path: Path) -> None:
    names = ["books", "code", "math", "legal", "reviews", "multilingual"]
    domains = {name: (CORPORA / f"{name}.jsonl.gz").resolve() for name in names}
    path = write_study(tmp_path, domains)
    text = path.read_text().replace("# max_bytes: 50M ", "max_bytes: 2M # ")
    path.write_text(text)
    inventory = prepare_corpus(StudyFolder.open(tmp_path)).inventory
    for facts in inventory.shards.values():
        assert 1_900_000 < facts.train_bytes + facts.validation_bytes <= 2_000_000
        assert 0.02 < facts.validation_bytes / facts.train_bytes < 0.1
