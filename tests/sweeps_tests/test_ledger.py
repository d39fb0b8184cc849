"""The ledger: what was changed is noticed, nothing is lost or overwritten, and the folder is read once."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixlab.errors import SweepError
from mixlab.runs import specs
from mixlab.runs.specs import RunRecord
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, run_sweep
from sweeps.executors.local import LocalExecutor
from sweeps.executors.serial import SerialExecutor
from sweeps.executors.work import Work
from sweeps.ledger import Ledger, read_ledger
from sweeps.sealing import RECORD_FORMAT, DamagedError, check_values
from sweeps.tracking import NoTracker


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the plain values of a JSON document are."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def changed(data: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """A copy with one value changed a little."""
    data = copy.deepcopy(data)
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    old = inner[path[-1]]
    if isinstance(old, bool) or old is None:
        inner[path[-1]] = not old
    elif isinstance(old, (int, float)):
        inner[path[-1]] = old + 1 if isinstance(old, int) else old * (1 + 1e-9) + 1e-12
    else:
        inner[path[-1]] = old[:-1] + chr(ord(old[-1]) ^ 1)
    return data


def test_a_change_of_any_single_value_is_noticed(swept_folder: StudyFolder) -> None:
    path = min(swept_folder.ledger.glob("*.json"))
    whole = json.loads(path.read_bytes())
    places = list(leaves(whole))
    assert len(places) > 60
    for place in places:
        path.write_text(json.dumps(changed(whole, place)))
        reading = read_ledger(swept_folder.ledger)
        assert path.stem not in reading.records, place
        # Another number of format is a record of another mixlab; all else is damage.
        assert (path in reading.damaged) != (path in reading.foreign) == (place == ("format",)), place
    path.write_text(json.dumps(whole, sort_keys=True))  # laid out otherwise, but with the same values
    assert path.stem in read_ledger(swept_folder.ledger).records


def test_a_damaged_record_is_named_set_aside_and_made_again(swept_folder: StudyFolder) -> None:
    path = min(swept_folder.ledger.glob("*.json"))
    whole = path.read_bytes()
    for count in range(3):  # again and again under the same name: none of them is lost
        torn = whole[: 100 + count]
        path.write_bytes(torn)
        with Ledger.hold(swept_folder.ledger) as ledger:
            aside = path.with_suffix(f".{count}.damaged" if count else ".damaged")
            assert aside.read_bytes() == torn
            assert len(ledger.warnings) == 1
            assert path.name in ledger.warnings[0]
            assert aside.name in ledger.warnings[0]
            assert path.stem not in ledger.records
        assert not path.exists()
    assert path.with_suffix(".damaged").read_bytes() == whole[:100]


def test_who_only_looks_changes_nothing(swept_folder: StudyFolder) -> None:
    path = min(swept_folder.ledger.glob("*.json"))
    path.write_bytes(path.read_bytes()[:100])
    before = {file.name: file.read_bytes() for file in swept_folder.ledger.iterdir()}
    reading = read_ledger(swept_folder.ledger)
    assert list(reading.damaged) == [path]
    assert path.name in reading.warnings[0]
    assert before == {file.name: file.read_bytes() for file in swept_folder.ledger.iterdir()}


def test_records_of_another_version_are_left_alone(swept_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    files = set(swept_folder.ledger.glob("*.json"))
    monkeypatch.setattr(specs, "SPEC_VERSION", specs.SPEC_VERSION + 1)
    reading = read_ledger(swept_folder.ledger)
    assert not reading.records
    assert reading.warnings == [
        f"{len(files)} records in {swept_folder.ledger} are of another version of mixlab, which trains differently: "
        "they stay there, and are not used"
    ]
    with Ledger.hold(swept_folder.ledger) as ledger:
        assert ledger.warnings == reading.warnings
    assert set(swept_folder.ledger.glob("*.json")) == files


def test_a_record_of_a_later_format_is_not_overwritten(swept_folder: StudyFolder) -> None:
    path = min(swept_folder.ledger.glob("*.json"))
    record = read_ledger(swept_folder.ledger).records[path.stem]
    later = json.dumps({"format": RECORD_FORMAT + 1, "run_id": path.stem, "everything": "differs"}).encode()
    for aside in (path.with_suffix(".foreign"), path.with_suffix(".1.foreign")):
        path.write_bytes(later)
        with Ledger.hold(swept_folder.ledger) as ledger:
            assert path.read_bytes() == later  # it stays until its name is needed
            ledger.write(record)
        assert aside.read_bytes() == later
        assert read_ledger(swept_folder.ledger).records[path.stem] == record


def test_a_failed_record_is_followed_by_the_next(swept_folder: StudyFolder) -> None:
    path = min(swept_folder.ledger.glob("*.json"))
    done = read_ledger(swept_folder.ledger).records[path.stem]
    with Ledger.hold(swept_folder.ledger) as ledger:
        ledger.write(RunRecord(spec=done.spec, status="failed", error="for a test"))
        assert ledger.records[path.stem].status == "failed"
        ledger.write(done)
    assert read_ledger(swept_folder.ledger).records[path.stem] == done
    assert not [name for name in os.listdir(swept_folder.ledger) if name.endswith((".damaged", ".foreign"))]


def test_records_without_a_digest_are_used_and_get_one(swept_folder: StudyFolder) -> None:
    sealed = {path: path.read_bytes() for path in swept_folder.ledger.glob("*.json")}
    for path, text in sealed.items():
        data = json.loads(text)
        del data["format"], data["sha256"]
        path.write_text(json.dumps(data))
    reading = read_ledger(swept_folder.ledger)
    assert len(reading.records) == len(reading.unsealed) == len(sealed)
    with Ledger.hold(swept_folder.ledger) as ledger:
        assert len(ledger.warnings) == 1
        assert ledger.warnings[0].startswith(f"{len(sealed)} records in ")
        assert "before records had digests" in ledger.warnings[0]
    assert sealed == {path: path.read_bytes() for path in swept_folder.ledger.glob("*.json")}
    assert not read_ledger(swept_folder.ledger).warnings


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "finished"),
        (("points", 0, "losses", "count"), float("nan")),
        (("points", 1, "losses", "count"), float("inf")),
        (("points", 0, "losses", "count"), -0.1),
        (("points", 0, "losses", "count"), "2.1"),
        (("points", 0, "losses", "count"), None),
        (("points", 0, "tokens"), 7),
        (("points", 0, "flops"), 0.0),
        (("points", 0, "realised", "count"), 10**9),
        (("points", 0, "losses"), {"count": 1.0}),
        (("points",), []),
        (("error",), "but it is done"),
        (("attempts",), 0),
        (("wall_seconds",), -1.0),
        (("spec", "mixture"), {"count": 0.5, "words": 0.4}),
        (("spec", "seed"), 12345),
        (("spec",), []),
    ],
)
def test_values_that_no_run_can_have_are_noticed_without_a_digest(
    swept_folder: StudyFolder, path: tuple[Any, ...], value: Any
) -> None:
    file = min(swept_folder.ledger.glob("*.json"))
    data = json.loads(file.read_bytes())
    del data["format"], data["sha256"]
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(data))
    reading = read_ledger(swept_folder.ledger)
    assert file.stem not in reading.records
    # What another version's hash came to cannot be told from a spec that was changed: such a file stays.
    assert file in (reading.foreign if path == ("spec", "seed") else reading.damaged)


def test_points_out_of_order_are_noticed(swept_folder: StudyFolder) -> None:
    record = next(iter(read_ledger(swept_folder.ledger).records.values()))
    turned = RunRecord(spec=record.spec, status="done", points=record.points[::-1])
    with pytest.raises(DamagedError, match="its points are at"):
        check_values(turned)


class Opened:
    """Counts how often each record of a ledger is opened to be read, by Python's own audit events."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.counts: Counter[str] = Counter()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.root is not None and isinstance(arguments[0], (str, Path)):
            path = Path(arguments[0])
            if path.parent == self.root and path.suffix == ".json" and "r" in str(arguments[1] or "r"):
                self.counts[path.name] += 1


