"""What every tracker owes the driver, read back from what it left on disk; and what the driver owes a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.hooked_specs import wait_until

from mixlab.errors import ConfigError
from mixlab.objective import Objective
from mixlab.runs.specs import RunRecord
from mixlab.study.config import TrackingConfig
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, make_runs
from sweeps.executors.serial import SerialExecutor
from sweeps.executors.work import Work
from sweeps.ledger import Ledger, read_ledger
from sweeps.plan import open_plan
from sweeps.proposals import first_specs
from sweeps.tracking import NoTracker, make_tracker

BLOCK = 32768  # bytes
Logged = tuple[dict[str, Any], list[dict[str, Any]]]  # a run's config, and its steps


def transaction_log(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format, of records in pieces that fill blocks, after 7 bytes."""
    data, at, record = path.read_bytes(), 7, b""
    assert not data or data.startswith(b":W&B")
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # a piece's head does not cross blocks
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + length > len(data):  # it is being written
            return
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or a last piece
            yield record
            record = b""


def records_of(path: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    for content in transaction_log(path):
        record = Record()
        record.ParseFromString(content)
        yield record


def is_whole(folder: Path) -> bool:
    """Whether W&B's process, which closes a run's file after our call is over, has done so."""
    return any(record.HasField("exit") for path in folder.glob("*.wandb") for record in records_of(path))


def read_wandb(root: Path) -> dict[str, Logged]:
    """What W&B's own records in a folder say, by run id."""
    wait_until(lambda: all(is_whole(folder) for folder in root.glob("wandb/offline-run-*")))
    runs: dict[str, Logged] = {}
    for path in sorted(root.glob("wandb/offline-run-*/*.wandb")):
        for record in records_of(path):
            if record.HasField("run"):
                config = {update.key: json.loads(update.value_json) for update in record.run.config.update}
                assert record.run.run_id not in runs, "logged twice"
                runs[record.run.run_id] = config | {"group": record.run.run_group}, []
                last = runs[record.run.run_id]
            elif record.HasField("history"):
                last[1].append(
                    {
                        (item.key or ".".join(item.nested_key)): json.loads(item.value_json)
                        for item in record.history.item
                    }
                )
    return runs


def read_nothing(root: Path) -> dict[str, Logged]:
    assert not (root / "wandb").exists()
    return {}


# How what a tracker left can be read back, by the setting that asks for it.
READERS: dict[str, Callable[[Path], dict[str, Logged]]] = {"disabled": read_nothing, "offline": read_wandb}


@pytest.mark.parametrize("setting", READERS)
def test_every_finished_run_is_logged_once_with_all_that_it_was_and_came_to(
    study_folder: StudyFolder, setting: str
) -> None:
    plan = open_plan(study_folder)
    specs = first_specs(plan)[:2]
    broken = first_specs(plan)[2]
    objective = plan.facts.objective
    config = TrackingConfig.model_validate({"wandb": setting})
    executor = SerialExecutor(Work.of(study_folder))
    with Ledger.hold(study_folder.ledger) as ledger:
        ledger.write(RunRecord(spec=broken, status="failed", error="planned"))
        tracker = make_tracker(config, plan.config.name, study_folder.root)
        for _ in range(2):  # nothing is new the second time
            make_runs(specs, ledger, executor, tracker, Watcher(), objective)
    logged = READERS[setting](study_folder.root)
    if setting == "disabled":
        return
    records = {spec.run_id: read_ledger(study_folder.ledger).records[spec.run_id] for spec in specs}
    assert set(logged) == set(records)
    for run_id, (about, steps) in logged.items():
        record = records[run_id]
        assert about["mixture"] == dict(record.spec.mixture)
        assert (about["seed"], about["params"]) == (record.spec.seed, record.spec.shape.params)
        assert (about["status"], about["group"]) == ("done", "tiny")
        assert len(steps) == len(record.points)
        for step, point in zip(steps, record.points, strict=True):
            assert {name: step[f"loss.{name}"] for name in point.losses} == point.losses
            assert step["loss"] == pytest.approx(0.6 * point.losses["count"] + 0.4 * point.losses["words"])
            assert (step["tokens"], step["flops"]) == (point.tokens, point.flops)


def test_a_tracker_that_raises_costs_its_log_and_not_the_run(study_folder: StudyFolder) -> None:
    class Unreachable:
        def log(self, record: RunRecord, objective: Objective) -> None:
            raise ConnectionError("no route to host")

    class Listener(Watcher):
        def __init__(self) -> None:
            self.warnings: list[str] = []
            self.finished_runs: list[str] = []

        def warn(self, message: str) -> None:
            self.warnings.append(message)

        def finished(self, record: RunRecord) -> None:
            self.finished_runs.append(record.run_id)

    plan, listener = open_plan(study_folder), Listener()
    specs = first_specs(plan)[:2]
    with Ledger.hold(study_folder.ledger) as ledger:
        executor = SerialExecutor(Work.of(study_folder))
        make_runs(specs, ledger, executor, Unreachable(), listener, plan.facts.objective)
    assert {record.status for record in read_ledger(study_folder.ledger).records.values()} == {"done"}
    assert sorted(listener.finished_runs) == sorted(spec.run_id for spec in specs)
    assert len(listener.warnings) == 2
    for spec, warning in zip(sorted(specs, key=lambda s: s.run_id), sorted(listener.warnings), strict=True):
        assert warning == (
            f"run {spec.run_id} is in the ledger, but could not be logged: ConnectionError: no route to host"
        )


def test_without_tracking_wandb_is_not_even_asked(tmp_path: Path) -> None:
    assert isinstance(make_tracker(TrackingConfig(), "tiny", tmp_path), NoTracker)


def test_online_without_an_account_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no.netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no account is set up"):
        make_tracker(TrackingConfig(wandb="online"), "tiny", tmp_path)
