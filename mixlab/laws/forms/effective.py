"""Laws of effective data: what a token of domain i is worth for the target.

    L = E + (u^(1/gamma) + v^(1/gamma))^gamma,   u = A N^-alpha,   v = D_eff^-beta,
    D_eff = D (sum_i (w_i h_i)^g_i)^(1/g),       g_i = g e^d_i

    effective-data   gamma fitted, all g_i = 1: worths add
    additive-data    gamma = 1, all g_i = 1: the two limits add, as in Hoffmann et al. 2022
    concave-data     gamma, g and d fitted: a domain's tokens lose worth as its share grows (a CES aggregate in which
                     domains may differ a little, d_i ~ N(0, .4))

gamma says how the two limits combine: at 1 they add; below 1 the larger one hides the smaller, so that a small model
gains less from more data, as in Kaplan et al. 2020, equation 1.5. Without mixtures D_eff is w D, and the laws are
Hoffmann's and its coupled form; at one scale they are laws of the mixture alone. The forms with w_i and g_i are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import Observations, Points
from mixlab.laws.forms.chinchilla import EXPONENT_BOX, grid_starts
from mixlab.laws.forms.parametric import EXPONENT_PRIOR, NOISE, SMALLEST_SHARE, ParametricLaw

HEAD = 6  # parameters before the worths
GAMMA_BOX = (0.1, 3.0)
CONCAVITY_BOX = (0.02, 1.5)
CONCAVITY_PRIOR = (float(np.log(0.8)), 0.5)
OWN_CONCAVITY = 0.4  # standard deviation of d_i, and four of them are its box
COUPLING_PRIOR = (0.0, 1.0)
NOTHING = -12.0  # log A where N does not vary: no term in N


class EffectiveData(ParametricLaw):
    """theta = (log E, log A, log alpha, log beta, log gamma, log g, k_1 .. k_K, d_1 .. d_K) with k_i = log w_i.

    Without mixtures there is one k, of all text; d stands only in the concave form.

    Attributes:
        coupled: gamma is fitted, else 1.
        concave: g is fitted, else 1.
    """

    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset({"params", "tokens", "mixture"})
    delta = NOISE

    def __init__(self, name: str, *, coupled: bool, concave: bool) -> None:
        self.name = name
        self.coupled = coupled
        self.concave = concave

    def size(self, domains: int) -> int:
        return HEAD + max(1, domains) * (2 if self.concave else 1)

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E, reducible, p, q, log_u, log_v, log_sum, worth = self._terms(theta, at)
        alpha, beta, gamma = (np.exp(theta[:, index, None]) for index in (2, 3, 4))
        by_v = -beta * reducible * q
        columns = (
            np.broadcast_to(E, reducible.shape),
            reducible * p,
            -alpha * at.x * reducible * p,
            log_v * reducible * q,
            reducible * (gamma * log_sum - p * log_u - q * log_v),
            by_v * worth.by_g,
        )
        parts = (part for part in (worth.by_k, worth.by_d, worth.by_r) if part is not None)
        return E + reducible, np.concatenate([np.stack(columns, axis=-1), *(by_v[:, :, None] * p for p in parts)], -1)

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M); cheaper than `evaluate`, since a search asks for nothing else."""
        E, reducible, *_ = self._terms(theta, at)
        return np.asarray(E + reducible)

    def gradient(self, theta: Array, at: Points) -> Array:
        return self.value_and_gradient(theta, at)[1]

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        E, reducible, _, q, _, _, _, worth = self._terms(theta, at)
        value = np.asarray(E + reducible)
        if not at.mixture.shape[1]:
            return value, np.zeros((len(theta), len(at), 0))
        beta = np.exp(theta[:, 3, None])
        if self.concave:
            # At a share of 0 the slope is infinite: take that of the smallest share.
            at = Points(np.maximum(at.mixture, SMALLEST_SHARE), at.params, at.tokens, at.unique)
            slope = self._worth(theta, at).by_k / self._shares(theta, at).counted
        else:
            k = theta[:, None, HEAD : HEAD + at.mixture.shape[1]]
            slope = np.exp(k - worth.log_total[:, :, None])
        return value, np.asarray((-beta * reducible * q)[:, :, None] * slope * self._shares(theta, at).by_h)

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[2:4], deviation[2:4] = EXPONENT_PRIOR
        mean[4], deviation[4] = COUPLING_PRIOR
        if self.concave:
            mean[5], deviation[5] = CONCAVITY_PRIOR
            deviation[HEAD + max(1, domains) :] = OWN_CONCAVITY
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        low, high = np.log(EXPONENT_BOX)
        K = max(1, len(rows.domains))
        lower = np.array([NOTHING, NOTHING, low, low, np.log(GAMMA_BOX[0]), np.log(CONCAVITY_BOX[0]), *[-30.0] * K])
        upper = np.array([6.0, 12.0, high, high, np.log(GAMMA_BOX[1]), np.log(CONCAVITY_BOX[1]), *[30.0] * K])
        if self.concave:
            lower, upper = (np.append(edge, [sign * 4 * OWN_CONCAVITY] * K) for edge, sign in ((lower, -1), (upper, 1)))
        report = np.isin(np.arange(len(lower)), (2, 3))
        if np.ptp(rows.x) == 0:
            upper[1] = NOTHING
            lower[2] = upper[2] = EXPONENT_PRIOR[0]
            report[2] = False
        if not self.coupled or np.ptp(rows.x) == 0:
            lower[4] = upper[4] = 0.0
        if not self.concave:
            lower[5] = upper[5] = 0.0
        return lower, upper, report

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = max(1, len(rows.domains))
        starts = []
        for base in grid_starts(rows):
            beta = float(np.clip(np.exp(base[4]), 0.1, 1.0))
            level = float(np.clip(-base[2] / beta, -8, 8))
            for gamma in (1.0, 0.5) if self.coupled else (1.0,):
                scatter = level + rng.normal(0, 0.7, K) * (K > 1)
                own = np.zeros(K if self.concave else 0)
                starts.append([base[0], base[1], base[3], np.log(beta), np.log(gamma), np.log(0.7), *scatter, *own])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        E, A, alpha, beta, gamma, g = (float(value) for value in np.exp(theta[:HEAD]))
        K = max(1, len(domains))
        k, d = theta[HEAD : HEAD + K], theta[HEAD + K : HEAD + 2 * K] if self.concave else ()
        top = float(k.max())
        found = {
            "E": E,
            "A": A * float(np.exp(alpha * centre[0])),
            "B": float(np.exp(beta * (centre[1] - top))),
            "alpha": alpha,
            "beta": beta,
        }
        if self.coupled:
            found["gamma"] = gamma
        if self.concave:
            found["g"] = g
        found |= {f"w.{name}": float(np.exp(value - top)) for name, value in zip(domains, k, strict=False)}
        return found | {f"g.{name}": g * float(np.exp(value)) for name, value in zip(domains, d, strict=False)}

    def _terms(self, theta: Array, at: Points) -> tuple[Any, ...]:
        """E, the reducible loss, the shares of u and v in its sum, log u, log v, the sum's log, and `_worth`."""
        E, alpha, beta, gamma = (np.exp(theta[:, index, None]) for index in (0, 2, 3, 4))
        worth = self._worth(theta, at)
        log_u, log_v = theta[:, 1, None] - alpha * at.x, -beta * (at.y + worth.log_total)
        log_sum = np.logaddexp(log_u / gamma, log_v / gamma)
        p = np.exp(log_u / gamma - log_sum)
        reducible = np.exp(np.clip(gamma * log_sum, -60, 60))
        return E, reducible, p, 1 - p, log_u, log_v, log_sum, worth

    def _shares(self, theta: Array, at: Points) -> Shares:
        """What each domain's tokens count for: here all of them."""
        h = at.mixture if at.mixture.shape[1] else np.ones((len(at), 1))
        return Shares(h[None], np.ones_like(h[None]), None)

    def _worth(self, theta: Array, at: Points) -> _Worth:
        shares = self._shares(theta, at)
        h = shares.counted
        K = h.shape[2]
        k = theta[:, HEAD : HEAD + K]
        if not self.concave:
            top = k.max(axis=1, keepdims=True)
            worth = np.exp(k - top)
            # One product for all fits where they count alike: much faster than one for each.
            total = worth @ h[0].T if len(h) == 1 else np.matmul(h, worth[:, :, None])[:, :, 0]
            total = np.maximum(total, 1e-12)
            by_k = worth[:, None, :] * h / total[:, :, None]
            return _Worth(np.log(total) + top, by_k, np.zeros(total.shape), None, shares.by_r(by_k))
        g, own = np.exp(theta[:, 5])[:, None], np.exp(theta[:, None, HEAD + K : HEAD + 2 * K])
        log_each = own * (k[:, None, :] + np.log(np.maximum(h, 1e-30)))
        scaled = np.where(h > 0, g[:, :, None] * log_each, -np.inf)
        top = scaled.max(axis=2, keepdims=True)
        raised = np.exp(scaled - top)
        total = raised.sum(axis=2, keepdims=True)
        log_total = (np.log(total) + top)[:, :, 0] / g
        by_k, by_d = raised / total * own, raised / total * np.where(h > 0, log_each, 0.0)
        return _Worth(log_total, by_k, by_d.sum(axis=2) - log_total, by_d, shares.by_r(by_k))


@dataclass(frozen=True)
class Shares:
    """What the tokens of each domain count for, as shares of D.

    Attributes:
        counted: h_i where every token counts once, else D_i' / D, shape (S, M, K), or (1, M, K) for all fits alike.
        by_h: its derivative by h_i, of the same shape.
        log_by_r: the derivative of its logarithm by log R*, of the same shape; None for a law without one.
    """

    counted: Array
    by_h: Array
    log_by_r: Array | None

    def by_r(self, by_k: Array) -> Array | None:
        """d log(D_eff / D) / d log R*, shape (S, M, 1), from its derivative by log D_i', which is that by k."""
        return None if self.log_by_r is None else np.sum(by_k * self.log_by_r, axis=2, keepdims=True)


@dataclass(frozen=True)
class _Worth:
    """log(D_eff / D), shape (S, M), and its derivatives.

    By k (S, M, K), log g (S, M), d (S, M, K) and log R* (S, M, 1); the last two None where the law has none.
    """

    log_total: Array
    by_k: Array
    by_g: Array
    by_d: Array | None
    by_r: Array | None
