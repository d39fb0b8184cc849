"""The run table: one row is one model evaluated at one token count. The spine between training and fitting.

Columns are those of the README's table: `params`, `tokens`, `flops`, `mix.<domain>`, `loss`, `loss.<eval>`, ... An
unknown column is kept and ignored; a missing needed one is an error that names it and the nearest match. Whatever is
renormalised, left out or assumed on the way is said in `notes`.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import RunTableError, argument, did_you_mean
from mixlab.files import write_atomic
from mixlab.objective import Objective
from mixlab.runs.flops import six_nd
from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity

if TYPE_CHECKING:
    from rich.console import RenderableType

# What is read by a fixed name, and by its beginning; a column of another name may be asked for as a target.
FIXED_COLUMNS = (
    "run_id",
    "params",
    "params_non_embed",
    "tokens",
    "flops",
    "flops_6nd",
    "unique_tokens",
    "loss",
    "status",
)
MEASURED = ("loss.", "acc.", "nll.", "bpb.", "prob.")
CONDITION = 'write a pandas query such as "params > 1e8"; put names with dots into `backticks`'
SUM_SLACK = 0.02  # published tables round their weights


def no_column(shown: str, name: str, known: Iterable[str]) -> RunTableError:
    """What to say where a column is missing: the nearest, and how a column of another name is read as one of ours."""
    hint = did_you_mean(name, known)
    if name in FIXED_COLUMNS:
        hint = f"map it by {argument('columns', f'--map {name}=NAME')} where it has another name; {hint}"
    return RunTableError(f"the table has no column {shown}", hint)


@dataclass(frozen=True, repr=False)
class Runs(Shown):
    """A validated table of runs.

    Attributes:
        frame: the rows.
        notes: what was assumed, renormalised or left out, in words.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Runs:
        """Check a frame: duplicate columns, an empty table and broken mixtures are refused.

        Raises:
            RunTableError: naming the first bad row and column.
        """
        if len(frame) == 0:
            raise RunTableError("a run table needs rows, but got none")
        unnamed = [name for name in frame.columns if not isinstance(name, str)]
        if unnamed:
            raise RunTableError(f"the columns of a run table have names, but got {unnamed[0]!r}", "rename or drop it")
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise RunTableError(f"column `{twice[0]}` is duplicated", "rename or drop one of the two")
        notes = []
        frame = frame.reset_index(drop=True)
        broken = pd.Series(False, index=frame.index)
        if "status" in frame.columns:
            broken |= frame["status"].astype(str).isin(["diverged", "failed"])
        if broken.any():
            notes.append(f"{int(broken.sum())} rows of runs that diverged or failed are left out")
            frame = frame[~broken].reset_index(drop=True)
        frame, renormalised = _normalise_mixtures(frame)
        if renormalised:
            notes.append(
                f"the mixture weights of {renormalised} rows summed to 1 only within {SUM_SLACK}: renormalised"
            )
        return cls(frame, tuple(notes))

    def write(self, path: Path) -> None:
        """Write Parquet, or CSV where the suffix says so, atomically."""
        if path.suffix == ".parquet":
            buffer = BytesIO()
            self.frame.to_parquet(buffer, index=False)
            write_atomic(path, buffer.getvalue())
        else:
            write_atomic(path, self.frame.to_csv(index=False).encode())

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        runs = len(np.unique(self.run_ids))
        mixtures = f", {len(self.domains)} domains" if self.domains else ""
        losses = self.measured
        some = ", ".join(losses[:4]) + (f" and {len(losses) - 4} more" if len(losses) > 4 else "")
        return f"<Runs: {len(self)} rows of {runs} runs{mixtures}; {some or 'nothing measured'}>"

    def parts(self) -> Iterator[RenderableType]:
        """What was read, and the range of the columns that a fit is about."""
        yield repr(self)[1:-1]
        found = table(None, ("column", "from", "to"))
        for name in ("params", "params_non_embed", "tokens", "flops", *self.measured):
            if self.has(name):
                values = self.column(name)
                write = format_flops if name == "flops" else format_quantity
                found.add_row(name, write(float(np.nanmin(values))), write(float(np.nanmax(values))))
        yield found

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of losses and accuracies."""
        return tuple(name for name in map(str, self.frame.columns) if name == "loss" or name.startswith(MEASURED))

    def to_frame(self) -> pd.DataFrame:
        """A copy of the rows."""
        return self.frame.copy()

    def to_dict(self) -> dict[str, Any]:
        """The columns as lists, and the notes."""
        return {"columns": self.frame.to_dict(orient="list"), "notes": list(self.notes)}

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all rows: what was made from these runs names it."""
        return hashlib.sha256(self.frame.to_csv(index=False).encode()).hexdigest()[:16]

    @property
    def domains(self) -> tuple[str, ...]:
        """Names after `mix.`, in column order."""
        return tuple(name[4:] for name in self.frame.columns if name.startswith("mix."))

    @property
    def evals(self) -> tuple[str, ...]:
        """Names after `loss.`, in column order."""
        return tuple(name[5:] for name in self.frame.columns if name.startswith("loss."))

    def objective(self, objective: Objective) -> Array:
        """The weighted sum of its columns by row, shape (n,); NaN where one of them is empty.

        Raises:
            RunTableError: when a column is missing.
        """
        return objective.of({name: self.column(name) for name in objective})

    def where(self, expression: str) -> Runs:
        """The rows for which a pandas query holds, for instance "params > 1e8 and `mix.code` == 0".

        Raises:
            RunTableError: when it cannot be read or leaves nothing.
        """
        try:
            holds = self.frame.eval(expression)
        except Exception as error:  # pandas.eval raises nearly anything, for one reason
            raise RunTableError(f"cannot read the condition `{expression}`: {error}", CONDITION) from None
        if not (isinstance(holds, pd.Series) and pd.api.types.is_bool_dtype(holds)):
            raise RunTableError(f"the condition `{expression}` is not true or false of each row", CONDITION)
        kept = self.frame.loc[holds]
        if len(kept) == 0:
            raise RunTableError(f"the condition `{expression}` leaves none of {len(self)} rows")
        return Runs(kept.reset_index(drop=True), self.notes)

    def select(self, rows: NDArray[np.bool_]) -> Runs:
        """The rows where `rows` is true, shape (n,)."""
        return Runs(self.frame[rows].reset_index(drop=True), self.notes)

    def with_note(self, note: str) -> Runs:
        return self if note in self.notes else Runs(self.frame, (*self.notes, note))

    def has(self, column: str) -> bool:
        return column in self.frame.columns

    def column(self, name: str) -> Array:
        """A numeric column as floats, shape (n,).

        Raises:
            RunTableError: missing (with the nearest match) or not numeric.
        """
        if name not in self.frame.columns:
            raise no_column(f"`{name}`", name, map(str, self.frame.columns))
        values = pd.to_numeric(self.frame[name], errors="coerce").to_numpy(dtype=float)
        bad = np.isnan(values) & self.frame[name].notna().to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RunTableError(f"column `{name}` must hold numbers, but row {row + 1} has {self.frame[name][row]!r}")
        return values

    def mixtures(self) -> Array:
        """Weights in the order of `domains`, shape (n, K); (n, 0) where the table has none."""
        return self.frame[[f"mix.{name}" for name in self.domains]].to_numpy(dtype=float)

    def params_column(self, wanted: str | None = None) -> str:
        """Which column is N: `wanted`, else `params`, else `params_non_embed`."""
        if wanted is not None:
            self.column(wanted)
            return wanted
        for name in ("params", "params_non_embed"):
            if name in self.frame.columns:
                return name
        raise no_column("`params` (or `params_non_embed`)", "params", self.frame.columns)

    def params(self, column: str | None = None) -> Array:
        """N by row, shape (n,)."""
        return _positive(self.column(self.params_column(column)), self.params_column(column))

    def tokens(self) -> Array:
        """D by row, shape (n,)."""
        return _positive(self.column("tokens"), "tokens")

    def flops(self) -> Array:
        """C by row, shape (n,): `flops`, else `flops_6nd`, else 6 N D; `flops_source` says which."""
        source = self.flops_source
        return six_nd(self.params(), self.tokens()) if source == "6ND" else _positive(self.column(source), source)

    @property
    def flops_source(self) -> str:
        return next((name for name in ("flops", "flops_6nd") if name in self.frame.columns), "6ND")

    @property
    def run_ids(self) -> NDArray[np.object_]:
        """`run_id` by row, or the row number where there is none, shape (n,)."""
        if "run_id" in self.frame.columns:
            return self.frame["run_id"].astype(str).to_numpy(dtype=object)
        return np.arange(len(self)).astype(str).astype(object)

    def unique(self) -> Array:
        """Unique tokens by row and domain, shape (n, K); of all text, (n, 1), without mixtures. `inf` where unknown."""
        names = [f"unique.{name}" for name in self.domains] or ["unique_tokens"]
        known = [_positive(self.column(name), name) if self.has(name) else np.full(len(self), np.inf) for name in names]
        return np.column_stack(known)

    def unique_tokens(self) -> dict[str, float]:
        """The supply that the table states, by domain, or without mixtures under `tokens`; the largest of its rows."""
        columns = {name: f"unique.{name}" for name in self.domains} or {"tokens": "unique_tokens"}
        return {name: float(self.column(column).max()) for name, column in columns.items() if self.has(column)}


