"""The ledger: one atomic JSON per finished run, named by the hash of its spec. The truth about what has run.

Everything else (the Optuna database, runs.parquet) can be rebuilt from it, so it is checked: every record carries a
digest (`sealing`), and one that cannot be believed is set aside and its run made again. No file is ever overwritten
but by the same run's next record. One driver at a time holds the ledger; it reads the folder once and knows from then
on what is in it. Whoever only looks (`read_ledger`) changes nothing.

A record that was written before records had digests is used: to make its run again would lose finished work. The
driver that holds the ledger gives it a digest then, and says how many there were, so that a later change is noticed.
(Whoever takes a record's digest away makes it one of these; what still betrays a changed value then is that number.)
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout

from mixlab.errors import SweepError
from mixlab.files import write_json
from mixlab.runs.specs import RunRecord
from sweeps.sealing import DamagedError, ForeignError, seal, unseal


@dataclass(frozen=True)
class Reading:
    """What lies in a ledger's folder.

    Attributes:
        root: the folder.
        records: those that can be believed, by run id, in the order of their ids.
        unsealed: the ids of those of them that have no digest.
        damaged: why, by the path of each that cannot be believed.
        foreign: paths of those of another version of mixlab.
    """

    root: Path
    records: dict[str, RunRecord] = field(default_factory=dict)
    unsealed: list[str] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What a person should know, in words."""
        found = [
            f"a record is damaged, and its run will be made again: {path.name} ({why})"
            for path, why in self.damaged.items()
        ]
        return [*found, *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """Those of the warnings that call for nothing to be done."""
        found = []
        if self.foreign:
            found.append(
                f"{len(self.foreign)} records in {self.root} are of another version of mixlab, which trains "
                "differently: they stay there, and are not used"
            )
        if self.unsealed:
            found.append(
                f"{len(self.unsealed)} records in {self.root} were written before records had digests: they are used "
                "as they are, and get one when runs are next made"
            )
        return found


def read_ledger(root: Path) -> Reading:
    """Read and check every record of a folder, which may not exist yet; nothing is changed.

    Raises:
        SweepError: when a file cannot be read.
    """
    reading = Reading(root)
    for path in sorted(root.glob("*.json")):
        try:
            record, sealed = unseal(path.read_bytes(), path.stem)
        except OSError as error:
            raise SweepError(f"cannot read {path}: {error.strerror}", "permit reading there") from error
        except DamagedError as error:
            reading.damaged[path] = str(error)
        except ForeignError:
            reading.foreign.append(path)
        else:
            reading.records[record.run_id] = record
            if not sealed:
                reading.unsealed.append(record.run_id)
    return reading


class Ledger:
    """The records of a folder, held by this driver alone; made by `Ledger.hold`.

    Attributes:
        warnings: what was found and done on reading.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        reading = read_ledger(root)
        self._records = reading.records
        self.warnings = reading.remarks
        for path, why in reading.damaged.items():
            aside = _set_aside(path, "damaged")
            self.warnings.append(
                f"set aside a damaged record; its run will be repeated: {path.name} is now {aside.name} ({why})"
            )
        for run_id in reading.unsealed:
            write_json(self._path(run_id), seal(self._records[run_id]))

    @classmethod
    @contextmanager
    def hold(cls, root: Path) -> Iterator[Ledger]:
        """Read the ledger and keep other drivers out.

        Raises:
            SweepError: at once when another driver holds it, naming that driver, or when the folder cannot be written.
        """
        with _held(root):
            yield cls(root)

    @property
    def records(self) -> Mapping[str, RunRecord]:
        """All records by run id, as they were read and written."""
        return MappingProxyType(self._records)

    def write(self, record: RunRecord) -> None:
        """Keep a record, in place of the same run's earlier one.

        Raises:
            WriteError: when it cannot be written; what was there before is whole.
        """
        path = self._path(record.run_id)
        if record.run_id not in self._records and path.exists():
            _set_aside(path, "foreign")
        write_json(path, seal(record))
        self._records[record.run_id] = record

    def _path(self, run_id: str) -> Path:
        return self.root / f"{run_id}.json"


def _set_aside(path: Path, why: str) -> Path:
    """Rename a file to a name that nothing has, and say which."""
    names = (path.with_suffix(f".{number}.{why}" if number else f".{why}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        path.rename(aside)
    except OSError as error:
        raise SweepError(f"cannot rename {path} to {aside.name}: {error.strerror}", "permit writing there") from error
    return aside


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """The folder's lock, with the holder's name beside it."""
    holder = root / ".holder"
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        try:
            who = holder.read_text()
        except OSError:
            who = "another process"
        raise SweepError(f"this study is in use by {who}", "wait until it ends, or stop it") from None
    except OSError as error:
        raise SweepError(f"cannot write {root}: {error.strerror}", "permit writing there") from error
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
