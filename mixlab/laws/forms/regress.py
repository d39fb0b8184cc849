"""Baselines without a theory: the mean, linear regression and gradient-boosted trees on (mixture, log N, log D).

`linear` is what RegMix compares with, `gbdt` its own recipe (Liu et al. 2024), without early stopping on test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.forms.base import SCALE_AND_MIXTURE, ClosedFormFits, Fits
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.solution import Solution

RIDGE = 1e-6  # settles collinear weights (they sum to 1) without moving the others
MOST_EXPONENT = 50.0  # a predicted log L is clipped to this: far above any loss, far below an overflow
GBDT_PARAMS = {"objective": "regression", "learning_rate": 0.01, "seed": 0, "deterministic": True, "num_threads": 1}
GBDT_TREES = 1000
LEAF = 20  # rows in a leaf: below this LightGBM grows no tree


class Linear:
    """log L = b + t . h + p log N + q log D by least squares; theta = (t_1 .. t_K, p, q, b)."""

    name = "linear"
    needs: frozenset[str] = frozenset()
    takes = SCALE_AND_MIXTURE
    baseline = True

    def size(self, domains: int) -> int:
        return domains + 3

    def free(self, rows: Observations) -> int:
        return self.size(len(rows.domains))

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`."""
        centre = rows.centre
        design = _features(rows.relative_to(centre))
        target = np.broadcast_to(np.log(rows.loss), weights.shape)
        normal = np.einsum("sn,np,nq->spq", weights, design, design, optimize=True)
        normal[:, range(normal.shape[1]), range(normal.shape[1])] += RIDGE
        right = np.einsum("sn,np,sn->sp", weights, design, target, optimize=True)
        theta = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        error = (weights * (theta @ design.T - target) ** 2).sum(axis=1)
        return ClosedFormFits(self, centre, rows.domains, Solution.exact(theta, error))

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return np.exp(np.clip(theta @ _features(at).T, -MOST_EXPONENT, MOST_EXPONENT))

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        value = self.predict(theta, at)
        return value, value[:, :, None] * theta[:, None, : at.mixture.shape[1]]

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """Slopes of log L."""
        names = [*(f"t.{name}" for name in domains), "log_params", "log_tokens", "intercept"]
        values = theta.copy()
        values[-1] -= theta[-3] * centre[0] + theta[-2] * centre[1]
        return {name: float(value) for name, value in zip(names, values, strict=True)}


class Constant:
    """The mean of log L, whatever the point: what a Gaussian process without a law starts from."""

    name = "mean"
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    baseline = True

    def size(self, domains: int) -> int:
        return 1

    def free(self, rows: Observations) -> int:
        return self.size(len(rows.domains))

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`."""
        log_loss = np.broadcast_to(np.log(rows.loss), weights.shape)
        theta = np.average(log_loss, axis=1, weights=weights)[:, None]
        error = (weights * (log_loss - theta) ** 2).sum(axis=1)
        return ClosedFormFits(self, rows.centre, rows.domains, Solution.exact(theta, error))

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return np.exp(np.broadcast_to(theta[:, :1], (len(theta), len(at))))

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K), the second all 0."""
        return self.predict(theta, at), np.zeros((len(theta), *at.mixture.shape))

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """The mean."""
        return {"mean": float(np.exp(theta[0]))}


class GradientBoosting:
    """LightGBM on (h, log N, log D) -> L.

    Its predictions are flat between splits: it ranks mixtures that were sampled, it cannot extrapolate.
    """

    name = "gbdt"
    needs: frozenset[str] = frozenset()
    takes = SCALE_AND_MIXTURE
    baseline = True

    def size(self, domains: int) -> int:
        return LEAF

    def free(self, rows: Observations) -> int:
        return self.size(len(rows.domains))

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`.

        Raises:
            FitError: when LightGBM is not installed.
        """
        try:
            import lightgbm
        except ImportError:
            raise FitError("the law `gbdt` needs LightGBM", 'pip install "mixlab[gbdt]"') from None
        centre = rows.centre
        design = _features(rows.relative_to(centre))
        models, errors = [], []
        for row_weights, loss in zip(weights, np.broadcast_to(rows.loss, weights.shape), strict=True):
            used = row_weights > 0
            data = lightgbm.Dataset(design[used], loss[used], weight=row_weights[used], params={"verbosity": -1})
            model = lightgbm.train({**GBDT_PARAMS, "verbosity": -1}, data, num_boost_round=GBDT_TREES)
            models.append(model)
            errors.append(float(np.sum(row_weights * (np.asarray(model.predict(design)) - loss) ** 2)))
        solution = Solution.exact(np.zeros((len(models), 0)), np.array(errors))
        return TreeFits(self, centre, rows.domains, solution, tuple(models))


class _Trees(Protocol):
    """What LightGBM's `Booster` offers here."""

    def predict(self, data: Array, /) -> Any: ...


@dataclass(frozen=True)
class TreeFits(Fits):
    """S ensembles of trees; their theta is empty, since trees have no parameters to report.

    Attributes:
        trees: an ensemble for each fit.
    """

    trees: tuple[_Trees, ...]

    def predict(self, at: Points) -> Array:
        design = _features(at.relative_to(self.centre))
        return np.array([one.predict(design) for one in self.trees])

    def value_and_gradient(self, at: Points) -> tuple[Array, Array]:
        """The gradient is zero almost everywhere: a search must sample."""
        return self.predict(at), np.zeros((len(self), *at.mixture.shape))

    def natural(self, index: int = 0) -> dict[str, float]:
        return {}

    def some(self, these: slice) -> Self:
        return replace(super().some(these), trees=self.trees[these])

    def joined(self, others: Sequence[Self]) -> Self:
        return replace(super().joined(others), trees=tuple(one for fits in (self, *others) for one in fits.trees))


def _features(at: Points) -> Array:
    return np.column_stack([at.mixture, at.x, at.y, np.ones(len(at))])
