"""Work in processes: any number of workers and of kills gives the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mixlab.corpus.parallel import WorkerLostError, ordered_map
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder

# A prepare that is killed when the second block of a stage has come back from its workers, whose pids it tells first.
KILLED = """
import os, signal, sys
import mixlab.corpus.prepare.blocks
from mixlab.corpus.prepare import build
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder

root, stage = sys.argv[1:]
left = 2

def count():
    global left
    left -= 1
    if not left:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            print(children.read(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

def read_tokens(path, read=build.read_tokens):
    if stage == "tokens":
        count()
    return read(path)

if __name__ == "__main__":
    mixlab.corpus.prepare.blocks.BLOCK_BYTES = 20_000
    build.read_tokens = read_tokens
    prepare_corpus(StudyFolder.open(root), progress=lambda *_: stage == "clean" and count(), workers=2)
"""


def rows(seed: int, count: int) -> str:
    """Documents of random words; some are copies, some nearly, and a notice stands in all."""
    random_ = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        words = [f"{random_.choice('bcdfgh')}{random_.choice('aeiou')}{random_.randrange(300)}" for _ in range(90)]
        if texts and random_.random() < 0.1:
            words = random_.choice(texts).split()[:90]
            words[random_.randrange(90)] = "other"
        texts.append(" ".join(words))
    notice = "\nAll rights reserved by the people who wrote this."
    return "".join(json.dumps({"text": text + notice, "id": f"{at // 3}-{at}"}) + "\n" for at, text in enumerate(texts))


def study(root: Path, documents: int = 600, tokenizer: str = "byte") -> StudyFolder:
    root.mkdir(parents=True, exist_ok=True)
    for number in (0, 1):
        (root / f"{number}.jsonl").write_text(rows(number, documents))
    config = {
        "name": "s",
        "domains": {f"d{number}": {"paths": f"{number}.jsonl", "group_field": "id-stem"} for number in (0, 1)},
        "corpus": {
            "tokenizer": tokenizer,
            "vocab_size": 300,
            "validation_fraction": 0.2,
            "cleaning": {"normalise": True, "exact": "corpus", "lines": {}, "near": {}, "quality": {"min_words": 5}},
        },
    }
    (root / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return StudyFolder.open(root)


def contents(folder: StudyFolder) -> dict[str, bytes]:
    """All files of a corpus but the list of sources, which holds paths and times."""
    return {path.name: path.read_bytes() for path in folder.corpus.iterdir() if path.name != "sources.json"}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixlab.corpus.prepare.blocks.BLOCK_BYTES", 20_000)


@pytest.mark.usefixtures("small_blocks")
def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    folder = study(tmp_path, documents=400, tokenizer="bpe")
    prepare_corpus(folder, workers=1)
    one = contents(folder)
    facts = json.loads(one["inventory.json"])["domains"]["d0"]
    assert facts["dropped"]["near"] > 10
    prepare_corpus(folder, force=True, workers=2)
    assert contents(folder) == one
    assert not (tmp_path / ".corpus.building").exists()


@pytest.mark.usefixtures("small_blocks")
def test_the_size_of_blocks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(tmp_path, documents=200)
    prepare_corpus(folder, workers=1)
    small = contents(folder)
    monkeypatch.setattr("mixlab.corpus.prepare.blocks.BLOCK_BYTES", 1 << 21)
    monkeypatch.setattr("mixlab.corpus.clean.cleaned.CHUNK_CHARACTERS", 5000)
    prepare_corpus(folder, force=True, workers=1)
    assert contents(folder) == small


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = study(tmp_path_factory.mktemp("whole"), documents=1500, tokenizer="bpe")
    prepare_corpus(folder, workers=1)
    return contents(folder)


def is_alive(pid: str) -> bool:
    try:
        return bool(Path("/proc", pid, "cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):  # it may end between opening and reading
        return False


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("stage", ["clean", "tokens"])
def test_a_killed_prepare_goes_on_to_the_same_bytes(
    tmp_path: Path, stage: str, uninterrupted: dict[str, bytes]
) -> None:
    folder = study(tmp_path, documents=1500, tokenizer="bpe")
    command = [sys.executable, "-c", KILLED, str(folder.root), stage]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    workers = killed.stdout.split()
    assert workers
    blocks = folder.root / ".corpus.building" / "blocks"
    left = {path: path.stat().st_mtime_ns for path in blocks.glob("*.clean")}
    assert left
    assert not (folder.root / "corpus").exists()
    while any(map(is_alive, workers)):
        time.sleep(0.02)  # a worker that outlives the process that feeds it ends in the test's time-out
    written: list[Path] = []
    original = os.replace

    def replace(source: Path, target: Path) -> None:
        written.append(Path(target))
        original(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixlab.corpus.prepare.block_files.os.replace", replace)
        prepare_corpus(folder, workers=1)
    assert not set(left) & set(written), "finished blocks are worked on again"
    assert contents(folder) == uninterrupted


def test_other_text_does_not_go_on_from_what_is_left(tmp_path: Path) -> None:
    folder = study(tmp_path, documents=100)
    left = tmp_path / ".corpus.building" / "blocks"
    left.mkdir(parents=True)
    (left / "d0.000000.clean").write_bytes(b"of something else")
    (left.parent / "sources.json").write_text("{}")
    inventory = prepare_corpus(folder, workers=1).inventory
    assert inventory.shards["d0"].read_documents == 100


def number_of(state: int, item: int) -> int:
    if item == state:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * 2


def test_results_come_in_order() -> None:
    assert list(ordered_map(number_of, range(40), 2, int, -1)) == list(range(0, 80, 2))


def test_a_killed_worker_is_an_error_that_says_so() -> None:
    with pytest.raises(WorkerLostError, match="a worker process was killed"):
        list(ordered_map(number_of, range(40), 2, int, 7))
