"""`two-step` tried on runs that it has not seen, beside what can be said of an accuracy without any loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.choice.rows import VARIES
from mixlab.laws.predictor import Predictor
from mixlab.runs.table import Runs
from mixlab.tasks.accuracy import fit_curve
from mixlab.tasks.curves import Sigmoid

FITTED = 0.8  # of the runs, by compute


@dataclass(frozen=True)
class Trial:
    """Errors of the accuracy of the runs of most compute, predicted from the others.

    Attributes:
        rows_fit, rows_test: counts.
        flops: the largest C that was fitted.
        error: mean absolute error through both steps.
        coverage_90: share of the predicted rows in their 90% interval.
        baselines: mean absolute errors without a loss.
    """

    rows_fit: int
    rows_test: int
    flops: float
    error: float
    coverage_90: float
    baselines: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def try_out(table: Runs, target: str, fit: Callable[[Runs], Predictor], chance: float | None = None) -> Trial | None:
    """Predict the fifth of the runs with most compute from the others; None where those cannot carry it.

    Args:
        table: runs; those that stand on both sides of the cut count as predicted, beyond what was fitted.
        target: the accuracy column.
        fit: from runs to what predicts the column.
        chance: the accuracy of guessing, where it is known: the floor of the baselines.
    """
    flops, accuracy = table.flops(), table.column(target)
    runs, index = np.unique(table.run_ids.astype(str), return_inverse=True)
    last = np.zeros(len(runs))
    np.maximum.at(last, index, flops)
    cut = np.sort(last)[max(1, round(FITTED * len(runs))) - 1]
    fitted = (last <= cut)[index]
    tested = ~fitted & (flops > cut) & np.isfinite(accuracy)
    if not tested.any():
        return None
    small, large = table.select(fitted), table.select(tested)
    try:
        chain = fit(small)
    except FitError:
        return None
    observed = large.column(target)
    mixture, params, tokens = large.mixtures() if chain.domains else None, large.params(), large.tokens()
    low, high = chain.interval(mixture, params, tokens)

    def error(predicted: Array) -> float:
        return float(np.mean(np.abs(predicted - observed)))

    return Trial(
        rows_fit=len(small),
        rows_test=len(large),
        flops=float(cut),
        error=error(chain.predict(mixture, params, tokens)),
        coverage_90=float(np.mean((low <= observed) & (observed <= high))),
        baselines={name: error(guess) for name, guess in without_loss(small, target, large.flops(), chance).items()},
    )


def without_loss(table: Runs, target: str, flops: Array, chance: float | None = None) -> dict[str, Array]:
    """Accuracy at C, shape (M,), by name: the largest run's, and a sigmoid in log C where the runs differ in C."""
    accuracy, spent = table.column(target), table.flops()
    here = np.isfinite(accuracy)
    accuracy, spent = accuracy[here], spent[here]
    found = {"largest-run": np.full(len(flops), accuracy[spent.argmax()])}
    if np.ptp(np.log(spent)) > VARIES:
        direct = fit_curve(Sigmoid(), -np.log(spent), accuracy, chance)
        found["sigmoid-in-flops"] = direct.predict(-np.log(flops))[0]
    return found
