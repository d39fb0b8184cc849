"""`gp`, a Gaussian process over (h, N, D), and `<law>+gp`, a law whose residuals follow one.

Away from the mixtures that were run a process fades to nothing, so that the law alone extrapolates; its kernel is in
`mixlab.laws.forms.kernel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from mixlab.arrays import Array
from mixlab.laws.forms.base import Fits, Law, Observations, Points
from mixlab.laws.forms.kernel import Features, Kernel, tune
from mixlab.laws.forms.parametric import NOISE

CACHED = 1 << 18  # covariances of as many fits at once as this many numbers hold
WRONG = 10.0  # standard deviations of a residual beyond which a run must have gone wrong
SUFFIX = "+gp"


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

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`; from a `start` the kernel is kept, so that resamples cost one factorisation together."""
        P = self.law.size(len(rows.domains))
        base = self.law.fit(rows, weights, seed, None if start is None else start[:P])
        return self.follow(base, rows, weights, seed, start)

    def follow(self, base: Fits, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
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
