"""How well laws predict what they have not seen: more compute, larger models, more epochs, new mixtures.

Rolling origins fit what is small and predict what is larger; mixtures are kept out by group. Laws are weighed by the
errors on more compute and on new mixtures, and prediction intervals are calibrated with all four. In-sample error is
never used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixlab.arrays import Array

FOLDS = 4
ORIGINS = (0.5, 0.6, 0.7, 0.8, 0.9)  # shares of the rows that are fitted, where budgets form no levels
MAX_LEVELS = 8
LAST_LEVELS = 4
LEVEL_GAP = 0.2  # budgets closer than this in log C are one level
WHERE_BEYOND = ("params", "epochs")  # kinds that count at larger models, or more epochs, than were run, alone
MIN_SEEN = 3  # of those that a law must have seen to be asked about more
DECADE = math.log(10)


@dataclass(frozen=True)
class ValidationSplit:
    """Rows to fit and rows to predict.

    Attributes:
        kind: `compute`, `params`, `epochs` or `mixture`: what the test rows are beyond.
        fit, test: of the rows, each (n,).
        reach: log(C, N or epochs / the largest fitted), at least 0, zeros between mixtures, shape (n,).
    """

    kind: str
    fit: NDArray[np.bool_]
    test: NDArray[np.bool_]
    reach: Array


def make_splits(
    scales: Mapping[str, Array], mixture_group: NDArray[np.int64], min_rows: int, seed: int
) -> list[ValidationSplit]:
    """Rolling origins over each scale, and folds over mixtures.

    Args:
        scales: by kind, C, N or epochs by row, shape (n,).
        mixture_group: index of each row's mixture, shape (n,).
        min_rows: the fewest rows that a fit needs; smaller origins are left out, and mixtures are kept out one by one
            where folds of them leave fewer.
        seed: of the folds.
    """
    splits = []
    for kind, values in scales.items():
        scale = np.log(values)
        for edge in _origins(scale):
            fit = scale <= edge
            seen = len(np.unique(scale[fit].round(6)))
            if fit.sum() >= min_rows and not fit.all() and seen >= (MIN_SEEN if kind in WHERE_BEYOND else 1):
                splits.append(ValidationSplit(kind, fit, ~fit, np.maximum(scale - scale[fit].max(), 0.0)))
    groups = np.unique(mixture_group)
    if len(groups) >= 2 * FOLDS:
        order = np.random.default_rng((seed, 5)).permutation(len(groups))
        folds = [np.isin(mixture_group, groups[order % FOLDS == index]) for index in range(FOLDS)]
        kept = [test for test in folds if (~test).sum() >= min_rows]
        # A law that takes nearly all rows to fit is tried on one mixture at a time: in sample it hardly errs.
        for test in kept or [mixture_group == group for group in groups]:
            splits.append(ValidationSplit("mixture", ~test, test, np.zeros(len(mixture_group))))
    return splits


def _origins(scale: Array) -> Array:
    """The largest value that each origin fits, of logs: the last levels of a design that has few, else quantiles."""
    values = np.unique(scale.round(6))
    gaps = np.flatnonzero(np.diff(values) > LEVEL_GAP)
    spans = np.append(values[gaps], values[-1]) - np.append(values[0], values[gaps + 1])
    if 1 <= len(gaps) < MAX_LEVELS and spans.max() <= 2 * LEVEL_GAP:
        return np.asarray(values[gaps][-LAST_LEVELS:] + 1e-6)
    ordered = np.sort(scale)
    return np.unique([ordered[max(0, round(share * len(ordered)) - 1)] for share in ORIGINS])


@dataclass(frozen=True)
class TransferError:
    """Errors of log-predictions of rows that a fit had not seen.

    Attributes:
        compute, mixture: mean absolute log-error over the splits of each kind; NaN where there were none.
        quantile: by kind of split, the 90% quantile of |log-error| / growth(reach); splits count alike. Where there
            were none, of the errors in sample, as kind `sample`.
        tests: by kind, how many splits there were.
    """

    compute: float
    mixture: float
    quantile: dict[str, float]
    tests: dict[str, int]

    @property
    def score(self) -> float:
        """The root mean square of both kinds of transfer that could be tried; NaN without any."""
        parts = [value for value in (self.compute, self.mixture) if np.isfinite(value)]
        return float(np.sqrt(np.mean(np.square(parts)))) if parts else float("nan")

    def half_width(self, reach: Mapping[str, Array], level: float) -> Array:
        """Half the width of a prediction interval in log L: the widest that any kind of transfer asks for, shape (M,).

        Args:
            reach: by kind, log(C, N or epochs / the largest that was run), shape (M,).
            level: coverage.
        """
        widths = []
        for kind, quantile in self.quantile.items():
            beyond = reach.get(kind, np.zeros(1))
            widths.append(np.where((beyond > 0) | (kind not in WHERE_BEYOND), quantile * growth(beyond), 0.0))
        return np.asarray(
            np.max(np.broadcast_arrays(*widths), axis=0) * stats.norm.ppf(0.5 + level / 2) / stats.norm.ppf(0.95)
        )


def growth(reach: Array) -> Array:
    """How errors grow with log(C, N or epochs / the largest fitted): by as much as they were at 0 for each decade."""
    return np.asarray(1 + np.maximum(reach, 0.0) / DECADE)


def measure(splits: Sequence[ValidationSplit], predicted: Array, observed: Array) -> TransferError:
    """Sum up the errors of predictions made under each split.

    Args:
        splits: S splits.
        predicted: of every row by the fit of each split, shape (S, n).
        observed: shape (n,); NaN for rows that do not count.
    """
    means: dict[str, list[float]] = {}
    scaled: dict[str, list[Array]] = {}
    for split, row in zip(splits, log_errors(splits, predicted, observed), strict=True):
        here = np.isfinite(row)
        if here.any():
            means.setdefault(split.kind, []).append(float(row[here].mean()))
            scaled.setdefault(split.kind, []).append(row[here] / growth(split.reach[here]))
    compute, mixture = (float(np.mean(means.get(kind, [float("nan")]))) for kind in ("compute", "mixture"))
    quantile = {kind: _quantile(parts) for kind, parts in scaled.items()}
    return TransferError(compute, mixture, quantile, {kind: len(parts) for kind, parts in scaled.items()})


def log_errors(splits: Sequence[ValidationSplit], predicted: Array, observed: Array) -> Array:
    """|log predicted - log observed| of the rows that each split tests, else NaN: shape (S, n)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(np.log(predicted) - np.log(observed))
    error = np.where(np.isfinite(error) | ~np.isfinite(observed), error, DECADE)  # no prediction is a bad one
    tests = np.array([split.test for split in splits], dtype=bool).reshape(error.shape)
    return np.where(tests, error, np.nan)


def _quantile(parts: Sequence[Array]) -> float:
    """The 90% quantile of values in which each part counts alike."""
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, 0.9 * reached[-1])])
