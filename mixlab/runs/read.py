"""The run table of a file, or of a study's folder."""

from __future__ import annotations

from pathlib import Path

from mixlab.errors import RunTableError
from mixlab.runs.table import Runs
from mixlab.study.folder import StudyFolder


def load_runs(path: str | Path) -> Runs:
    """The run table at `path`: a CSV or Parquet file, or a study folder's runs.

    Raises:
        RunTableError: when there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return Runs.read(path)
    folder = StudyFolder.open(path)
    if not folder.runs.exists():
        raise RunTableError(f"the study in {path} has no runs yet", f"run `mixlab sweep {path}`")
    return Runs.read(folder.runs)
