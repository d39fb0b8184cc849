"""How well a law predicts what it has not seen: more compute (rolling origin), and new mixtures (kept out by group).

This is what laws are chosen by and what prediction intervals are calibrated with. In-sample error is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.laws.base import Array, Law, Observations
from mixlab.laws.support import SPARE_ROWS

MAX_ORIGINS = 4
FOLDS = 4
LEVEL_GAP = 0.2  # budgets closer than this in log C are one level


@dataclass(frozen=True)
class Split:
    """Rows to fit and rows to predict, each (n,) of bool; `reach` is log(C / largest fitted C) by row."""

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
    for edge in _levels(log_c)[:-1][-MAX_ORIGINS:]:
        fit = log_c <= edge
        if fit.sum() >= min_rows:
            splits.append(Split("compute", fit, ~fit, np.maximum(log_c - edge, 0.0)))
    groups = np.unique(mixture_group)
    if len(groups) >= 2 * FOLDS:
        fold = np.random.default_rng((seed, 5)).permutation(len(groups)) % FOLDS
        for index in range(FOLDS):
            test = np.isin(mixture_group, groups[fold == index])
            if (~test).sum() >= min_rows:
                splits.append(Split("mixture", ~test, test, np.zeros(len(flops))))
    return splits


def _levels(log_c: Array) -> Array:
    """The upper edge of each compute level, ascending; many distinct budgets are cut at quantiles."""
    values = np.unique(log_c.round(6))
    gaps = np.flatnonzero(np.diff(values) > LEVEL_GAP)
    edges = np.append(values[gaps], values[-1])
    if len(edges) > 8 or len(edges) < 2:
        edges = np.unique(np.quantile(log_c, [0.4, 0.55, 0.7, 0.85, 1.0]))
    return edges + 1e-6


@dataclass(frozen=True)
class TransferError:
    """Log-errors of a law on rows it did not see.

    Attributes:
        compute: root mean square over the rolling origins' tests.
        mixture: root mean square over kept-out mixtures.
        floor, slope: RMS error at reach r is sqrt(floor^2 + (slope r)^2), r in units of log C.
        tests: how many compute levels were predicted.
    """

    compute: float
    mixture: float
    floor: float
    slope: float
    tests: int

    @property
    def score(self) -> float:
        """What laws are ranked by: the root mean square of both kinds of transfer that could be tried."""
        parts = [value for value in (self.compute, self.mixture) if np.isfinite(value)]
        return float(np.sqrt(np.mean(np.square(parts)))) if parts else float("nan")

    def at(self, reach: Array) -> Array:
        """RMS log-error at log(C / largest C)."""
        return np.sqrt(self.floor**2 + (self.slope * np.maximum(reach, 0.0)) ** 2)


def measure(splits: list[Split], predicted: Array, observed: Array) -> TransferError:
    """Sum up the errors of predictions made under each split.

    Args:
        splits: S splits.
        predicted: the prediction of every row by the fit of each split, shape (S, n).
        observed: shape (n,).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.log(predicted) - np.log(observed)
    error = np.where(np.isfinite(error), error, 10.0)
    compute = [
        (split.reach[split.test], error[i, split.test]) for i, split in enumerate(splits) if split.kind == "compute"
    ]
    mixture = [error[i, split.test] for i, split in enumerate(splits) if split.kind == "mixture"]
    rms_mixture = _rms(np.concatenate(mixture)) if mixture else float("nan")
    if not compute:
        return TransferError(float("nan"), rms_mixture, rms_mixture if mixture else 0.0, 0.0, 0)
    reach, errors = (np.concatenate(parts) for parts in zip(*compute, strict=True))
    rms = _rms(errors)
    floor = rms_mixture if mixture else 0.5 * rms
    # Least squares of error^2 - floor^2 on reach^2, through the origin.
    excess = float(np.sum((errors**2 - floor**2) * reach**2) / max(np.sum(reach**4), 1e-300))
    return TransferError(rms, rms_mixture, floor, float(np.sqrt(max(excess, 0.0))), len(compute))


def transfer_error(
    law: Law,
    rows: Observations,
    losses: Mapping[str, Array],
    weights: Mapping[str, float],
    flops: Array,
    groups: NDArray[np.int64],
    seed: int,
) -> TransferError:
    """The objective's error on rows that a fit of `law` did not see."""
    splits = make_splits(flops, groups, law.size(len(rows.domains)) + SPARE_ROWS, seed)
    total = sum(weight * losses[name] for name, weight in weights.items())
    if not splits:
        return TransferError(float("nan"), float("nan"), 0.0, 0.0, 0)
    masks = np.array([split.fit for split in splits], dtype=float)
    predicted = np.zeros((len(splits), len(rows)))
    for name, weight in weights.items():
        fit = law.fit(rows.with_loss(losses[name]), masks, seed)
        predicted += weight * fit.predict(rows)
    return measure(splits, predicted, np.asarray(total))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")
