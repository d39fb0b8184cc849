"""How well laws predict what they have not seen: more compute (rolling origin), and new mixtures (kept out by group).

This is what laws are weighed by and what prediction intervals are calibrated with. In-sample error is never used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixlab.laws.base import Array

FOLDS = 4
ORIGINS = (0.5, 0.6, 0.7, 0.8, 0.9)  # shares of the rows that are fitted, where budgets form no levels
MAX_LEVELS = 8
LAST_LEVELS = 4
LEVEL_GAP = 0.2  # budgets closer than this in log C are one level
DECADE = math.log(10)


@dataclass(frozen=True)
class Split:
    """Rows to fit and rows to predict, each (n,) of bool; `reach` is log(C / largest fitted C) by row, at least 0."""

    kind: str  # "compute" or "mixture"
    fit: NDArray[np.bool_]
    test: NDArray[np.bool_]
    reach: Array


def make_splits(flops: Array, mixture_group: NDArray[np.int64], min_rows: int, seed: int) -> list[Split]:
    """Rolling origins over compute and folds over mixtures.

    Args:
        flops: C by row, shape (n,).
        mixture_group: index of each row's mixture, shape (n,).
        min_rows: the fewest rows that a fit needs; smaller origins are left out.
        seed: of the folds.
    """
    log_c = np.log(flops)
    splits = []
    for edge in _origins(log_c):
        fit = log_c <= edge
        if fit.sum() >= min_rows and not fit.all():
            splits.append(Split("compute", fit, ~fit, np.maximum(log_c - log_c[fit].max(), 0.0)))
    groups = np.unique(mixture_group)
    if len(groups) >= 2 * FOLDS:
        fold = np.random.default_rng((seed, 5)).permutation(len(groups)) % FOLDS
        for index in range(FOLDS):
            test = np.isin(mixture_group, groups[fold == index])
            if (~test).sum() >= min_rows:
                splits.append(Split("mixture", ~test, test, np.zeros(len(flops))))
    return splits


def _origins(log_c: Array) -> Array:
    """The largest log C that each origin fits: the last levels of a design of few budgets, else quantiles."""
    values = np.unique(log_c.round(6))
    gaps = np.flatnonzero(np.diff(values) > LEVEL_GAP)
    spans = np.append(values[gaps], values[-1]) - np.append(values[0], values[gaps + 1])
    if 1 <= len(gaps) < MAX_LEVELS and spans.max() <= 2 * LEVEL_GAP:
        return np.asarray(values[gaps][-LAST_LEVELS:] + 1e-6)
    ordered = np.sort(log_c)
    return np.unique([ordered[max(0, round(share * len(ordered)) - 1)] for share in ORIGINS])


@dataclass(frozen=True)
class TransferError:
    """Errors of log-predictions of rows that a fit had not seen.

    Attributes:
        compute, mixture: mean absolute log-error over the splits of each kind; NaN where there were none.
        quantile: 90% quantile of |log-error| / growth(reach), the larger of the two kinds'; splits count alike.
        tests: how many compute levels were predicted.
    """

    compute: float
    mixture: float
    quantile: float
    tests: int

    @property
    def score(self) -> float:
        """The root mean square of both kinds of transfer that could be tried; NaN without any."""
        parts = [value for value in (self.compute, self.mixture) if np.isfinite(value)]
        return float(np.sqrt(np.mean(np.square(parts)))) if parts else float("nan")

    def half_width(self, reach: Array, level: float) -> Array:
        """Half the width of a prediction interval in log L, at log(C / largest C) of `reach`."""
        scale = stats.norm.ppf(0.5 + level / 2) / stats.norm.ppf(0.95)
        return np.asarray(self.quantile * scale * growth(reach))


def growth(reach: Array) -> Array:
    """How errors grow with log(C / largest fitted C): by as much as they were at 0 for each decade."""
    return np.asarray(1 + np.maximum(reach, 0.0) / DECADE)


def measure(splits: Sequence[Split], predicted: Array, observed: Array) -> TransferError:
    """Sum up the errors of predictions made under each split.

    Args:
        splits: S splits.
        predicted: of every row by the fit of each split, shape (S, n).
        observed: shape (n,); NaN for rows that do not count.
    """
    means: dict[str, list[float]] = {"compute": [], "mixture": []}
    scaled: dict[str, list[Array]] = {"compute": [], "mixture": []}
    for split, row in zip(splits, log_errors(splits, predicted, observed), strict=True):
        here = np.isfinite(row)
        if here.any():
            means[split.kind].append(float(row[here].mean()))
            scaled[split.kind].append(row[here] / growth(split.reach[here]))
    quantiles = [_quantile(parts) for parts in scaled.values() if parts]
    compute, mixture = (float(np.mean(part)) if part else float("nan") for part in means.values())
    return TransferError(compute, mixture, max(quantiles, default=float("nan")), len(means["compute"]))


def log_errors(splits: Sequence[Split], predicted: Array, observed: Array) -> Array:
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
