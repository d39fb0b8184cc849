"""Which rows a backtest fits and which it predicts.

A run stays whole: rows of a held-out run never enter the fit, unless the caller asks for runs to be continued, and
then the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import RunTableError
from mixlab.laws.choice.rows import FULL_RANK
from mixlab.runs.table import Runs

SAME_BUDGET = 1.25  # a factor: budgets of one design differ by 2 or more, and runs of one by less than this


@dataclass(frozen=True)
class Holdout:
    """Rows to fit and rows to predict.

    Attributes:
        fit, test: the two sides.
        notes: what was left out to keep runs whole, or that runs stand on both sides.
    """

    fit: Runs
    test: Runs
    notes: tuple[str, ...] = ()


def split_rows(table: Runs, held_out: NDArray[np.bool_], *, continue_runs: bool = False) -> Holdout:
    """Split by a mask of shape (n,), keeping runs whole.

    Args:
        table: the runs.
        held_out: the rows to predict.
        continue_runs: keep the other rows of a held-out run in the fit. The test is then about the same runs
            trained for longer, which share seed and data order with what was fitted: easier than new runs.

    Raises:
        RunTableError: when one side is empty.
    """
    ids = table.run_ids
    both = np.isin(ids, ids[held_out]) & ~held_out
    notes = []
    fit = ~held_out
    if both.any():
        runs = len(np.unique(ids[both]))
        if continue_runs:
            notes.append(f"{runs} runs are on both sides: later points of runs that the fit has seen are predicted")
        else:
            fit = fit & ~both
            notes.append(f"{int(both.sum())} rows of {runs} held-out runs are left out of the fit, to keep runs whole")
    if not fit.any() or not held_out.any():
        given = f"{int(fit.sum())} to fit and {int(held_out.sum())} to predict"
        hint = "choose another `holdout`"
        if both.any() and held_out.any():
            hint = "all runs have held-out rows: add `continue_runs` to predict later points of the same runs"
        raise RunTableError(f"a backtest needs rows on both sides, but there are {given}", hint)
    return Holdout(table.select(fit), table.select(held_out), tuple(notes))


def split_holdout(table: Runs, expression: str, *, continue_runs: bool = False) -> Holdout:
    """Hold out the rows for which a pandas query holds (see `Runs.where`)."""
    numbered = Runs(table.frame.assign(_row=np.arange(len(table))), table.notes)
    rows = numbered.where(expression).frame["_row"].to_numpy()
    return split_rows(table, np.isin(np.arange(len(table)), rows), continue_runs=continue_runs)


def split_largest(table: Runs) -> Holdout:
    """Hold out the rows of the largest budget.

    Runs are continued where else too little would be left to fit: less than half of the other rows, or mixtures that
    move in fewer directions, as where only the runs of later rounds stay below the largest budget.

    Raises:
        RunTableError: when all rows have one budget.
    """
    flops = table.flops()
    held_out = flops > flops.max() / SAME_BUDGET
    try:
        whole = split_rows(table, held_out)
    except RunTableError:
        return split_rows(table, held_out, continue_runs=True)
    continued = split_rows(table, held_out, continue_runs=True)
    enough = 2 * len(whole.fit) >= len(continued.fit) and _directions(whole.fit) == _directions(continued.fit)
    return whole if enough else continued


def _directions(table: Runs) -> int:
    """In how many directions the mixtures move."""
    if not table.domains:
        return 0
    mixtures = table.mixtures()
    return int(np.linalg.matrix_rank(mixtures - mixtures.mean(axis=0), tol=FULL_RANK))
