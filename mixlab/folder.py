"""The study folder: where each thing of a study lies, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mixlab.config import StudyConfig, load_config
from mixlab.errors import ConfigError, SweepError


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study; nothing is created until something is written."""

    root: Path

    @classmethod
    def open(cls, root: str | Path) -> StudyFolder:
        """The folder of an existing study.

        Raises:
            ConfigError: when there is no study.yaml in it.
        """
        folder = cls(Path(root))
        if not folder.config_file.is_file():
            raise ConfigError(f"{root} is not a study folder: it has no study.yaml", "`mixlab init DIR` makes one")
        return folder

    @property
    def config_file(self) -> Path:
        return self.root / "study.yaml"

    @cached_property
    def config(self) -> StudyConfig:
        return load_config(self.config_file)

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def optuna(self) -> Path:
        return self.root / "optuna.db"

    @property
    def runs(self) -> Path:
        return self.root / "runs.parquet"

    @property
    def fit(self) -> Path:
        return self.root / "fit.json"

    @property
    def recommendation(self) -> Path:
        return self.root / "recommendation.json"

    @property
    def verification(self) -> Path:
        return self.root / "verification.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, or leave the old file whole.

    Raises:
        SweepError: when the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SweepError(
            f"cannot write {path}: {error.strerror}",
            "free space or permit writing there, then run the same command",
        ) from error


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, atomically; NaN and infinity are refused as they are not JSON."""
    write_atomic(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path, hint: str | None = None) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: when it is missing or damaged; `hint` says which command writes it.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"no file at {path}", hint) from None
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}", hint) from None
