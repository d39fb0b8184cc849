"""A small prepared study: two domains with plain patterns, three sizes, two budgets."""

from __future__ import annotations

import faulthandler
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, run_sweep
from sweeps.executors.local import LocalExecutor
from sweeps.executors.work import Work
from sweeps.tracking import NoTracker

STUDY = """
name: tiny
seed: 3
domains:
  count: count.jsonl
  words: words.jsonl
  noise: noise.jsonl
objective: {count: 0.6, words: 0.4}
corpus: {validation_fraction: 0.2}
mixtures: {prior: uniform, max_epochs: 100}
proxies: {sizes: [6K, 14K, 25K], context: 32, eval_tokens: 500, batch_tokens: 64, min_tokens_per_param: 0}
sweep:
  budgets: ["4e8", "8e8", "1.6e9"]
  mixtures: 7
  sizes_per_mixture: 2
  replicates: 2
  workers: 2
  rounds: 1
"""

EXIT_SECONDS = 60.0  # after the last test: Python waits for threads for ever, and a hung executor may have left some


def pytest_unconfigure(config: pytest.Config) -> None:
    """The suite ends even where a thread does not, and says where that is; a worker of xdist waits to be ended."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)


def write_texts(root: Path) -> None:
    rng = random.Random(0)

    def counting() -> str:
        start = rng.randrange(100)
        return " ".join(str(number) for number in range(start, start + 60))

    texts = {
        "count": counting,
        "words": lambda: " ".join(rng.choice(["alpha", "beta", "gamma", "delta"]) for _ in range(40)),
        "noise": lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(200)),
    }
    for name, make in texts.items():
        lines = [json.dumps({"text": make(), "id": f"{name}-{i}"}) for i in range(120)]
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was prepared, to copy from."""
    root = tmp_path_factory.mktemp("prepared")
    write_texts(root)
    (root / "study.yaml").write_text(STUDY)
    prepare_corpus(StudyFolder.open(root))
    return root


@pytest.fixture
def study_folder(prepared_once: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Prepared, not swept."""
    root = tmp_path_factory.mktemp("study")
    shutil.copytree(prepared_once, root, dirs_exist_ok=True)
    return StudyFolder.open(root)


@pytest.fixture(scope="session")
def swept_once(prepared_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was swept, to copy from."""
    root = tmp_path_factory.mktemp("swept")
    shutil.copytree(prepared_once, root, dirs_exist_ok=True)
    folder = StudyFolder.open(root)
    run_sweep(folder, LocalExecutor(replace(Work.of(folder), checkpoints=None), 2), NoTracker(), Watcher())
    return root


@pytest.fixture
def swept_folder(swept_once: Path, tmp_path: Path) -> StudyFolder:
    """A fresh copy of a swept study."""
    shutil.copytree(swept_once, tmp_path / "study")
    return StudyFolder.open(tmp_path / "study")
