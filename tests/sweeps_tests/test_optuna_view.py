"""The Optuna view: every storage and sampler gives the same, and it follows the ledger whatever it holds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner
from optuna.storages import BaseStorage, InMemoryStorage

from mixlab.commands.sweep import sweep
from mixlab.errors import SweepError
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.study.folder import StudyFolder
from sweeps.ledger import read_ledger
from sweeps.optuna_view import OptunaView
from sweeps.rounds import Round, read_round

SPACE = MixtureSpace((Domain("a", 1e6), Domain("b", 2e6), Domain("c", 3e4)), {"a": 0.05}, {"b": 0.7}, max_epochs=4)
TOKENS = 4e5  # at which `c` is capped
BEST = Mixture({"a": 0.5, "b": 0.3, "c": 0.2})

# Each makes a storage in a folder; called again it gives what lies there.
STORAGES: dict[str, Callable[[Path], str | Path | BaseStorage]] = {
    "own file": lambda root: root / "optuna.db",
    "URL": lambda root: f"sqlite:///{root / 'other.db'}",
    "journal": lambda root: f"journal:{root / 'journal.log'}",
    "in memory": lambda root: MEMORY.setdefault(root, InMemoryStorage()),
}
MEMORY: dict[Path, InMemoryStorage] = {}
SAMPLERS = ("tpe", "gp")


def open_view(storage: str | Path | BaseStorage, sampler: str = "tpe", seed: int = 3) -> OptunaView:
    return OptunaView("planted", storage, SPACE, TOKENS, sampler, seed)


def loss_of(mixture: Mixture) -> float:
    return 2.0 + float(np.sum((mixture.array(SPACE.names) - BEST.array(SPACE.names)) ** 2))


def first_mixtures(count: int = 12) -> list[Mixture]:
    points = SPACE.project(np.random.default_rng(1).dirichlet(np.ones(3), count), TOKENS)
    return [Mixture.from_array(SPACE.names, point) for point in points]


def told(mixtures: list[Mixture]) -> dict[Mixture, float | None]:
    return {mixture: loss_of(mixture) for mixture in mixtures}


def close(found: list[Mixture], expected: list[Mixture]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(np.allclose(one.array(SPACE.names), two.array(SPACE.names), atol=1e-9) for one, two in pairs)


@cache
def uninterrupted(sampler: str) -> tuple[list[Mixture], list[Mixture]]:
    """Some mixtures, and two that are proposed after them (a second or so each, by `gp`)."""
    view, mixtures = open_view(InMemoryStorage(), sampler), first_mixtures()
    view.follow(told(mixtures))
    return mixtures, view.propose(2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # `gp` fits matrices of a dozen rows, for which threads only wait


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("storage", "sampler"), [*((name, "tpe") for name in STORAGES), ("own file", "gp")])
def test_every_storage_resumes_and_proposes_what_an_uninterrupted_study_does(
    storage: str, sampler: str, tmp_path: Path
) -> None:
    mixtures, expected = uninterrupted(sampler)
    assert len(set(expected) | set(mixtures)) == len(mixtures) + 2  # all new
    assert all(SPACE.contains(mixture, TOKENS) for mixture in expected)
    make = STORAGES[storage]
    open_view(make(tmp_path), sampler).follow(dict.fromkeys(mixtures))  # killed before any was over
    open_view(make(tmp_path), sampler).follow(told(mixtures))
    assert close(open_view(make(tmp_path), sampler).propose(1), expected[:1])  # killed before this was kept
    resumed = open_view(make(tmp_path), sampler)
    proposals = resumed.propose(2)
    assert close(proposals, expected)
    resumed.follow(told([*mixtures, *proposals]))
    again = open_view(make(tmp_path), sampler)
    assert list(again.losses) == [*mixtures, *proposals]  # to the last bit
    assert list(again.losses.values()) == [loss_of(mixture) for mixture in (*mixtures, *proposals)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_of_a_sampler_are_better_than_chance(sampler: str) -> None:
    view, mixtures = open_view(InMemoryStorage(), sampler), first_mixtures()
    for _ in range(3):
        view.follow(told(mixtures))
        mixtures += view.propose(2)
    losses = [loss_of(mixture) for mixture in mixtures]
    assert len(set(mixtures)) == 12 + 6
    assert np.mean(losses[12:]) < np.mean(losses[:12])


def test_a_run_that_went_wrong_is_a_failed_trial(storage: str, tmp_path: Path) -> None:
    view, mixtures = open_view(STORAGES[storage](tmp_path)), first_mixtures(3)
    view.follow({mixtures[0]: 2.0, mixtures[1]: float("nan"), mixtures[2]: None})
    assert view.losses == {mixtures[0]: 2.0}
    assert open_view(STORAGES[storage](tmp_path)).propose(1) == [mixtures[2]]  # which alone still runs


def test_an_own_file_that_holds_other_losses_is_built_anew(tmp_path: Path) -> None:
    mixtures = first_mixtures(4)
    view = open_view(tmp_path / "optuna.db")
    view.follow(dict.fromkeys(mixtures, 9.0))  # of another objective
    view.follow(told(mixtures))
    assert view.losses == told(mixtures)
    assert open_view(tmp_path / "optuna.db").losses == told(mixtures)


@pytest.mark.parametrize("name", ["URL", "journal"])
def test_a_shared_storage_that_holds_other_losses_is_not_touched(name: str, tmp_path: Path) -> None:
    mixtures = first_mixtures(4)
    other = dict.fromkeys(mixtures, 9.0)
    open_view(STORAGES[name](tmp_path)).follow(other)
    with pytest.raises(SweepError, match="holds other losses than the ledger"):
        open_view(STORAGES[name](tmp_path)).follow(told(mixtures))
    assert open_view(STORAGES[name](tmp_path)).losses == other


@pytest.mark.parametrize(
    "storage", ["sqlite:////no/such/folder/optuna.db", "nonsense://somewhere", "journal:/no/such/j"]
)
def test_a_storage_that_cannot_be_reached_is_named(storage: str) -> None:
    with pytest.raises(SweepError, match="cannot use the Optuna storage") as caught:
        open_view(storage)
    assert storage in caught.value.message


def test_a_damaged_own_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SweepError) as caught:
        open_view(tmp_path / "optuna.db")
    assert "optuna.db may be deleted" in (caught.value.hint or "")


def invoke(folder: StudyFolder, *options: str) -> dict[str, Any]:
    arguments = [str(folder.root), "--executor", "serial", "--json", *options]
    data: dict[str, Any] = json.loads(CliRunner().invoke(sweep, arguments, catch_exceptions=False).stdout)
    return data


def trials_in(url: str | BaseStorage) -> list[float]:
    return sorted(trial.value for trial in optuna.load_study(study_name="tiny", storage=url).trials if trial.value)


def test_a_sweep_keeps_its_view_where_storage_says(swept_folder: StudyFolder) -> None:
    url = f"sqlite:///{swept_folder.root / 'elsewhere.db'}"
    for _ in range(2):
        invoke(swept_folder, "--storage", url)
    assert len(trials_in(url)) == 7
    own = f"sqlite:///{swept_folder.optuna}"
    assert trials_in(own) == trials_in(url)


def test_the_view_is_rebuilt_from_the_ledger(swept_folder: StudyFolder) -> None:
    invoke(swept_folder)
    own = f"sqlite:///{swept_folder.optuna}"
    before = trials_in(own)
    losses = [record.points[-1].losses for record in read_ledger(swept_folder.ledger).records.values()]
    totals = [0.6 * loss["count"] + 0.4 * loss["words"] for loss in losses]
    assert len(before) == 7
    assert all(any(value == pytest.approx(total) for total in totals) for value in before)
    swept_folder.optuna.unlink()
    invoke(swept_folder)
    assert trials_in(own) == before
    with sqlite3.connect(swept_folder.optuna) as database:
        database.execute("update trial_values set value = value + 1")
    invoke(swept_folder)
    assert trials_in(own) == before


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_whose_driver_is_killed_after_proposing_keeps_the_same_mixtures(
    swept_folder: StudyFolder, sampler: str
) -> None:
    text = swept_folder.config_file.read_text()
    swept_folder.config_file.write_text(text.replace("rounds: 1", f"rounds: 2\n  proposals: 2\n  sampler: {sampler}"))
    kept = swept_folder.round_file(1)
    # Killed at the very moment when the round would be kept: it asked, and nothing knows what.
    script = (
        "import os, signal, sys\n"
        "import sweeps.rounds\n"
        "from click.testing import CliRunner\n"
        "from mixlab.commands.sweep import sweep\n"
        "sweeps.rounds.write_json = lambda path, data: os.kill(os.getpid(), signal.SIGKILL)\n"
        "CliRunner().invoke(sweep, [sys.argv[1], '--executor', 'serial'])\n"
    )
    subprocess.run([sys.executable, "-c", script, str(swept_folder.root)], check=False)
    assert not kept.exists()
    assert invoke(swept_folder)["failed"] == 0
    resumed = read_round(kept)
    kept.unlink()
    swept_folder.optuna.unlink()
    invoke(swept_folder)
    again = read_round(kept)
    assert isinstance(resumed, Round)
    assert isinstance(again, Round)
    assert again.asks == resumed.asks
