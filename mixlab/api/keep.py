"""Results that a study keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mixlab.runs.read import RunsLike
    from mixlab.shown import Shown


def keep_in_study(runs: RunsLike, name: Literal["fit", "recommendation"], result: Shown) -> Path | None:
    """Write a result to its place in the study that `runs` is the folder of, and say where.

    Raises:
        WriteError: when it cannot be written.
    """
    from mixlab.files import write_json  # the commands import this, and `--help` needs no tables
    from mixlab.runs.read import study_of

    study = study_of(runs)
    if study is None:
        return None
    path: Path = getattr(study, name)
    write_json(path, result.to_dict())
    return path