def matching_columns(runs: Runs, pattern: str, starting: tuple[str, ...]) -> list[str]:
    """The column called `pattern`, else those that it matches, such as `loss.web_*`, among those `starting` so.

    Raises:
        RunTableError: when there is none, with the nearest name.
    """
    columns = [str(name) for name in runs.frame.columns if str(name).startswith(starting)]
    matches = [pattern] if runs.has(pattern) else fnmatch.filter(columns, pattern)
    if not matches:
        raise RunTableError(f"the table has no column `{pattern}`", did_you_mean(pattern, columns))
    return matches


def _positive(values: Array, name: str) -> Array:
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RunTableError(f"column `{name}` must be positive and finite, but row {row + 1} has {values[row]}")
    return values


def _normalise_mixtures(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Rescale rows that sum to 1 within the slack; refuse the others. Returns how many were rescaled."""
    columns = [name for name in frame.columns if str(name).startswith("mix.")]
    if not columns or len(frame) == 0:
        return frame, 0
    try:
        weights = frame[columns].to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise RunTableError("the mix.<domain> columns must hold numbers") from None
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row, column = (int(index[0]) for index in np.nonzero(bad))
        raise RunTableError(
            f"mixture weights must be finite and >= 0, but row {row + 1} has {columns[column]}={weights[row, column]}",
            "write 0 for a domain that was not used",
        )
    sums = weights.sum(axis=1)
    off = np.abs(sums - 1) > SUM_SLACK + 1e-9
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise RunTableError(
            f"the mix.<domain> weights of a row must sum to 1, but row {row + 1} sums to {sums[row]:.6g} "
            f"({int(off.sum())} such rows)",
            "correct the weights; fractions of tokens are meant, not percentages",
        )
    rescaled = int(np.count_nonzero(np.abs(sums - 1) > 1e-6))
    return frame.assign(**{name: weights[:, i] / sums for i, name in enumerate(columns)}), rescaled
