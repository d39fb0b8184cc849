"""Smooth misfit and noise: draws that can be evaluated at any mixture and scale, and repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mixlab.arrays import Array

FEATURES = 192
FREEDOM = 5  # of the Student frequencies: a Matern 5/2 process


@dataclass(frozen=True)
class Misfit:
    """A Gaussian process over sqrt(h) plus one over (sqrt(h), u), by random Fourier features (Rahimi and Recht 2007).

    Attributes:
        frequencies: shape (K + 1, F), the last row for u, the place of a scale between N0 (0) and the target (1). It is
            zero for the first half: that part of the misfit is the same at all scales.
        phases: shape (F,).
        weights: shape (F, J), in standard deviations.
    """

    frequencies: Array
    phases: Array
    weights: Array

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        domains: int,
        targets: int,
        length: float,
        span: float,
        moving: float,
        common: float,
    ) -> Misfit:
        """A draw of unit variance.

        Args:
            length: correlation length in sqrt(h).
            span: correlation length in u.
            moving: the share of the variance that changes with scale.
            common: the correlation between targets.
        """
        scale = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, FEATURES))
        omega = rng.standard_normal((domains + 1, FEATURES)) * scale
        omega[:-1] /= length
        omega[-1] /= span
        half = FEATURES // 2
        omega[-1, :half] = 0
        shared, own = rng.standard_normal((FEATURES, 1)), rng.standard_normal((FEATURES, targets))
        weights = np.sqrt(common) * shared + np.sqrt(1 - common) * own
        share = np.where(np.arange(FEATURES) < half, 1 - moving, moving)[:, None]
        return cls(omega, rng.uniform(0, 2 * np.pi, FEATURES), weights * np.sqrt(2 * share / half))

    def at(self, mixtures: Array, u: float) -> Array:
        """In standard deviations, shape (M, J)."""
        angle = np.sqrt(mixtures) @ self.frequencies[:-1] + (self.frequencies[-1] * u + self.phases)
        # in single precision a cosine takes a tenth of the time, and 1e-7 of a misfit is nothing
        return np.asarray(np.cos(angle.astype(np.float32)).astype(float) @ self.weights)

    def of(self, targets: NDArray[np.int_]) -> Misfit:
        """That of some targets."""
        return Misfit(self.frequencies, self.phases, self.weights[:, targets])


def standard_normals(mixtures: Array, seeds: NDArray[np.int_], salt: NDArray[np.uint64], count: int) -> Array:
    """Normals (M, count) that depend on nothing but a row's mixture, its seed and the salt.

    A counter-based generator (splitmix64 over the row's numbers): a run's loss is the same in whichever batch it comes.
    """
    numbers = np.round(mixtures * 1e12).astype(np.uint64)
    with np.errstate(over="ignore"):
        state = _mixed(np.asarray(seeds).astype(np.uint64))
        for column in (*np.broadcast_to(salt[:, None], (len(salt), len(mixtures))), *numbers.T):
            state = _mixed(state ^ column)
        hashed = _mixed(state[:, None] + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return np.asarray(ndtri(((hashed >> np.uint64(11)).astype(float) + 0.5) / 2.0**53))


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
