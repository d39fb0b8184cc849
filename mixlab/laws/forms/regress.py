"""Baselines without a theory: linear regression and gradient-boosted trees on (mixture, log N, log D).

`linear` is what RegMix compares with, `gbdt` its own recipe (Liu et al. 2024), without early stopping on test rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.forms.base import CONVERGED, Fits, Observations, Points

RIDGE = 1e-6  # settles collinear weights (they sum to 1) without moving the others
GBDT_PARAMS = {"objective": "regression", "learning_rate": 0.01, "seed": 0, "deterministic": True, "num_threads": 1}
GBDT_TREES = 1000


class Linear:
    """log L = b + t . h + p log N + q log D by least squares; theta = (t_1 .. t_K, p, q, b)."""

    name = "linear"
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()

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
        return Fits(self, theta, centre, error, (CONVERGED,) * len(weights), rows.domains)

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return np.exp(np.clip(theta @ _features(at).T, -50, 50))

    def gradient(self, theta: Array, at: Points) -> Array:
        """(S, M, K)."""
        return self.predict(theta, at)[:, :, None] * theta[:, None, : at.mixture.shape[1]]

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        return self.predict(theta, at), self.gradient(theta, at)

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

    def size(self, domains: int) -> int:
        return 1

    def free(self, rows: Observations) -> int:
        return self.size(len(rows.domains))

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`."""
        log_loss = np.broadcast_to(np.log(rows.loss), weights.shape)
        theta = np.average(log_loss, axis=1, weights=weights)[:, None]
        error = (weights * (log_loss - theta) ** 2).sum(axis=1)
        return Fits(self, theta, rows.centre, error, (CONVERGED,) * len(weights), rows.domains)

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return np.exp(np.broadcast_to(theta[:, :1], (len(theta), len(at))))

    def gradient(self, theta: Array, at: Points) -> Array:
        """(S, M, K), all 0."""
        return np.zeros((len(theta), *at.mixture.shape))

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        return self.predict(theta, at), self.gradient(theta, at)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """The mean."""
        return {"mean": float(np.exp(theta[0]))}


class GradientBoosting:
    """LightGBM on (h, log N, log D) -> L. theta only numbers the S models, which the law object of the fit holds.

    Its predictions are flat between splits: it ranks mixtures that were sampled, it cannot extrapolate.
    """

    name = "gbdt"
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()

    def __init__(self, models: Sequence[object] = ()) -> None:
        self._models = tuple(models)

    def size(self, domains: int) -> int:
        return 20  # rows in a leaf: below this LightGBM grows no tree

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
        theta = np.arange(len(models), dtype=float)[:, None]
        fitted = GradientBoosting(models)
        return Fits(fitted, theta, centre, np.array(errors), (CONVERGED,) * len(models), rows.domains)

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        design = _features(at)
        return np.array([self._models[int(index)].predict(design) for index in theta[:, 0]])  # type: ignore[attr-defined]

    def gradient(self, theta: Array, at: Points) -> Array:
        """Zero almost everywhere: a search must sample."""
        return np.zeros((len(theta), *at.mixture.shape))

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        return self.predict(theta, at), self.gradient(theta, at)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """Trees have no parameters to report."""
        return {}


def _features(at: Points) -> Array:
    return np.column_stack([at.mixture, at.x, at.y, np.ones(len(at))])
