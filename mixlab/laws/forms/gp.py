"""`gp`, a Gaussian process over (h, N, D), and `<law>+gp`, a law whose residuals follow one.

Away from the mixtures that were run a process fades to nothing, so that the law alone extrapolates; its kernel is in
`mixlab.laws.forms.kernel`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from mixlab.arrays import Array
from mixlab.laws.forms.base import SCALE_AND_MIXTURE, Fits, Law
from mixlab.laws.forms.kernel import OWN_NUMBERS, Features, Kernel, tune
from mixlab.laws.forms.parametric import NOISE, NORMAL_SCALE
from mixlab.laws.forms.points import Observations, Points

AT_ONCE = 1 << 18  # covariances of as many fits at once as this many numbers hold: two megabytes stay in a cache
WRONG = 10.0  # standard deviations of a residual beyond which a run must have gone wrong
SUFFIX = "+gp"


class WithGaussianProcess:
    """A law times exp(a Gaussian process of what it misses).

    It is a baseline where the law is one: a process with no theory beneath it.
    """

    def __init__(self, law: Law, name: str = "") -> None:
        self.law = law
        self.name = name or law.name + SUFFIX
        self.needs = law.needs
        self.takes = law.takes | SCALE_AND_MIXTURE if law.baseline else law.takes
        self.baseline = law.baseline

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

    def follow(
        self, base: Fits, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None
    ) -> ProcessFits:
        """S fits of the law, each with a process that follows its residuals.

        Args:
            base: S fits of the law beneath.
            rows, weights: those of the fits.
            seed: of the rows on which kernels are tuned.
            start: theta of an earlier fit whose kernel is kept; absent: fits of the same rows share one, tuned for the
                first of them.
        """
        relative = rows.relative_to(base.centre)
        features = Features.of(relative)
        Z = features(relative)
        n, numbers = len(rows), Z.shape[1] + OWN_NUMBERS
        residual = _tamed(np.log(rows.loss) - np.log(base.predict(rows)), weights > 0)
        masks, group = np.unique(weights > 0, axis=0, return_inverse=True)
        duals, kernels = np.zeros((len(weights), n)), np.zeros((len(weights), numbers))
        for index, mask in enumerate(masks):
            these = np.flatnonzero(group.ravel() == index)
            if start is None:
                kernel = tune(Z[mask], features.mixtures, residual[these[0], mask], np.random.default_rng((seed, 13)))
            else:
                kernel = Kernel.of(start[-numbers:], features.mixtures)
            factor = kernel.factor(Z[mask])
            duals[np.ix_(these, mask)] = cho_solve(factor, residual[np.ix_(these, mask)].T).T
            kernels[these] = kernel.packed
        solution = replace(base.solution, theta=np.concatenate([base.theta, kernels], axis=1))
        return ProcessFits(self, base.centre, base.domains, solution, base, SeenRows(features, Z), duals)


@dataclass(frozen=True)
class SeenRows:
    """The n rows that a process follows.

    Attributes:
        features: how points become features.
        values: the rows' features, shape (n, F).
    """

    features: Features
    values: Array

    @cached_property
    def identity(self) -> bytes:
        """Equal for the same rows seen by the same features."""
        return b"".join(array.tobytes() for array in (*vars(self.features).values(), self.values))


@dataclass(frozen=True)
class ProcessFits(Fits):
    """S fits of a law, each times exp(a process); theta = (the law's, the F + 3 numbers of the kernel).

    Attributes:
        base: the fits of the law beneath.
        seen: the rows.
        duals: what each row weighs in each process, shape (S, n).
    """

    law: WithGaussianProcess
    base: Fits
    seen: SeenRows
    duals: Array

    def predict(self, at: Points) -> Array:
        return self.base.predict(at) * np.exp(self._process(at.relative_to(self.centre)))

    def value_and_gradient(self, at: Points) -> tuple[Array, Array]:
        base, by_law = self.base.value_and_gradient(at)
        process, slope = self._process_and_slope(at.relative_to(self.centre))
        grown = np.exp(process)
        return base * grown, np.asarray(grown[:, :, None] * (by_law + base[:, :, None] * slope))

    def natural(self, index: int = 0) -> dict[str, float]:
        """The law's parameters, and the standard deviations of the process and of the noise around it."""
        kernel = Kernel.of(self._kernels[index], self.seen.features.mixtures)
        return self.base.natural(index) | {
            "gp_deviation_mixture": float(np.exp(kernel.mixture)),
            "gp_deviation_scale": float(np.exp(kernel.scale)),
            "noise_deviation": float(np.exp(kernel.noise)),
        }

    @property
    def function(self) -> Hashable:
        return self.base.function, self.seen.identity

    def some(self, these: slice) -> Self:
        return replace(super().some(these), base=self.base.some(these), duals=self.duals[these])

    def joined(self, others: Sequence[Self]) -> Self:
        return replace(
            super().joined(others),
            base=self.base.joined([other.base for other in others]),
            duals=np.concatenate([self.duals, *(other.duals for other in others)]),
        )

    def refreshed(self, rows: Observations, weights: Array, seed: int) -> ProcessFits:
        """The same law fits, each with a kernel of its own in place of the one that `start` gave."""
        return self.law.follow(self.base, rows, weights, seed)

    @property
    def _kernels(self) -> Array:
        """The kernels' numbers, shape (S, F + 3)."""
        return self.theta[:, self.base.theta.shape[1] :]

    def _parts(self, points: int) -> list[tuple[Kernel, slice]]:
        """The fits in parts: all, where they have one kernel, else with a kernel each, as many as a cache holds."""
        packed, mixtures = self._kernels, self.seen.features.mixtures
        if np.all(packed == packed[0]):
            return [(Kernel.of(packed[0], mixtures), slice(None))]
        step = max(1, AT_ONCE // (points * len(self.seen.values)))
        parts = [slice(first, first + step) for first in range(0, len(packed), step)]
        return [(Kernel.of(packed[these], mixtures), these) for these in parts]

    def _process(self, at: Points) -> Array:
        """The process at points relative to the centre, shape (S, M)."""
        Z, value = self.seen.features(at), np.empty((len(self), len(at)))
        for kernel, these in self._parts(len(at)):
            value[these] = _applied(kernel(Z, self.seen.values), self.duals[these])
        return np.asarray(value * self._fade(at))

    def _process_and_slope(self, at: Points) -> tuple[Array, Array]:
        """The process, shape (S, M), and its derivative by h, shape (S, M, K)."""
        features, rows = self.seen.features, self.seen.values
        Z, by_share = features(at), features.slope(at)
        domains = np.flatnonzero(features.used[:-2])
        value, slope = np.empty((len(self), len(at))), np.zeros((len(self), *at.mixture.shape))
        for kernel, these in self._parts(len(at)):
            (first, first_slope), (second, second_slope) = kernel.parts(Z, rows)
            value[these] = _applied(first + second, self.duals[these])
            pulled = (first_slope + second_slope) * self.duals[these, None, :]
            moved = 2 * (Z * pulled.sum(-1, keepdims=True) - pulled @ rows)
            moved = moved * np.exp(-2 * kernel.length)[..., None, :] * by_share
            slope[these, :, domains] = moved[:, :, : len(domains)]
        fade = self._fade(at)
        return np.asarray(value * fade), np.asarray(slope * fade[:, None])

    def _fade(self, at: Points) -> Array:
        """See `Features.fade`; where there is no law beneath it, the process is all there is, and stays."""
        return np.ones(len(at)) if self.law.baseline else self.seen.features.fade(at)


def _tamed(residual: Array, used: NDArray[np.bool_]) -> Array:
    """Residuals (S, n) without the excess of runs that went wrong, which a process would follow all the way."""
    scatter = NORMAL_SCALE * np.nanmedian(np.where(used, np.abs(residual), np.nan), axis=1, keepdims=True)
    most = np.maximum(WRONG * scatter, NOISE)
    return np.clip(residual, -most, most)


def _applied(covariance: Array, duals: Array) -> Array:
    """What weights (S, n) make of covariances (M, n), the same for all, or (S, M, n): shape (S, M)."""
    if covariance.ndim == 2:
        return duals @ covariance.T
    return np.asarray(np.matmul(covariance, duals[:, :, None])[:, :, 0])
