"""What is wrong, or may be, with a surface's fit: rows far from it, what validation could not try, better baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.choice.auto import Candidate, Choice
from mixlab.laws.choice.rows import Data
from mixlab.laws.choice.transfer import TransferError
from mixlab.laws.forms.parametric import NORMAL_SCALE
from mixlab.laws.forms.points import Observations

OUTLIER = 0.2  # log-error from which on a row may be far off
OUTLIER_SCATTERS = 10.0  # and so many standard deviations of the others


def require_agreement(predicted: Array, rows: Observations, target: str) -> None:
    """Refuse a fit that does not follow the rows at all.

    Raises:
        FitError: when the rows' losses do not rise with the predicted ones (n,).
    """
    if stats.kendalltau(predicted, rows.loss).statistic <= 0:
        raise FitError(
            f"`{target}` does not behave like a loss, which falls with size and tokens: where the laws predict less, "
            "it is no lower",
            "check the column: an accuracy is not a loss (the law two-step is for those), and runs that diverged "
            "should be left out (by `where`)",
        )


def outliers(predicted: Array, rows: Observations, target: str) -> list[str]:
    """Rows that lie far from their predictions (n,), in words."""
    error = np.log(rows.loss / predicted)
    far = np.abs(error) > max(OUTLIER, OUTLIER_SCATTERS * NORMAL_SCALE * float(np.median(np.abs(error))))
    if not far.any():
        return []
    worst, count = int(np.argmax(np.abs(error))), np.count_nonzero(far)
    lie = "row lies" if count == 1 else "rows lie"
    return [
        f"{count} {lie} far from the fit of {target} (one is {rows.loss[worst]:.4g} where "
        f"{predicted[worst]:.4g} is expected): if these runs went wrong, leave them out by `where`"
    ]


def left_out(choice: Choice, data: Data) -> list[str]:
    """What a named law's recipe leaves out; a blend's table says it of each member."""
    recipe = next(iter(choice.members.values()))[0][0]
    if choice.candidates or not recipe.early:
        return []
    early = int(np.sum(recipe.weights(data.rows, data.flops, np.ones((1, len(data.rows)))) == 0))
    return [f"{early} rows before the first {100 * recipe.early:.0f}% of their run's tokens are left out: too early"]


def untested(transfer: TransferError, flops: Array) -> list[str]:
    """What the runs (n,) are too few, or too alike in compute, to try on rows that a fit has not seen."""
    if not transfer.quantile:
        return ["there are too few runs to validate on: intervals come from in-sample errors and may be narrow"]
    if not transfer.tests.get("compute") and np.ptp(np.log(flops)) > 0:
        return ["the runs span too few compute levels to test extrapolation: intervals may be narrow"]
    return []


def better_baselines(candidates: Sequence[Candidate], blend: TransferError) -> list[str]:
    """Baselines that predicted unseen runs better than the blend."""
    return [
        f"the baseline `{one.recipe.law}` predicts unseen runs better than the laws "
        f"({100 * one.error.score:.1f}% against {100 * blend.score:.1f}% error)"
        for one in candidates
        if one.baseline and one.error.score < blend.score
    ]
