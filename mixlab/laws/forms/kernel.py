"""The kernel of a Gaussian process over (h, N, D), and how it is tuned to residuals.

It is a sum of two, each Matern 5/2 with a length-scale for each feature (Rasmussen and Williams 2006, section 4.2): one
of the mixture alone, which what a mixture gains or loses against the law keeps at every scale, and one of mixture and
scale together, which fades as N and D leave the runs. Features are log(h_i + .01), log N and log D, in units of their
standard deviation over the rows. Length-scales, amplitudes and noise maximise the marginal likelihood times log-normal
priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from mixlab.arrays import Array
from mixlab.laws.forms.points import Points

SHARE_OFFSET = 0.01  # added to a share before its logarithm is taken: below it, shares hardly differ
SQRT5 = np.sqrt(5.0)
LENGTH_PRIOR = (np.log(3.0), 1.0)  # mean and standard deviation of log length-scales, features in standard deviations
SHARE_PRIOR = 1.0  # standard deviation of the logs of amplitude and noise around half the rows' scatter each
TUNING_STEPS = 40
TUNING_ROWS = 300  # more rows than this say little more about the kernel and cost their cube
JITTER = 1e-8  # of the signal's variance, for the factorisation
LENGTH_REACH = 4.0  # standard deviations of the prior around its mean
LOG_DEVIATION_REACH = (6.0, 3.0)  # below and above the rows' scatter
LEAST_SCATTER = 1e-9  # of residuals, where a law leaves none
CONSTANT = 1e-9  # standard deviation of a feature up to which it does not vary
OWN_NUMBERS = 3  # of a kernel, beside a length-scale for each feature


@dataclass(frozen=True)
class Features:
    """Points -> standardised features.

    Attributes:
        mean, deviation: over the rows, shape (F,).
        used: which of (log(h + .01), log N, log D) vary in the rows, shape (K + 2,).
    """

    mean: Array
    deviation: Array
    used: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Points) -> Features:
        """The features that vary in the rows."""
        raw = _raw(rows)
        deviation = raw.std(axis=0)
        used = deviation > CONSTANT
        return cls(raw.mean(axis=0)[used], deviation[used], used)

    @property
    def mixtures(self) -> int:
        """How many features are of the mixture; they come first."""
        return int(self.used[:-2].sum())

    def __call__(self, at: Points) -> Array:
        """Shape (M, F)."""
        return np.asarray((_raw(at)[:, self.used] - self.mean) / self.deviation)

    def fade(self, at: Points) -> Array:
        """How much of a process is left at sizes or token counts that differ from the only ones run, shape (M,).

        Rows of one N say nothing about how far what they share reaches in N: within a factor of e it is gone.
        """
        unseen = ~self.used[-2:]
        return np.asarray(np.exp(-0.5 * (np.column_stack([at.x, at.y])[:, unseen] ** 2).sum(axis=1)))

    def slope(self, at: Points) -> Array:
        """d feature / d h for the features of domains, shape (M, F); 0 for log N and log D."""
        each = np.zeros((len(at), len(self.used)))
        each[:, :-2] = 1 / (at.mixture + SHARE_OFFSET)
        return np.asarray(each[:, self.used] / self.deviation)


def _raw(at: Points) -> Array:
    return np.column_stack([np.log(at.mixture + SHARE_OFFSET), at.x, at.y])


@dataclass(frozen=True)
class Kernel:
    """The sum of both kernels.

    Attributes:
        length: log length-scales, shape (F,); (S, F) for S kernels at once, whose covariances are then (S, M, n).
        mixture, scale, noise: logs of the standard deviations of the two processes and of the noise, shape () or (S,).
        mixtures: how many features are of the mixture.
    """

    length: Array
    mixture: Array
    scale: Array
    noise: Array
    mixtures: int

    @classmethod
    def of(cls, packed: Array, mixtures: int) -> Kernel:
        """From its F + 3 numbers, or from (S, F + 3)."""
        return cls(packed[..., :-OWN_NUMBERS], packed[..., -3], packed[..., -2], packed[..., -1], mixtures)

    @property
    def packed(self) -> Array:
        """Shape (F + 3,)."""
        return np.array([*self.length, self.mixture, self.scale, self.noise])

    def parts(self, a: Array, b: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Each kernel and its derivative by distance^2 between (M, F) and (n, F): twice two arrays (M, n)."""
        scale, m = np.exp(-self.length)[..., None, :], self.mixtures
        a, b = a * scale, b * scale
        near = _squares(a[..., :m], b[..., :m])
        if m == a.shape[-1]:
            nothing = np.zeros_like(near)
            return _matern(near, self.mixture), (nothing, nothing)
        far = near + _squares(a[..., m:], b[..., m:])
        return _matern(near, self.mixture), _matern(far, self.scale)

    def __call__(self, a: Array, b: Array) -> Array:
        """Covariances between (M, F) and (n, F), shape (M, n)."""
        first, second = self.parts(a, b)
        return first[0] + second[0]

    def factor(self, rows: Array) -> Any:
        """Cholesky factor of the rows' covariance with noise."""
        return _factor(self(rows, rows), self.noise)


