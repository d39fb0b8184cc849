"""Whether accuracy rises as the loss falls: a benchmark that the runs have not begun to learn cannot be predicted."""

from __future__ import annotations

import numpy as np
from scipy import stats

from mixlab.arrays import Array
from mixlab.errors import FitError

ROWS_OF_A_TREND = 5  # fewer cannot rise significantly
SIGNIFICANT = 0.01
LOW_ENDS = (0.25, 0.35, 0.5)  # shares of the rows, from the lowest loss up, on which accuracy must not fall
CLEAR_OF_CHANCE = 2.0  # standard errors


def require_rise(loss: Array, accuracy: Array, target: str, chance: float | None, items: int | None) -> None:
    """Refuse a benchmark that the runs have not begun to learn, or on which they get worse.

    Raises:
        FitError: too few rows; accuracy at chance; no significant rise as the loss falls, or a fall at its low end.
    """
    instead = "predict the loss instead, or add runs of lower loss"
    if len(loss) < ROWS_OF_A_TREND:
        raise FitError(
            f"`two-step` needs {ROWS_OF_A_TREND} rows with `{target}` and its loss, but got {len(loss)}", instead
        )
    order = np.argsort(loss)
    best, scores = order[: max(1, len(order) // 4)], f"{accuracy.min():.3f} to {accuracy.max():.3f}"
    # Neighbours in loss differ by noise alone, nearly: von Neumann's estimate of it.
    noise = float(np.sqrt(np.mean(np.diff(accuracy[order]) ** 2) / 2))
    if chance is not None:
        noise = max(noise, float(np.sqrt(binomial(np.array([chance]), items)[0])))
        rise = float(accuracy[best].mean()) - chance
        if rise <= CLEAR_OF_CHANCE * noise / np.sqrt(len(best)):
            raise FitError(
                f"`{target}` is still at chance: {accuracy[best].mean():.3f} on average over the {len(best)} rows of "
                f"lowest loss (down to {loss.min():.3f}), against {chance:g} by guessing",
                instead,
            )
    trend = stats.kendalltau(loss, accuracy, alternative="less")
    if not trend.pvalue < SIGNIFICANT:
        raise FitError(
            f"`{target}` does not rise as the loss falls: {scores} over losses of {loss.min():.3f} to "
            f"{loss.max():.3f} (Kendall's tau {trend.statistic:+.2f}); it may still be at chance",
            instead,
        )
    for share in LOW_ENDS:
        low = order[: max(ROWS_OF_A_TREND, round(share * len(order)))]
        fall = stats.kendalltau(loss[low], accuracy[low], alternative="greater")
        if fall.pvalue < SIGNIFICANT / len(LOW_ENDS):
            raise FitError(
                f"`{target}` falls again as the loss goes below {loss[low].max():.3f} (Kendall's tau "
                f"{fall.statistic:+.2f} over {len(low)} rows): no curve that rises can follow it",
                "predict the loss instead, or leave rows out by `where`",
            )


def binomial(accuracy: Array, items: int | None) -> Array:
    """Variance of an accuracy measured on `items` questions; 0 where their number is not known."""
    return accuracy * (1 - accuracy) / items if items else np.zeros_like(accuracy)
