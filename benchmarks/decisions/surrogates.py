"""What rivals fit to their runs: a Gaussian process, log-linear laws, boosted trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from scipy.optimize import least_squares

from mixlab.arrays import Array

LENGTHS, NUGGETS = (0.25, 0.5, 1.0, 2.0, 4.0), (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.6)
FLOORS = (0.3, 0.6, 0.9)  # of a log-linear law's constant, in shares of the lowest loss
SHRINK = 0.02  # ridge of its exponents, in standard deviations of the loss
TREES, RATE, PATIENCE = 1000, 0.01, 3  # RegMix's notebook


@dataclass(frozen=True)
class Process:
    """A Matern 5/2 process over sqrt(h) with a nugget, both by likelihood."""

    roots: Array  # (M, K)
    weights: Array  # (M,)
    length: float
    centre: float

    @classmethod
    def fit(cls, mixtures: Array, values: Array) -> Process:
        roots, centre = np.sqrt(mixtures), float(values.mean())
        y = (values - centre) / values.std()
        best: tuple[float, float, Array] = (-np.inf, 0.0, y)
        for length in LENGTHS:
            spectrum, vectors = np.linalg.eigh(matern(roots, roots, length))
            rotated = vectors.T @ y
            for nugget in NUGGETS:
                w = np.maximum(spectrum, 0) + nugget
                likelihood = -0.5 * (np.log(w).sum() + len(y) * np.log((rotated**2 / w).mean()))
                if likelihood > best[0]:
                    best = float(likelihood), length, vectors @ (rotated / w)
        return cls(roots, best[2] * values.std(), best[1], centre)

    def mean(self, mixtures: Array) -> Array:
        """Of mixtures (M, K): (M,)."""
        return np.asarray(self.centre + matern(np.sqrt(mixtures), self.roots, self.length) @ self.weights)


def matern(a: Array, b: Array, length: float) -> Array:
    """Matern 5/2 between rows of unit norm, (A, B)."""
    r = np.sqrt(np.maximum(2 - 2 * a @ b.T, 0)) * (np.sqrt(5) / length)
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


@dataclass(frozen=True)
class LogLinear:
    """L = c + exp(a + t . h)."""

    c: float
    a: float
    t: Array

    @classmethod
    def fit(cls, mixtures: Array, values: Array) -> LogLinear:
        """Least squares with a small ridge, which also settles that weights sum to 1, from several constants."""
        ridge = SHRINK * values.std()

        def residual(theta: Array) -> Array:
            fitted = np.exp(np.clip(theta[1] + mixtures @ theta[2:], -50, 50))
            return np.concatenate([theta[0] + fitted - values, ridge * theta[2:]])

        def jacobian(theta: Array) -> Array:
            fitted = np.exp(np.clip(theta[1] + mixtures @ theta[2:], -50, 50))[:, None]
            rows = np.hstack([np.ones_like(fitted), fitted, fitted * mixtures])
            return np.vstack([rows, np.eye(len(theta))[2:] * ridge])

        ends = []
        for share in FLOORS:
            c = share * values.min()
            start = np.linalg.lstsq(mixtures, np.log(values - c), rcond=0.05)[0]
            begin = np.concatenate([[c, start.mean()], start - start.mean()])
            ends.append(least_squares(residual, begin, jacobian, max_nfev=100, x_scale="jac"))
        theta = min(ends, key=lambda end: float(end.cost)).x
        return cls(float(theta[0]), float(theta[1]), theta[2:])

    def mean(self, mixtures: Array) -> Array:
        """Of mixtures (M, K): (M,)."""
        return np.asarray(self.c + np.exp(np.clip(self.a + mixtures @ self.t, -50, 50)))


class Trees:
    """RegMix's regression: LightGBM, stopped early on a tenth of the runs."""

    def __init__(self, mixtures: Array, values: Array, seed: int) -> None:
        kept = np.random.default_rng(seed).permutation(len(values)) >= len(values) // 10
        # leaves of LightGBM's least size, or few runs would not be split at all
        leaf = min(20, max(2, len(values) // 12))
        params = {"learning_rate": RATE, "min_data_in_leaf": leaf, "seed": seed, "num_threads": 1, "verbosity": -1}
        data = lightgbm.Dataset(mixtures[kept], values[kept], params={"verbosity": -1})
        watched = [lightgbm.Dataset(mixtures[~kept], values[~kept], reference=data)] if not kept.all() else None
        stop: list[Callable[..., Any]] = [lightgbm.early_stopping(PATIENCE, verbose=False)] if watched else []
        self._model = lightgbm.train(params, data, TREES, valid_sets=watched, callbacks=stop)

    def mean(self, mixtures: Array) -> Array:
        """Of mixtures (M, K): (M,)."""
        return np.asarray(self._model.predict(mixtures, num_threads=1))
