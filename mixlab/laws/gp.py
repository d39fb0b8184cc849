"""`gp`, a Gaussian process over (h, N, D), and `<law>+gp`, a law whose residuals follow one.

The kernel is a sum of two, each Matern 5/2 with a length-scale for each feature (Rasmussen and Williams 2006, section
4.2): one of the mixture alone, which what a mixture gains or loses against the law keeps at every scale, and one of
mixture and scale together, which fades as N and D leave the runs. Features are log(h_i + .01), log N and log D, in
units of their standard deviation over the rows. Length-scales, amplitudes and noise maximise the marginal likelihood
times log-normal priors. Away from the mixtures that were run both fade to nothing, so that the law alone extrapolates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from mixlab.laws.base import Array, Fit, Law, Observations, Points
from mixlab.laws.parametric import NOISE

SMALLEST_SHARE = 0.01
SQRT5 = np.sqrt(5.0)
LENGTH_PRIOR = (np.log(3.0), 1.0)  # mean and standard deviation of log length-scales, features in standard deviations
SHARE_PRIOR = 1.0  # standard deviation of the logs of amplitude and noise around half the rows' scatter each
TUNING_STEPS = 40
TUNING_ROWS = 300  # more rows than this say little more about the kernel and cost their cube
CACHED = 1 << 18  # covariances of as many fits at once as this many numbers hold
JITTER = 1e-8  # of the signal's variance, for the factorisation
WRONG = 10.0  # standard deviations of a residual beyond which a run must have gone wrong
SUFFIX = "+gp"


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
        used = deviation > 1e-9
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
        each[:, :-2] = 1 / (at.mixture + SMALLEST_SHARE)
        return np.asarray(each[:, self.used] / self.deviation)


def _raw(at: Points) -> Array:
    return np.column_stack([np.log(at.mixture + SMALLEST_SHARE), at.x, at.y])


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
        return cls(packed[..., :-3], packed[..., -3], packed[..., -2], packed[..., -1], mixtures)

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


def _tamed(residual: Array, used: NDArray[np.bool_]) -> Array:
    """Residuals (S, n) without the excess of runs that went wrong, which a process would follow all the way."""
    scatter = 1.4826 * np.nanmedian(np.where(used, np.abs(residual), np.nan), axis=1, keepdims=True)
    most = np.maximum(WRONG * scatter, NOISE)
    return np.clip(residual, -most, most)


def _applied(covariance: Array, duals: Array) -> Array:
    """What weights (S, n) make of covariances (M, n), the same for all, or (S, M, n): shape (S, M)."""
    if covariance.ndim == 2:
        return duals @ covariance.T
    return np.asarray(np.matmul(covariance, duals[:, :, None])[:, :, 0])


def tune(features: Array, mixtures: int, residual: Array, rng: np.random.Generator) -> Kernel:
    """The kernel of largest posterior for residuals (n,) at features (n, F)."""
    if len(features) > TUNING_ROWS:
        some = rng.choice(len(features), TUNING_ROWS, replace=False)
        features, residual = features[some], residual[some]
    n, F = features.shape
    scatter = np.log(max(float(np.sqrt(np.mean(residual**2))), 1e-9) / np.sqrt(3))
    mean = np.array([*[LENGTH_PRIOR[0]] * F, *[scatter] * 3])
    deviation = np.array([*[LENGTH_PRIOR[1]] * F, *[SHARE_PRIOR] * 3])
    box = [(LENGTH_PRIOR[0] - 4, LENGTH_PRIOR[0] + 4)] * F + [(scatter - 6, scatter + 3)] * 3
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


class WithGaussianProcess:
    """A law times exp(a Gaussian process); theta = (the law's, dual weights of the n rows, the kernel's F + 3).

    The law object of a fit holds what its theta refers to: the rows' features.
    """

    def __init__(self, law: Law, features: Features | None = None, rows: Array | None = None, name: str = "") -> None:
        self.law = law
        self.name = name or law.name + SUFFIX
        self.needs, self.takes = law.needs, law.takes
        self._features = features
        self._rows = rows

    def size(self, domains: int) -> int:
        return self.law.size(domains)

    def free(self, rows: Observations) -> int:
        """Those of the law: the process has its priors, and few rows leave it near nothing."""
        return self.law.free(rows)

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fit:
        """See `Law.fit`; from a `start` the kernel is kept, so that resamples cost one factorisation together."""
        P = self.law.size(len(rows.domains))
        base = self.law.fit(rows, weights, seed, None if start is None else start[:P])
        return self.follow(base, rows, weights, seed, start)

    def follow(self, base: Fit, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fit:
        """S fits of the law, each with a process that follows its residuals.

        Args:
            base: S fits of the law beneath, or of this law, whose processes are then replaced.
            rows, weights: those of the fits.
            seed: of the rows on which kernels are tuned.
            start: whose kernel is kept; absent: fits of the same rows share one, tuned for the first of them.
        """
        rows_seen = rows.relative_to(base.centre)
        features = Features.of(rows_seen)
        Z = features(rows_seen)
        F, n = Z.shape[1], len(rows)
        base = replace(base, law=self.law, theta=base.theta[:, : self.law.size(len(rows.domains))])
        residual = _tamed(np.log(rows.loss) - np.log(base.predict(rows)), weights > 0)
        masks, group = np.unique(weights > 0, axis=0, return_inverse=True)
        duals, kernels = np.zeros((len(weights), n)), np.zeros((len(weights), F + 3))
        for index, mask in enumerate(masks):
            these = np.flatnonzero(group.ravel() == index)
            if start is None:
                kernel = tune(Z[mask], features.mixtures, residual[these[0], mask], np.random.default_rng((seed, 13)))
            else:
                kernel = Kernel.of(start[-F - 3 :], features.mixtures)
            factor = kernel.factor(Z[mask])
            duals[np.ix_(these, mask)] = cho_solve(factor, residual[np.ix_(these, mask)].T).T
            kernels[these] = kernel.packed
        law = WithGaussianProcess(self.law, features, Z, self.name)
        return replace(base, law=law, theta=np.concatenate([base.theta, duals, kernels], axis=1))

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return self._law_part(theta, at) * np.exp(self._process(theta, at))

    def gradient(self, theta: Array, at: Points) -> Array:
        """(S, M, K)."""
        return self.value_and_gradient(theta, at)[1]

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        base, by_law = self.law.value_and_gradient(theta[:, : self._split(theta)[0]], at)
        process, slope = self._process_and_slope(theta, at)
        grown = np.exp(process)
        return base * grown, np.asarray(grown[:, :, None] * (by_law + base[:, :, None] * slope))

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """The law's parameters, and the standard deviations of the process and of the noise around it."""
        P, _ = self._split(theta[None])
        assert self._features is not None
        kernel = Kernel.of(theta[-self._width :], self._features.mixtures)
        return self.law.natural(theta[:P], centre, domains) | {
            "gp_deviation_mixture": float(np.exp(kernel.mixture)),
            "gp_deviation_scale": float(np.exp(kernel.scale)),
            "noise_deviation": float(np.exp(kernel.noise)),
        }

    @property
    def _width(self) -> int:
        assert self._rows is not None
        return self._rows.shape[1] + 3

    def _split(self, theta: Array) -> tuple[int, int]:
        """Where the law's parameters and the dual weights end."""
        assert self._rows is not None
        end = theta.shape[1] - self._width
        return end - len(self._rows), end

    def _law_part(self, theta: Array, at: Points) -> Array:
        return self.law.predict(theta[:, : self._split(theta)[0]], at)

    def shares_rows(self, other: WithGaussianProcess) -> bool:
        """Whether fits of both refer to the same rows, so that their thetas may be stacked."""
        assert self._features is not None
        assert self._rows is not None
        assert other._features is not None
        assert other._rows is not None
        ours, theirs = (*vars(self._features).values(), self._rows), (*vars(other._features).values(), other._rows)
        return self.law is other.law and all(map(np.array_equal, ours, theirs))

    def _kernels(self, theta: Array, points: int) -> list[tuple[Kernel, slice]]:
        """The fits in parts: all, where they have one kernel, else with a kernel each, as many as a cache holds."""
        assert self._features is not None
        assert self._rows is not None
        packed, mixtures = theta[:, self._split(theta)[1] :], self._features.mixtures
        if np.all(packed == packed[0]):
            return [(Kernel.of(packed[0], mixtures), slice(None))]
        step = max(1, CACHED // (points * len(self._rows)))
        parts = [slice(first, first + step) for first in range(0, len(theta), step)]
        return [(Kernel.of(packed[these], mixtures), these) for these in parts]

    def _process(self, theta: Array, at: Points) -> Array:
        """The process, shape (S, M)."""
        assert self._features is not None
        assert self._rows is not None
        Z, duals = self._features(at), self._duals(theta)
        value = np.empty((len(theta), len(at)))
        for kernel, these in self._kernels(theta, len(at)):
            value[these] = _applied(kernel(Z, self._rows), duals[these])
        return np.asarray(value * self._fade(at))

    def _process_and_slope(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """The process, shape (S, M), and its derivative by h, shape (S, M, K)."""
        assert self._features is not None
        assert self._rows is not None
        Z, by_share, duals = self._features(at), self._features.slope(at), self._duals(theta)
        domains = np.flatnonzero(self._features.used[:-2])
        value, slope = np.empty((len(theta), len(at))), np.zeros((len(theta), *at.mixture.shape))
        for kernel, these in self._kernels(theta, len(at)):
            (first, first_slope), (second, second_slope) = kernel.parts(Z, self._rows)
            value[these] = _applied(first + second, duals[these])
            pulled = (first_slope + second_slope) * duals[these, None, :]
            moved = 2 * (Z * pulled.sum(-1, keepdims=True) - pulled @ self._rows)
            moved = moved * np.exp(-2 * kernel.length)[..., None, :] * by_share
            slope[these, :, domains] = moved[:, :, : len(domains)]
        fade = self._fade(at)
        return np.asarray(value * fade), np.asarray(slope * fade[:, None])

    def _duals(self, theta: Array) -> Array:
        """Dual weights of the rows, shape (S, n)."""
        begin, end = self._split(theta)
        return theta[:, begin:end]

    def _fade(self, at: Points) -> Array:
        """See `Features.fade`; where there is no law beneath it, the process is all there is, and stays."""
        assert self._features is not None
        return self._features.fade(at) if self.law.takes else np.ones(len(at))