def _squares(a: Array, b: Array) -> Array:
    across = np.matmul(a, np.swapaxes(b, -1, -2))
    return np.asarray(np.maximum((a**2).sum(-1)[..., :, None] + (b**2).sum(-1)[..., None, :] - 2 * across, 0))


def _matern(square: Array, log_deviation: Array) -> tuple[Array, Array]:
    far = SQRT5 * np.sqrt(square)
    decay = np.exp(2 * log_deviation[..., None, None] - far)
    return (1 + far + far**2 / 3) * decay, -5 / 6 * (1 + far) * decay


def _factor(covariance: Array, noise: Array) -> Any:
    top = np.exp(2 * noise) + JITTER * covariance[0, 0]
    return cho_factor(covariance + top * np.eye(len(covariance)), lower=True)


def tune(features: Array, mixtures: int, residual: Array, rng: np.random.Generator) -> Kernel:
    """The kernel of largest posterior for residuals (n,) at features (n, F)."""
    if len(features) > TUNING_ROWS:
        some = rng.choice(len(features), TUNING_ROWS, replace=False)
        features, residual = features[some], residual[some]
    n, F = features.shape
    scatter = np.log(max(float(np.sqrt(np.mean(residual**2))), LEAST_SCATTER) / np.sqrt(3))
    mean = np.array([*[LENGTH_PRIOR[0]] * F, *[scatter] * OWN_NUMBERS])
    deviation = np.array([*[LENGTH_PRIOR[1]] * F, *[SHARE_PRIOR] * OWN_NUMBERS])
    reach = LENGTH_REACH * LENGTH_PRIOR[1]
    below, above = LOG_DEVIATION_REACH
    box = [(LENGTH_PRIOR[0] - reach, LENGTH_PRIOR[0] + reach)] * F + [(scatter - below, scatter + above)] * OWN_NUMBERS
    of_mixture = np.arange(F) < mixtures

    def value(packed: Array) -> tuple[float, Array]:
        kernel = Kernel.of(packed, mixtures)
        (first, first_slope), (second, second_slope) = kernel.parts(features, features)
        factor = _factor(first + second, kernel.noise)
        dual = cho_solve(factor, residual)
        pull = (packed - mean) / deviation
        total = 0.5 * residual @ dual + np.log(np.diag(factor[0])).sum() + 0.5 * pull @ pull
        outer = 0.5 * (cho_solve(factor, np.eye(n)) - np.outer(dual, dual))
        moved = _moved(outer * second_slope, features) + of_mixture * _moved(outer * first_slope, features)
        amplitudes = [
            2 * np.sum(outer * first),
            2 * np.sum(outer * second),
            2 * np.exp(2 * kernel.noise) * np.trace(outer),
        ]
        gradient = np.array([*(-2 * moved / np.exp(2 * kernel.length)), *amplitudes])
        return float(total), gradient + pull / deviation

    found = minimize(value, mean, jac=True, method="L-BFGS-B", options={"maxiter": TUNING_STEPS}, bounds=box)
    return Kernel.of(np.asarray(found.x), mixtures)


def _moved(weights: Array, features: Array) -> Array:
    """sum_ij W_ij (z_i - z_j)^2 of each feature, shape (F,), for symmetric W (n, n)."""
    return np.asarray(2 * (weights.sum(1) @ features**2 - np.einsum("if,if->f", features, weights @ features)))
