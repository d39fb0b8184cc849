"""The joint laws L(N, D, h) of Shukor et al. 2025: the mixture acts on the floor, or on the terms in N and D.

    joint-additive   E + 1 / sum_i C_i h_i^g_i + A N^-alpha + B D^-beta
    joint            E + (sum_i CA_i h_i)^gA N^-alpha + (sum_i CB_i h_i)^gB D^-beta

All coefficients of domains are positive, stored as logarithms; a domain without worth runs to the lower bound, which
is no failure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import Observations, Points
from mixlab.laws.forms.chinchilla import EXPONENT_BOX, grid_starts
from mixlab.laws.forms.mixing import LOG_POWER_BOX, LOG_SHARE_BOX, POWER_PRIOR, power_floor
from mixlab.laws.forms.parametric import EXPONENT_PRIOR, NOISE, ParametricLaw


class Joint(ParametricLaw):
    """theta = (log E, log alpha, log beta, gA, gB, a_1 .. a_K, b_1 .. b_K); terms (sum e^a_i h_i)^gA e^(-alpha x)."""

    name = "joint"
    needs = frozenset({"params", "tokens", "mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return 5 + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E, alpha, beta, gA, gB, wa, wb, sa, sb = self._parts(theta, at.mixture)
        in_n = np.exp(np.clip(gA * np.log(sa) - alpha * at.x, -60, 60))
        in_d = np.exp(np.clip(gB * np.log(sb) - beta * at.y, -60, 60))
        head = np.stack(
            [
                np.broadcast_to(E, in_n.shape),
                -alpha * at.x * in_n,
                -beta * at.y * in_d,
                np.log(sa) * in_n,
                np.log(sb) * in_d,
            ],
            axis=-1,
        )
        by_a = (gA * in_n / sa)[:, :, None] * (wa[:, None, :] * at.mixture)
        by_b = (gB * in_d / sb)[:, :, None] * (wb[:, None, :] * at.mixture)
        return E + in_n + in_d, np.concatenate([head, by_a, by_b], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        _, alpha, beta, gA, gB, wa, wb, sa, sb = self._parts(theta, at.mixture)
        in_n = np.exp(np.clip(gA * np.log(sa) - alpha * at.x, -60, 60))
        in_d = np.exp(np.clip(gB * np.log(sb) - beta * at.y, -60, 60))
        return (gA * in_n / sa)[:, :, None] * wa[:, None, :] + (gB * in_d / sb)[:, :, None] * wb[:, None, :]

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[1:3], deviation[1:3] = EXPONENT_PRIOR
        return mean, deviation

    def _parts(self, theta: Array, mixture: Array) -> tuple[Array, ...]:
        K = mixture.shape[1]
        E, alpha, beta = np.exp(theta[:, :3].T)[:, :, None]
        gA, gB = theta[:, 3:5].T[:, :, None]
        wa, wb = np.exp(theta[:, 5 : 5 + K]), np.exp(theta[:, 5 + K :])
        sa, sb = np.maximum(wa @ mixture.T, 1e-12), np.maximum(wb @ mixture.T, 1e-12)
        return E, alpha, beta, gA, gB, wa, wb, sa, sb

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        domains = len(rows.domains)
        low, high = np.log(EXPONENT_BOX)
        lower = np.array([-12.0, low, low, -3.0, -3.0, *[-12.0] * (2 * domains)])
        upper = np.array([6.0, high, high, 3.0, 3.0, *[12.0] * (2 * domains)])
        return lower, upper, np.array([False, True, True, False, False, *[False] * (2 * domains)])

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = rows.mixture.shape[1]
        starts = []
        for base in grid_starts(rows):
            for gA, gB in ((-0.3, -0.3), (0.5, -0.3), (-0.3, 0.5)):
                a, b = np.clip([base[1] / gA, base[2] / gB], -8, 8)
                spread = rng.normal(0, 0.5, 2 * K)
                starts.append([base[0], base[3], base[4], gA, gB, *(a + spread[:K]), *(b + spread[K:])])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        K = len(domains)
        E, alpha, beta = (float(value) for value in np.exp(theta[:3]))
        gA, gB = float(theta[3]), float(theta[4])
        # The amplitudes at N = D = 1 are (sum C h)^g times e^(alpha x0): spread over the coefficients.
        a = theta[5 : 5 + K] + alpha * centre[0] / gA
        b = theta[5 + K :] + beta * centre[1] / gB
        with np.errstate(over="ignore"):
            return (
                {"E": E, "alpha": alpha, "beta": beta, "gA": gA, "gB": gB}
                | {f"CA.{name}": float(np.exp(value)) for name, value in zip(domains, a, strict=True)}
                | {f"CB.{name}": float(np.exp(value)) for name, value in zip(domains, b, strict=True)}
            )


class JointAdditive(ParametricLaw):
    """theta = (log E, log A, log B, log alpha, log beta, log C_1 .. log C_K, log g_1 .. log g_K)."""

    name = "joint-additive"
    needs = frozenset({"params", "tokens", "mixture"})
    takes = needs
    delta = NOISE

    def size(self, domains: int) -> int:
        return 5 + 2 * domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E, A, B, alpha, beta = np.exp(theta[:, :5].T)[:, :, None]
        in_n, in_d = A * np.exp(-alpha * at.x), B * np.exp(-beta * at.y)
        floor, by_c, by_g, _ = power_floor(theta[:, 5:], at.mixture)
        head = np.stack(
            [np.broadcast_to(E, in_n.shape), in_n, in_d, -alpha * at.x * in_n, -beta * at.y * in_d], axis=-1
        )
        return E + floor + in_n + in_d, np.concatenate([head, by_c, by_g], axis=-1)

    def gradient(self, theta: Array, at: Points) -> Array:
        return power_floor(theta[:, 5:], at.mixture)[3]

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[3:5], deviation[3:5] = EXPONENT_PRIOR
        mean[5 + domains :], deviation[5 + domains :] = POWER_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        domains = len(rows.domains)
        low, high = np.log(EXPONENT_BOX)
        lower = np.array([-12.0, -12.0, -12.0, low, low, *[LOG_SHARE_BOX[0]] * domains, *[LOG_POWER_BOX[0]] * domains])
        upper = np.array([6.0, 12.0, 12.0, high, high, *[LOG_SHARE_BOX[1]] * domains, *[LOG_POWER_BOX[1]] * domains])
        return lower, upper, np.array([False, False, False, True, True, *[False] * (2 * domains)])

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = rows.mixture.shape[1]
        starts = []
        for base in grid_starts(rows):
            for share in (0.2, 0.5):
                floor = share * np.exp(base[0])
                C = -np.log(max(floor, 1e-3)) + rng.normal(0, 0.5, K)
                g = np.log(0.3) + rng.normal(0, 0.5, K)
                starts.append([base[0] + np.log1p(-share), *base[1:], *np.clip(C, -8, 8), *g])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        K = len(domains)
        E, A, B, alpha, beta = (float(value) for value in np.exp(theta[:5]))
        return (
            {
                "E": E,
                "A": A * float(np.exp(alpha * centre[0])),
                "B": B * float(np.exp(beta * centre[1])),
                "alpha": alpha,
                "beta": beta,
            }
            | {f"C.{name}": float(np.exp(v)) for name, v in zip(domains, theta[5 : 5 + K], strict=True)}
            | {f"g.{name}": float(np.exp(v)) for name, v in zip(domains, theta[5 + K :], strict=True)}
        )