def test_a_sweep_of_several_rounds_reads_each_record_at_most_once(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text().replace("rounds: 1", "rounds: 3\n  proposals: 1")
    swept_folder.config_file.write_text(text + "target: {flops: 4e9, law: effective-data}\n")
    folder = StudyFolder.open(swept_folder.root)
    before = {path.name for path in folder.ledger.glob("*.json")}
    opened = Opened()
    opened.root = folder.ledger
    try:
        run_sweep(folder, LocalExecutor(Work.of(folder), 2), NoTracker(), Watcher())
    finally:
        opened.root = None
    assert len(list(folder.ledger.glob("*.json"))) > len(before)
    assert opened.counts == dict.fromkeys(before, 1)


def test_a_sweep_makes_what_was_set_aside_again_and_comes_to_the_same(swept_folder: StudyFolder) -> None:
    folder = swept_folder
    before = {run_id: record.points for run_id, record in read_ledger(folder.ledger).records.items()}
    first, second = sorted(folder.ledger.glob("*.json"))[:2]
    data = json.loads(first.read_bytes())
    data["points"][0]["losses"]["count"] *= 0.5
    first.write_text(json.dumps(data))
    second.write_bytes(b"")
    run_sweep(folder, SerialExecutor(Work.of(folder)), NoTracker(), Watcher())
    assert before == {run_id: record.points for run_id, record in read_ledger(folder.ledger).records.items()}
    assert json.loads(first.with_suffix(".damaged").read_bytes()) == data


def test_a_second_driver_is_refused_and_the_holder_named(study_folder: StudyFolder) -> None:
    with (
        Ledger.hold(study_folder.ledger),
        pytest.raises(SweepError, match=f"in use by process {os.getpid()}"),
        Ledger.hold(study_folder.ledger),
    ):
        pass
    with Ledger.hold(study_folder.ledger):
        shutil.rmtree(study_folder.root / "corpus")  # and it is free again after that
