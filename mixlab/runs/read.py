"""The run table of a file, of a study's folder, or of a frame, whatever its columns are called and scaled by."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from mixlab.errors import ConfigError, RunTableError, argument, did_you_mean, require_kind
from mixlab.runs.table import FIXED_COLUMNS, MEASURED, Runs
from mixlab.study.folder import StudyFolder
from mixlab.units import parse_quantity

RunsLike: TypeAlias = "Runs | pd.DataFrame | str | Path"
# our column -> theirs, or (theirs, what one of theirs is in our unit)
ColumnMap: TypeAlias = Mapping[str, "str | tuple[str, float | str]"]

MIX = "mix"
MISSPELT = 0.75  # likeness to a column of ours from which another name is taken for a mistake


def read_runs(
    runs: RunsLike,
    *,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    where: str | None = None,
) -> Runs:
    """Read a table of training runs.

    Args:
        runs: a CSV or Parquet file, a study's folder, a DataFrame, or runs that were read before.
        columns: what columns are called there, by our name: `{"loss": "val/loss"}`, or with the size of their unit in
            ours: `{"tokens": ("tokens_seen_B", 1e9)}`.
        scale: by column of ours, what one of its unit is in ours: `{"tokens": 1e9}` for billions.
        mixture: a pattern with one `*` for the columns of weights: `config.weights.*`.
        where: keep the rows for which this condition holds.

    Raises:
        RunTableError: when there is no table, a column is missing (with the nearest name), or its rows are bad.
        ConfigError: when the map cannot be meant.
    """
    require_kind("runs", runs, (Runs, pd.DataFrame, str, PathLike), "a path, a DataFrame or what read_runs gave")
    for name, given in {"columns": columns, "scale": scale}.items():
        require_kind(name, given or {}, Mapping, "a dict by column", 'such as columns={"loss": "val/loss"}')
    changes = bool(columns or scale or mixture)
    if isinstance(runs, Runs):
        table = Runs.from_frame(_renamed(runs.frame, columns or {}, scale or {}, mixture)) if changes else runs
    else:
        frame, named = (runs, "") if isinstance(runs, pd.DataFrame) else (_frame(Path(runs)), f"{runs}: ")
        try:
            table = Runs.from_frame(_renamed(frame, columns or {}, scale or {}, mixture))
        except RunTableError as error:
            raise RunTableError(f"{named}{error.message}", error.hint) from None
    return table.where(where) if where else table


def study_of(runs: object) -> StudyFolder | None:
    """The study that `runs` names, where it is the folder of one."""
    if isinstance(runs, (str, Path)) and Path(runs).is_dir():
        return StudyFolder.open(runs)
    return None


def _frame(path: Path) -> pd.DataFrame:
    folder = study_of(path)
    if folder is None:
        return read_frame(path)
    if not folder.runs.exists():
        raise RunTableError(f"the study in {path} has no runs yet", f"run `mixlab sweep {path}`")
    return read_frame(folder.runs)


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a CSV or Parquet file, by its suffix.

    Raises:
        RunTableError: when it is missing or is no table.
    """
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except FileNotFoundError:
        raise RunTableError(f"no file at {path}", "give a CSV or Parquet table, or a study folder") from None
    except (OSError, ValueError) as error:  # pandas' and pyarrow's parsers raise subclasses of these
        reason = str(error).splitlines()[0]
        raise RunTableError(f"{path} is not a whole CSV or Parquet table: {reason}") from None


def _renamed(
    frame: pd.DataFrame, columns: ColumnMap, scale: Mapping[str, float | str], mixture: str | None
) -> pd.DataFrame:
    """The frame under our names and in our units; nothing that was there is replaced."""
    for ours, given in columns.items():
        if not isinstance(given, str) and not (isinstance(given, (tuple, list)) and len(given) == 2):
            raise ConfigError(
                f"`{ours}` must be read from a column, or from a column and its unit, but got {given!r}",
                'such as columns={"tokens": ("tokens_seen_B", 1e9)}',
            )
    theirs = {ours: given if isinstance(given, str) else given[0] for ours, given in columns.items()}
    units = {ours: parse_quantity(given[1]) for ours, given in columns.items() if not isinstance(given, str)}
    for ours, unit in (scale or {}).items():
        if ours in units:
            raise ConfigError(f"column `{ours}` is given two scales", "leave one out")
        units[ours] = parse_quantity(unit)
    if mixture is not None:
        theirs |= _weights_of(frame, mixture)
    names = [str(name) for name in frame.columns]
    for ours, their in theirs.items():
        if "*" in their and their not in names:
            hint = f"a pattern is of all weights: {argument('mixture', '--map mix=weights.*')}"
            raise ConfigError(f"`{ours}` must be read from one column, but got `{their}`", hint)
        _require_ours(ours, their, names)
        if their not in names:
            missing = f"the table has no column `{their}` to read `{ours}` from"
            raise RunTableError(missing, f"name one of {', '.join(names)}; {did_you_mean(their, names)}")
        if ours in names and ours != their:
            raise RunTableError(
                f"`{ours}` is to be read from `{their}`, but the table has a column `{ours}` already",
                "rename or drop one of the two",
            )
    twice = {their for their in theirs.values() if list(theirs.values()).count(their) > 1}
    if twice:
        raise ConfigError(f"the column `{min(twice)}` is read as two columns", "map it once")
    frame = frame.rename(columns={their: ours for ours, their in theirs.items()})
    for ours, unit in units.items():
        if not unit > 0:
            raise ConfigError(f"a scale must be positive, but that of `{ours}` is {unit:g}")
        frame = frame.assign(**{ours: Runs(frame).column(ours) * unit})
    return frame


def _require_ours(ours: str, their: str, names: Sequence[str]) -> None:
    """Refuse a map onto a name that nothing is read by, where one of ours is near or would be taken away.

    Raises:
        ConfigError: with the nearest of ours, and the columns of the table.
    """
    if ours in FIXED_COLUMNS or ours.startswith((f"{MIX}.", "unique.", *MEASURED)):
        return
    if their in FIXED_COLUMNS or get_close_matches(ours, FIXED_COLUMNS, n=1, cutoff=MISSPELT):
        raise ConfigError(
            f"`{their}` is to be read as `{ours}`, which is no column of mixlab's",
            f"map from our columns, {', '.join(FIXED_COLUMNS)} and so on, to the table's, {', '.join(names)}",
        )


def _weights_of(frame: pd.DataFrame, pattern: str) -> dict[str, str]:
    """By `mix.<domain>`, the column that matches the pattern at its `*`."""
    require_kind("mixture", pattern, str, "a pattern with one `*`", "write mixture.weights.*")
    before, star, after = pattern.partition("*")
    if not star or "*" in after:
        raise ConfigError(f"a pattern of mixture columns has one `*`, but got `{pattern}`", "write mixture.weights.*")
    found = [str(name) for name in frame.columns if fnmatch.fnmatchcase(str(name), pattern)]
    if not found:
        raise RunTableError(f"no column matches `{pattern}`", did_you_mean(before, map(str, frame.columns)))
    return {f"{MIX}.{name[len(before) : len(name) - len(after)]}": name for name in found}
