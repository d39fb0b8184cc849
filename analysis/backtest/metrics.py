"""How good predictions are: errors, and the decisions that they lead to.

A metric that is not defined is null, never 0.0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analysis.backtest.predictions import Prediction, points_of
from mixlab.arrays import Array
from mixlab.runs.table import Runs

Scores = dict[str, float | None]


def score(test: Runs, target: str, prediction: Prediction) -> Scores:
    """All metrics of one target over the test rows; those of decisions where mixtures differ."""
    regret, accuracy = None, None
    if test.domains:
        better = -1.0 if target.startswith("acc.") else 1.0  # the smallest loss, the largest accuracy
        regret, accuracy = choices(better * prediction.observed, better * prediction.predicted, _alternatives(test))
    return {**metrics(prediction), "regret_at_1": regret, "decision_accuracy": accuracy}


def metrics(prediction: Prediction) -> Scores:
    """Errors of one target: mean relative error (%), MAE (nats, or accuracy), R2, Spearman's rho, coverage and median
    width (%, of the prediction) of the interval.

    Whatever is not defined for these rows is None.
    """
    observed, predicted = prediction.observed, prediction.predicted
    error = predicted - observed
    spread = float(np.sum((observed - observed.mean()) ** 2))
    ranked = len(observed) >= 3 and np.ptp(observed) > 0 and np.ptp(predicted) > 1e-12 * np.abs(predicted).max()
    covered, width = None, None
    if prediction.low is not None and prediction.high is not None:
        covered = float(np.mean((prediction.low <= observed) & (observed <= prediction.high)))
        width = float(100 * np.median((prediction.high - prediction.low) / predicted))
    return {
        "mean_relative_error": float(100 * np.mean(np.abs(error) / np.abs(observed)))
        if (observed != 0).all()
        else None,
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - float(np.sum(error**2)) / spread if spread > 0 else None,
        "spearman": float(spearmanr(observed, predicted).statistic) if ranked else None,
        "coverage_90": covered,
        "width_90": width,
    }


def choices(observed: Array, predicted: Array, groups: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """How good decisions by the prediction are among alternatives: regret and pairwise accuracy.

    Rows of one group must be alternatives (same size and tokens, different mixtures). Regret is the mean over groups of
    (the loss of the row predicted best) - (the best loss), nats; accuracy is the share of pairs of a group that the
    prediction orders as they were observed. None without a group of two, or where a prediction makes no choice
    because it is the same for a whole group.
    """
    regrets, right, pairs = [], 0, 0
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) < 2:
            continue
        seen, guess = observed[rows], predicted[rows]
        if np.ptp(guess) <= 1e-12 * np.abs(guess).max():
            return None, None
        regrets.append(float(seen[guess.argmin()] - seen.min()))
        first, second = np.triu_indices(len(rows), 1)
        differ = seen[first] != seen[second]
        right += int(np.sum(differ & ((seen[first] < seen[second]) == (guess[first] < guess[second]))))
        pairs += int(differ.sum())
    return (float(np.mean(regrets)) if regrets else None), (right / pairs if pairs else None)


def _alternatives(table: Runs) -> NDArray[np.int64]:
    """Group rows of the same size and tokens (to 1%), shape (n,)."""
    _, params, tokens = points_of((), table)
    keys = np.round(np.log(np.column_stack([params, tokens])) / 0.01)
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1]).reshape(-1)
