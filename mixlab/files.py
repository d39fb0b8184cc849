"""Files that are written whole or not at all, and JSON that is read back with a hint."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from mixlab.errors import ConfigError, WriteError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, or leave the old file whole.

    Raises:
        WriteError: when the disk is full or the folder cannot be written.
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
        raise WriteError(
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
