"""The joint laws L(N, D, h) of Shukor et al. 2025: the mixture acts on the floor, or on the terms in N and D.

    joint-additive   E + 1 / sum_i C_i h_i^g_i + A N^-alpha + B D^-beta
    joint            E + (sum_i CA_i h_i)^gA N^-alpha + (sum_i CB_i h_i)^gB D^-beta

All coefficients of domains are positive, stored as logarithms; a domain without worth runs to the lower bound, which
is no failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.chinchilla import EXPONENT_BOX, grid_starts
from mixlab.laws.forms.mixing import (
    LEAST_SUM,
    LOG_POWER_BOX,
    LOG_SHARE_BOX,
    POWER_PRIOR,
    START_SPREAD,
    mixture_floor,
    power_floor,
)
from mixlab.laws.forms.parametric import (
    EXPONENT_PRIOR,
    LOG_AMPLITUDE_BOX,
    LOG_FLOOR_BOX,
    NOISE,
    ParametricLaw,
    by_domain,
    of_domains,
)
from mixlab.laws.forms.points import Observations, Points

HEAD = 5  # parameters before those of domains, in either law
GAIN_BOX = (-3.0, 3.0)  # gA, gB: a domain ten times as good moves a term by at most a thousand
LOG_WORTH_BOX = (-12.0, 12.0)  # CA, CB
MOST_LOG_TERM = 60.0  # the logarithm of a term is clipped to this: e^60 is far above any loss
MOST_LOG_START = 8.0  # of a coefficient that a search starts from


class Joint(ParametricLaw):
    """theta = (log E, log alpha, log beta, gA, gB, a_1 .. a_K, b_1 .. b_K); terms (sum e^a_i h_i)^gA e^(-alpha x)."""

    name = "joint"
    needs = frozenset({"params", "tokens", "mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return HEAD + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        t = _Terms.of(theta, at)
        head = np.stack(
            [
                np.broadcast_to(t.E, t.in_n.shape),
                -t.alpha * at.x * t.in_n,
                -t.beta * at.y * t.in_d,
                np.log(t.sum_n) * t.in_n,
                np.log(t.sum_d) * t.in_d,
            ],
            axis=-1,
        )
        by_a = (t.gain_n * t.in_n / t.sum_n)[:, :, None] * (t.worth_n[:, None, :] * at.mixture)
        by_b = (t.gain_d * t.in_d / t.sum_d)[:, :, None] * (t.worth_d[:, None, :] * at.mixture)
        return t.E + t.in_n + t.in_d, np.concatenate([head, by_a, by_b], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        t = _Terms.of(theta, at)
        by_a = (t.gain_n * t.in_n / t.sum_n)[:, :, None] * t.worth_n[:, None, :]
        return by_a + (t.gain_d * t.in_d / t.sum_d)[:, :, None] * t.worth_d[:, None, :]

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[1:3], deviation[1:3] = EXPONENT_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        exponents, worths = [np.log(EXPONENT_BOX)] * 2, [LOG_WORTH_BOX] * (2 * len(rows.domains))
        box = np.array([LOG_FLOOR_BOX, *exponents, *[GAIN_BOX] * 2, *worths])
        return box[:, 0], box[:, 1], np.isin(np.arange(len(box)), (1, 2))

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = rows.mixture.shape[1]
        starts = []
        for base in grid_starts(rows):
            for gA, gB in ((-0.3, -0.3), (0.5, -0.3), (-0.3, 0.5)):
                a, b = np.clip([base[1] / gA, base[2] / gB], -MOST_LOG_START, MOST_LOG_START)
                spread = rng.normal(0, START_SPREAD, 2 * K)
                starts.append([base[0], base[3], base[4], gA, gB, *(a + spread[:K]), *(b + spread[K:])])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        K = len(domains)
        E, alpha, beta = (float(value) for value in np.exp(theta[:3]))
        gA, gB = float(theta[3]), float(theta[4])
        # The amplitudes at N = D = 1 are (sum C h)^g times e^(alpha x0): spread over the coefficients.
        a = theta[HEAD : HEAD + K] + alpha * centre[0] / gA
        b = theta[HEAD + K :] + beta * centre[1] / gB
        with np.errstate(over="ignore"):
            CA, CB = np.exp(a), np.exp(b)
        return (
            {"E": E, "alpha": alpha, "beta": beta, "gA": gA, "gB": gB}
            | by_domain("CA", domains, CA)
            | by_domain("CB", domains, CB)
        )

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        p = params
        in_n = (at.mixture @ of_domains("CA", p, domains)) ** p["gA"] * at.params ** -p["alpha"]
        in_d = (at.mixture @ of_domains("CB", p, domains)) ** p["gB"] * at.tokens ** -p["beta"]
        return np.asarray(p["E"] + in_n + in_d)

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        return (
            {"E": 1.4, "alpha": 0.33, "beta": 0.29, "gA": -0.4, "gB": 0.5}
            | by_domain("CA", domains, (3.6e-6, 8.0e-6, 2.2e-6))
            | by_domain("CB", domains, (1.0e5, 3.7e5, 1.8e5))
        )


@dataclass(frozen=True)
class _Terms:
    """The parts of `joint` at S thetas and M points.

    Attributes:
        E, alpha, beta: shape (S, 1).
        gain_n, gain_d: gA and gB, shape (S, 1).
        worth_n, worth_d: CA and CB, shape (S, K).
        sum_n, sum_d: what the mixture makes of those, sum_i CA_i h_i and sum_i CB_i h_i, shape (S, M).
        in_n, in_d: the terms in N and in D, shape (S, M).
    """

    E: Array
    alpha: Array
    beta: Array
    gain_n: Array
    gain_d: Array
    worth_n: Array
    worth_d: Array
    sum_n: Array
    sum_d: Array
    in_n: Array
    in_d: Array

    @classmethod
    def of(cls, theta: Array, at: Points) -> _Terms:
        K = at.mixture.shape[1]
        E, alpha, beta = np.exp(theta[:, :3].T)[:, :, None]
        gain_n, gain_d = theta[:, 3:HEAD].T[:, :, None]
        worth_n, worth_d = np.exp(theta[:, HEAD : HEAD + K]), np.exp(theta[:, HEAD + K :])
        sum_n = np.maximum(worth_n @ at.mixture.T, LEAST_SUM)
        sum_d = np.maximum(worth_d @ at.mixture.T, LEAST_SUM)
        in_n = np.exp(np.clip(gain_n * np.log(sum_n) - alpha * at.x, -MOST_LOG_TERM, MOST_LOG_TERM))
        in_d = np.exp(np.clip(gain_d * np.log(sum_d) - beta * at.y, -MOST_LOG_TERM, MOST_LOG_TERM))
        return cls(E, alpha, beta, gain_n, gain_d, worth_n, worth_d, sum_n, sum_d, in_n, in_d)


class JointAdditive(ParametricLaw):
    """theta = (log E, log A, log B, log alpha, log beta, log C_1 .. log C_K, log g_1 .. log g_K)."""

    name = "joint-additive"
    needs = frozenset({"params", "tokens", "mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return HEAD + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E, A, B, alpha, beta = np.exp(theta[:, :HEAD].T)[:, :, None]
        in_n, in_d = A * np.exp(-alpha * at.x), B * np.exp(-beta * at.y)
        floor = power_floor(theta[:, HEAD:], at.mixture)
        head = np.stack(
            [np.broadcast_to(E, in_n.shape), in_n, in_d, -alpha * at.x * in_n, -beta * at.y * in_d], axis=-1
        )
        return E + floor.value + in_n + in_d, np.concatenate([head, floor.by_c, floor.by_g], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        return power_floor(theta[:, HEAD:], at.mixture).by_h

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[3:HEAD], deviation[3:HEAD] = EXPONENT_PRIOR
        mean[HEAD + domains :], deviation[HEAD + domains :] = POWER_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        K = len(rows.domains)
        head = [LOG_FLOOR_BOX, *[LOG_AMPLITUDE_BOX] * 2, *[np.log(EXPONENT_BOX)] * 2]
        box = np.array([*head, *[LOG_SHARE_BOX] * K, *[LOG_POWER_BOX] * K])
        return box[:, 0], box[:, 1], np.isin(np.arange(len(box)), (3, 4))

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = rows.mixture.shape[1]
        starts = []
        for base in grid_starts(rows):
            for share in (0.2, 0.5):
                floor = share * np.exp(base[0])
                C = -np.log(max(floor, 1e-3)) + rng.normal(0, START_SPREAD, K)
                g = np.log(0.3) + rng.normal(0, START_SPREAD, K)
                C = np.clip(C, -MOST_LOG_START, MOST_LOG_START)
                starts.append([base[0] + np.log1p(-share), *base[1:], *C, *g])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        K = len(domains)
        E, A, B, alpha, beta = (float(value) for value in np.exp(theta[:HEAD]))
        return (
            {
                "E": E,
                "A": A * float(np.exp(alpha * centre[0])),
                "B": B * float(np.exp(beta * centre[1])),
                "alpha": alpha,
                "beta": beta,
            }
            | by_domain("C", domains, np.exp(theta[HEAD : HEAD + K]))
            | by_domain("g", domains, np.exp(theta[HEAD + K :]))
        )

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        p = params
        in_n, in_d = p["A"] * at.params ** -p["alpha"], p["B"] * at.tokens ** -p["beta"]
        return p["E"] + mixture_floor(p, at, domains) + in_n + in_d

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        return (
            {"E": 1.1, "A": 71.0, "B": 700.0, "alpha": 0.3, "beta": 0.35}
            | by_domain("C", domains, (1.35, 2.46, 0.82))
            | by_domain("g", domains, (0.37, 0.55, 0.74))
        )
