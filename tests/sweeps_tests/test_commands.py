"""`sweep --plan` and `status`: what will run, what it costs, what is done; nothing starts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from mixlab.commands.status import status
from mixlab.commands.sweep import sweep
from mixlab.errors import ConfigError
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from proxies.training.checkpoint import kept_bytes
from proxies.training.texts import open_texts
from proxies.training.train import train_run
from sweeps.executors.registry import EXECUTORS
from sweeps.executors.serial import SerialExecutor
from sweeps.executors.work import Work
from sweeps.plan import evaluation_flops, open_plan
from sweeps.proposals import first_specs
from sweeps.status import sweep_status


def run(command: Any, *args: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(CliRunner().invoke(command, [*args, "--json"], catch_exceptions=False).stdout)
    return data


def test_a_plan_is_costed_and_starts_nothing(study_folder: StudyFolder) -> None:
    plan = run(sweep, str(study_folder.root), "--plan")
    specs = first_specs(open_plan(study_folder))
    assert (plan["runs"], plan["left"], plan["done"]) == (len(specs), len(specs), 0)
    assert plan["points"] == sum(len(spec.tokens) for spec in specs)
    assert plan["flops"] == plan["flops_left"] == pytest.approx(sum(spec.flops for spec in specs))
    assert 0 < plan["seconds_left"] < math.inf
    assert not study_folder.ledger.exists()


def test_a_plan_counts_on_the_trunks_that_are_kept(study_folder: StudyFolder) -> None:
    spec = first_specs(open_plan(study_folder))[0]
    shorter = replace(spec, tokens=spec.tokens[:-1])
    backend = Work.of(study_folder).backend
    train_run(shorter, open_texts(study_folder.corpus), backend, checkpoints=study_folder.checkpoints)
    kept = sum(path.stat().st_size for path in study_folder.checkpoints.iterdir())
    assert kept_bytes(shorter) < kept < 1.5 * kept_bytes(shorter)
    plan = run(sweep, str(study_folder.root), "--plan")
    assert plan["flops"] - plan["flops_left"] == pytest.approx(shorter.flops)


def test_a_finished_sweep_leaves_nothing_to_do(swept_folder: StudyFolder) -> None:
    state = run(status, str(swept_folder.root))
    assert state["done"] == state["runs"]
    assert (state["left"], state["failed"], state["seconds_left"]) == (0, 0, 0.0)
    text = CliRunner().invoke(status, [str(swept_folder.root)], catch_exceptions=False).stdout
    assert "0 left, 0 failed, 0 diverged" in text


def test_a_plan_is_that_of_the_chosen_executor(study_folder: StudyFolder) -> None:
    assert run(sweep, str(study_folder.root), "--plan", "--executor", "serial")["workers"] == 1
    assert run(sweep, str(study_folder.root), "--plan", "--workers", "3")["workers"] == 3
    refused = CliRunner().invoke(sweep, [str(study_folder.root), "--plan", "--executor", "serial", "--workers", "3"])
    assert isinstance(refused.exception, ConfigError)
    assert "has 1 worker, but 3 were asked for" in refused.exception.message


class Planted(SerialExecutor):
    """A machine of known speed."""

    def rates(self, specs: Sequence[RunSpec]) -> list[float]:
        return [1e6 * spec.shape.depth for spec in specs]


def test_the_time_of_a_plan_follows_from_the_executors_own_rates(
    study_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXECUTORS, "planted", lambda folder, workers: Planted(Work.of(folder), 5))
    state = sweep_status(study_folder, executor="planted")
    specs = first_specs(state.plan)
    seconds = [(spec.flops + evaluation_flops(spec, 3)) / (1e6 * spec.shape.depth) for spec in specs]
    assert state.seconds_left == pytest.approx(sum(seconds))
    assert state.workers == 5
    assert state.plan.config.name in state.summary()
    frame = state.to_frame()
    assert list(frame["flops"]) == [4e8, 8e8, 1.6e9] * 3
    assert list(frame["tokens"]) == [tokens for counts in state.plan.tokens for tokens in counts]


def test_an_executor_that_there_is_not_is_refused_by_the_nearest_name(study_folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match="no executor `loacl`") as caught:
        sweep_status(study_folder, executor="loacl")
    assert caught.value.hint == "did you mean `local`?"
