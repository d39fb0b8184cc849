"""The ledger: one atomic JSON per finished run, named by the hash of its spec. The truth about what has run.

Everything else (the Optuna database, runs.parquet) can be rebuilt from it. A torn record is set aside with a warning
and its run is made again. One driver at a time holds the ledger's lock.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mixlab.errors import SweepError
from mixlab.files import write_json
from mixlab.runs.specs import RunRecord


class Ledger:
    """Records in a folder.

    Args:
        root: the folder; made when the first record is written.

    Attributes:
        warnings: what was set aside while reading.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []

    def records(self) -> dict[str, RunRecord]:
        """All whole records by run id, in the order of their ids; those of other versions of mixlab are left alone."""
        found, foreign = {}, 0
        for path in sorted(self.root.glob("*.json")):
            try:
                data = json.loads(path.read_bytes())
                record = RunRecord.from_json(data)
                if record.run_id != path.stem == data["run_id"]:
                    foreign += 1
                    continue
                if record.run_id != path.stem:
                    raise ValueError("its name is not the hash of its spec")
            except (ValueError, KeyError, TypeError) as error:
                path.rename(path.with_suffix(".damaged"))
                self.warnings.append(f"set aside a damaged record, its run will be made again: {path.name} ({error})")
                continue
            found[record.run_id] = record
        if foreign:
            self.warnings.append(
                f"{foreign} records in {self.root} are of another version of mixlab, which trains differently: "
                "they stay there, and are not used"
            )
        return found

    def write(self, record: RunRecord) -> None:
        """Keep a record.

        Raises:
            SweepError: when it cannot be written; what was there before is whole.
        """
        write_json(self.root / f"{record.run_id}.json", record.to_json())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the ledger for one driver.

        Raises:
            SweepError: at once when another driver holds it, naming that driver.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock")
            holder = self.root / ".holder"
            lock.acquire(timeout=0)
        except Timeout:
            try:
                who = holder.read_text()
            except OSError:
                who = "another process"
            raise SweepError(f"this study is in use by {who}", "wait until it ends, or stop it") from None
        except OSError as error:
            raise SweepError(f"cannot write {self.root}: {error.strerror}", "permit writing there") from error
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
            holder.unlink(missing_ok=True)
        finally:
            lock.release()
