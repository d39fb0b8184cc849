"""The run table: columns, units, and bad rows that are refused or counted, never dropped in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixlab.errors import RunTableError
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"params": [1e6, 2e6], "tokens": [1e9, 2e9], "loss": [3.0, 2.9], **columns})


def test_flops_by_the_best_source() -> None:
    assert Runs.from_frame(frame(flops=[1e16, 2e16], flops_6nd=[1.0, 1.0])).flops().tolist() == [1e16, 2e16]
    assert Runs.from_frame(frame(flops_6nd=[1e15, 2e15])).flops().tolist() == [1e15, 2e15]
    bare = Runs.from_frame(frame())
    assert bare.flops().tolist() == [6e15, 24e15]
    assert bare.flops_source == "6ND"


def test_rounded_weights_are_rescaled_and_counted() -> None:
    table = Runs.from_frame(frame(**{"mix.a": [0.333, 0.5], "mix.b": [0.66, 0.5]}))
    assert table.mixtures().sum(axis=1) == pytest.approx([1, 1])
    assert "1 rows summed to 1 only within 0.02" in table.notes[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"mix.a": [0.5, 0.5], "mix.b": [0.4, 0.5]}, r"row 1 sums to 0\.9 \(1 such rows\)"),
        ({"mix.a": [1.0, np.nan], "mix.b": [0.0, 1.0]}, r"row 2 has mix\.a=nan"),
        ({"mix.a": [1.0, 1.1], "mix.b": [0.0, -0.1]}, r"row 2 has mix\.b=-0\.1"),
        ({"mix.a": ["x", "y"]}, "must hold numbers"),
    ],
)
def test_broken_mixtures_are_refused(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(RunTableError, match=message):
        Runs.from_frame(frame(**columns))


def test_rows_of_failed_runs_are_counted() -> None:
    table = Runs.from_frame(frame(status=["done", "diverged"]))
    assert len(table) == 1
    assert table.notes == ("1 rows of runs that diverged or failed are left out",)


def test_columns_are_named_in_errors() -> None:
    table = Runs.from_frame(frame(**{"loss.web": [1.0, 2.0], "note": ["a", "b"]}))
    with pytest.raises(RunTableError, match=r"no column `loss\.wb`") as error:
        table.column("loss.wb")
    assert error.value.hint == "did you mean `loss.web`?"
    with pytest.raises(RunTableError, match="column `note` must hold numbers, but row 1 has 'a'"):
        table.column("note")
    with pytest.raises(RunTableError, match=r"row 2 has 0\.0"):
        Runs.from_frame(frame().assign(params=[1.0, 0.0])).params()
    with pytest.raises(RunTableError, match="leaves none of 2 rows"):
        table.where("params > 1e12")
    with pytest.raises(RunTableError, match="cannot read the condition"):
        table.where("params >")


def test_the_other_parameter_count_is_used_when_it_is_the_only_one() -> None:
    table = Runs.from_frame(frame().rename(columns={"params": "params_non_embed"}))
    assert table.params_column() == "params_non_embed"
    assert table.params().tolist() == [1e6, 2e6]


def test_files_read_back_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    table = Runs.from_frame(frame(**{"mix.a": [0.25, 0.5], "mix.b": [0.75, 0.5]}))
    for name in ("runs.csv", "runs.parquet"):
        table.write(tmp_path / name)
        pd.testing.assert_frame_equal(read_runs(tmp_path / name).frame, table.frame)
    damaged = (tmp_path / "runs.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(RunTableError, match="not a whole CSV or Parquet table"):
        read_runs(tmp_path / "half.parquet")
    with pytest.raises(RunTableError, match="no file at"):
        read_runs(tmp_path / "nothing.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(RunTableError, match="not a whole CSV"):
        read_runs(tmp_path / "empty.csv")


def test_the_supply_is_the_largest_that_a_row_states() -> None:
    columns = {"mix.a": [0.5, 0.5], "mix.b": [0.5, 0.5], "unique.a": [10.0, 10.0], "unique.b": [5.0, 6.0]}
    assert Runs.from_frame(frame(**columns)).unique_tokens() == {"a": 10.0, "b": 6.0}
    assert Runs.from_frame(frame(unique_tokens=[3.0, 2.0])).unique_tokens() == {"tokens": 3.0}
