"""Scores that were computed elsewhere: a parquet with a column `id` and a column of numbers per signal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixlab.errors import CorpusError
from mixlab.files import write_atomic

SCORES_FILE = "scores.parquet"
# The hint where a file is none of scores.
FORM = "give a parquet such as `mixlab score DIR` writes"


class Scores:
    """Signals by document id.

    Raises:
        CorpusError: when the file is no parquet with `id` and at least one column of numbers, or repeats an id with
            another score.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise CorpusError(
                f"cannot read scores {path}: {str(error).splitlines()[0]}",
                FORM,
            ) from None
        kinds = {name: table.schema.field(name).type for name in table.column_names}
        self.names = tuple(n for n, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind))
        self.names = tuple(name for name in self.names if name not in ("id", "row"))
        if "id" not in kinds or not self.names:
            raise CorpusError(
                f"{path} must have a column `id` and a column of numbers per signal, but has {', '.join(kinds)}",
                FORM,
            )
        ids = [str(name) for name in table["id"].to_pylist()]
        self._rows = {name: row for row, name in enumerate(ids)}
        self._values = {name: table[name].to_numpy().astype(np.float32) for name in self.names}
        last = np.array([self._rows[name] for name in ids], dtype=np.int64)
        for name, values in self._values.items():
            if not np.array_equal(values, values[last], equal_nan=True):
                row = int(np.flatnonzero(~np.isclose(values, values[last], equal_nan=True))[0])
                raise CorpusError(
                    f"{path}: document `{ids[row]:.60}` has two different scores of `{name}`",
                    "keep one row per document",
                )

    def of(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The signals of documents, each of shape (n,).

        Raises:
            CorpusError: when a document has none, or not a finite one.
        """
        missing = [name for name in ids if name not in self._rows]
        if missing:
            raise CorpusError(
                f"{self._path} has no scores of document `{missing[0]:.60}`", "score every document of the domain"
            )
        rows = np.array([self._rows[name] for name in ids], dtype=np.int64)
        found = {name: values[rows] for name, values in self._values.items()}
        for name, values in found.items():
            if not np.isfinite(values).all():
                bad = ids[int(np.flatnonzero(~np.isfinite(values))[0])]
                raise CorpusError(
                    f"{self._path}: `{name}` of document `{bad:.60}` is not a finite number",
                    "score it again, or leave the column out",
                )
        return found


def write_scores(path: Path, ids: Sequence[str], columns: Mapping[str, Sequence[float]]) -> None:
    """Write the file that `Scores` reads, atomically."""
    arrays = {name: pa.array(np.asarray(values, dtype=np.float32)) for name, values in columns.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), **arrays}), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())
