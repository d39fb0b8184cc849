"""Mixture laws at one scale, L(h).

    loglinear   c + exp(t . h)                  (Ye et al. 2024)
    power-mix   E + 1 / sum_i C_i h_i^g_i       (Shukor et al. 2025, the mixture term of the additive law)

In `loglinear` the factor in front of the exponential is absorbed by t on the simplex, so fitting one as well would be
degenerate. It is monotone along t . h: for a single target its optimum is a corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import Observations, Points
from mixlab.laws.forms.parametric import SMALLEST_SHARE, ParametricLaw

LOG_SHARE_BOX = (-9.0, 9.0)
LOG_POWER_BOX = (-4.0, 2.5)
POWER_PRIOR = (np.log(1 / 3), 1.0)  # of the exponents of shares


class LogLinear(ParametricLaw):
    """theta = (log c, t_1 .. t_K)."""

    name = "loglinear"
    needs = frozenset({"mixture"})
    takes = needs
    delta = 0.02

    def size(self, domains: int) -> int:
        return 1 + domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        c, t = np.exp(theta[:, :1]), theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -50, 50))
        jacobian = np.concatenate([np.broadcast_to(c, part.shape)[:, :, None], part[:, :, None] * at.mixture], axis=-1)
        return c + part, jacobian

    def gradient(self, theta: Array, at: Points) -> Array:
        t = theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -50, 50))
        return part[:, :, None] * t[:, None, :]

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        domains = len(rows.domains)
        lower = np.array([-12.0, *[-40.0] * domains])
        # Without a floor (c at zero) the law is a plain exponential, and where a trace of a domain is enough its t has
        # no bound: fine answers, not failures.
        return lower, np.array([6.0, *[20.0] * domains]), np.zeros(1 + domains, dtype=bool)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        starts = []
        for share in (0.3, 0.6, 0.8, 0.9, 0.97):
            c = share * rows.loss.min()
            design = np.vstack([rows.mixture, 1e-3 * np.eye(rows.mixture.shape[1])])
            wanted = np.concatenate([np.log(rows.loss - c), np.zeros(rows.mixture.shape[1])])
            starts.append([np.log(c), *np.linalg.lstsq(design, wanted, rcond=None)[0]])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        return {"c": float(np.exp(theta[0]))} | {
            f"t.{name}": float(value) for name, value in zip(domains, theta[1:], strict=True)
        }


class PowerMix(ParametricLaw):
    """theta = (log E, log C_1 .. log C_K, log g_1 .. log g_K)."""

    name = "power-mix"
    needs = frozenset({"mixture"})
    takes = needs
    delta = 0.02

    def size(self, domains: int) -> int:
        return 1 + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E = np.exp(theta[:, :1])
        floor, by_c, by_g, _ = power_floor(theta[:, 1:], at.mixture)
        return E + floor, np.concatenate([np.broadcast_to(E, floor.shape)[:, :, None], by_c, by_g], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        return power_floor(theta[:, 1:], at.mixture)[3]

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[1 + domains :], deviation[1 + domains :] = POWER_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        domains = len(rows.domains)
        lower = np.array([-12.0, *[LOG_SHARE_BOX[0]] * domains, *[LOG_POWER_BOX[0]] * domains])
        upper = np.array([6.0, *[LOG_SHARE_BOX[1]] * domains, *[LOG_POWER_BOX[1]] * domains])
        return lower, upper, np.zeros(1 + 2 * domains, dtype=bool)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = len(rows.domains)
        starts = []
        for share in (0.3, 0.6, 0.9):
            for _ in range(3):
                E = share * rows.loss.min()
                C = -np.log(np.median(rows.loss) - E) + rng.normal(0, 0.5, K)
                starts.append([np.log(E), *C, *(np.log(0.3) + rng.normal(0, 0.5, K))])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        E, *rest = (float(value) for value in np.exp(theta))
        K = len(domains)
        return (
            {"E": E}
            | {f"C.{name}": value for name, value in zip(domains, rest[:K], strict=True)}
            | {f"g.{name}": value for name, value in zip(domains, rest[K:], strict=True)}
        )


def power_floor(theta: Array, mixture: Array) -> tuple[Array, Array, Array, Array]:
    """1 / sum_i C_i h_i^g_i, shape (S, M), and its derivatives by log C, log g and h, each (S, M, K).

    Here theta is (log C_1 .. log C_K, log g_1 .. log g_K), shape (S, 2K).

    A weight of 0 adds nothing to the sum; its derivative by h, which is infinite, is taken at the smallest share.
    """
    K = mixture.shape[1]
    log_C, g = theta[:, None, :K], np.exp(theta[:, None, K:])
    log_h = np.log(np.maximum(mixture, SMALLEST_SHARE))
    raised = np.exp(log_C + g * log_h)
    terms = raised * (mixture > 0)
    floor = 1 / np.maximum(terms.sum(axis=-1), 1e-12)
    by_c = -(floor**2)[:, :, None] * terms
    by_h = -(floor**2)[:, :, None] * raised * g / np.maximum(mixture, SMALLEST_SHARE)
    return floor, by_c, by_c * g * log_h, by_h
