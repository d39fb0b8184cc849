"""`sweep --plan` and `status`: what will run, what it costs, what is done; nothing starts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from mixlab.study.folder import StudyFolder
from proxies.training.checkpoint import kept_bytes
from proxies.training.texts import open_texts
from proxies.training.train import train_run
from sweeps.commands import status, sweep
from sweeps.plan import open_plan
from sweeps.proposals import first_specs


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
    train_run(shorter, open_texts(study_folder.corpus), checkpoints=study_folder.checkpoints)
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
