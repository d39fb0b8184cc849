"""Mixture laws at one scale, L(h).

    loglinear   c + exp(t . h)                  (Ye et al. 2024)
    power-mix   E + 1 / sum_i C_i h_i^g_i       (Shukor et al. 2025, the mixture term of the additive law)

In `loglinear` the factor in front of the exponential is absorbed by t on the simplex, so fitting one as well would be
degenerate. It is monotone along t . h: for a single target its optimum is a corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.parametric import (
    LOG_FLOOR_BOX,
    NOISE,
    SMALLEST_SHARE,
    ParametricLaw,
    by_domain,
    of_domains,
)
from mixlab.laws.forms.points import Observations, Points

SLOPE_BOX = (-40.0, 20.0)  # t: a trace of a domain may be enough, and no domain raises a loss by more than e^20
MOST_EXPONENT = 50.0  # what is exponentiated is clipped to this: far above any loss, far below an overflow
LOG_SHARE_BOX = (-9.0, 9.0)  # C: a domain worth 1e-4 to 1e4 times a loss of 1
LOG_POWER_BOX = (-4.0, 2.5)  # g, from .02 (any trace counts in full) to 12 (only a corner counts)
POWER_PRIOR = (np.log(1 / 3), 1.0)  # of the exponents of shares
LEAST_SUM = 1e-12  # of the terms of a mixture's domains, where it holds none that is worth anything
START_SPREAD = 0.5  # standard deviation of random starts, in logarithms


class LogLinear(ParametricLaw):
    """theta = (log c, t_1 .. t_K)."""

    name = "loglinear"
    needs = frozenset({"mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return 1 + domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        c, t = np.exp(theta[:, :1]), theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -MOST_EXPONENT, MOST_EXPONENT))
        jacobian = np.concatenate([np.broadcast_to(c, part.shape)[:, :, None], part[:, :, None] * at.mixture], axis=-1)
        return c + part, jacobian

    def gradient(self, theta: Array, at: Points) -> Array:
        t = theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -MOST_EXPONENT, MOST_EXPONENT))
        return part[:, :, None] * t[:, None, :]

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        box = np.array([LOG_FLOOR_BOX, *[SLOPE_BOX] * len(rows.domains)])
        # Without a floor (c at zero) the law is a plain exponential, and where a trace of a domain is enough its t has
        # no bound: fine answers, not failures.
        return box[:, 0], box[:, 1], np.zeros(len(box), dtype=bool)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        starts = []
        for share in (0.3, 0.6, 0.8, 0.9, 0.97):
            c = share * rows.loss.min()
            design = np.vstack([rows.mixture, 1e-3 * np.eye(rows.mixture.shape[1])])
            wanted = np.concatenate([np.log(rows.loss - c), np.zeros(rows.mixture.shape[1])])
            starts.append([np.log(c), *np.linalg.lstsq(design, wanted, rcond=None)[0]])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        return {"c": float(np.exp(theta[0]))} | by_domain("t", domains, theta[1:])

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        return np.asarray(params["c"] + np.exp(at.mixture @ of_domains("t", params, domains)))

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        return {"c": 1.2} | by_domain("t", domains, (0.4, -0.3, 0.9))


class PowerMix(ParametricLaw):
    """theta = (log E, log C_1 .. log C_K, log g_1 .. log g_K)."""

    name = "power-mix"
    needs = frozenset({"mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return 1 + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E = np.exp(theta[:, :1])
        floor = power_floor(theta[:, 1:], at.mixture)
        by_E = np.broadcast_to(E, floor.value.shape)[:, :, None]
        return E + floor.value, np.concatenate([by_E, floor.by_c, floor.by_g], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        return power_floor(theta[:, 1:], at.mixture).by_h

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[1 + domains :], deviation[1 + domains :] = POWER_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        K = len(rows.domains)
        box = np.array([LOG_FLOOR_BOX, *[LOG_SHARE_BOX] * K, *[LOG_POWER_BOX] * K])
        return box[:, 0], box[:, 1], np.zeros(len(box), dtype=bool)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = len(rows.domains)
        starts = []
        for share in (0.3, 0.6, 0.9):
            for _ in range(3):
                E = share * rows.loss.min()
                C = -np.log(np.median(rows.loss) - E) + rng.normal(0, START_SPREAD, K)
                starts.append([np.log(E), *C, *(np.log(0.3) + rng.normal(0, START_SPREAD, K))])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        E, C, g = np.split(np.exp(theta), [1, 1 + len(domains)])
        return {"E": float(E[0])} | by_domain("C", domains, C) | by_domain("g", domains, g)

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        return params["E"] + mixture_floor(params, at, domains)

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        return {"E": 1.5} | by_domain("C", domains, (1.35, 0.67, 1.22)) | by_domain("g", domains, (0.37, 0.61, 0.25))


def mixture_floor(params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
    """1 / sum_i C_i h_i^g_i, shape (M,)."""
    raised = at.mixture ** of_domains("g", params, domains)
    return np.asarray(1 / (raised @ of_domains("C", params, domains)))


@dataclass(frozen=True)
class PowerFloor:
    """1 / sum_i C_i h_i^g_i, shape (S, M), and its derivatives by log C, log g and h, each (S, M, K)."""

    value: Array
    by_c: Array
    by_g: Array
    by_h: Array


def power_floor(theta: Array, mixture: Array) -> PowerFloor:
    """The floor that a mixture (M, K) sets, for theta = (log C_1 .. log C_K, log g_1 .. log g_K), shape (S, 2K).

    A weight of 0 adds nothing to the sum; its derivative by h, which is infinite, is taken at the smallest share.
    """
    K = mixture.shape[1]
    log_C, g = theta[:, None, :K], np.exp(theta[:, None, K:])
    log_h = np.log(np.maximum(mixture, SMALLEST_SHARE))
    raised = np.exp(log_C + g * log_h)
    terms = raised * (mixture > 0)
    floor = 1 / np.maximum(terms.sum(axis=-1), LEAST_SUM)
    by_c = -(floor**2)[:, :, None] * terms
    by_h = -(floor**2)[:, :, None] * raised * g / np.maximum(mixture, SMALLEST_SHARE)
    return PowerFloor(floor, by_c, by_c * g * log_h, by_h)
