"""Laws of effective data: what a token of domain i is worth for the target.

    L = E + (u^(1/gamma) + v^(1/gamma))^gamma,   u = A N^-alpha,   v = B D_eff^-beta,
    D_eff = D (sum_i (w_i h_i)^g_i)^(1/g),       g_i = g e^d_i,    max w_i = 1

    effective-data   gamma fitted, all g_i = 1: worths add
    additive-data    gamma = 1, all g_i = 1: the two limits add, as in Hoffmann et al. 2022
    concave-data     gamma, g and d fitted: a domain's tokens lose worth as its share grows (a CES aggregate in which
                     domains may differ a little, d_i ~ N(0, .4))

gamma says how the two limits combine: at 1 they add; below 1 the larger one hides the smaller, so that a small model
gains less from more data, as in Kaplan et al. 2020, equation 1.5. Without mixtures D_eff is D, and the laws are
Hoffmann's and its coupled form; at one scale they are laws of the mixture alone. The forms with w_i and g_i are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.chinchilla import EXPONENT_BOX, grid_starts
from mixlab.laws.forms.parametric import (
    EXPONENT_PRIOR,
    LOG_AMPLITUDE_BOX,
    LOG_FLOOR_BOX,
    NOISE,
    SMALLEST_SHARE,
    ParametricLaw,
    by_domain,
    of_domains,
)
from mixlab.laws.forms.points import Observations, Points

LEADING = 6  # parameters before the worths
GAMMA_BOX = (0.1, 3.0)  # at the lower end the larger limit hides the smaller altogether
CONCAVITY_BOX = (0.02, 1.5)  # g: at the lower end only the presence of a domain counts, above 1 mixing harms
CONCAVITY_PRIOR = (float(np.log(0.8)), 0.5)
OWN_CONCAVITY = 0.4  # standard deviation of d_i, and four of them are its box
COUPLING_PRIOR = (0.0, 1.0)
LOG_EFFECT_BOX = (-30.0, 30.0)  # k: worth nothing to worth everything, at any beta
NOTHING = LOG_AMPLITUDE_BOX[0]  # log A where N does not vary: no term in N
MOST_LOG_TERM = 60.0  # the logarithm of a term is clipped to this: e^60 is far above any loss
MOST_LOG_START = 8.0  # of a worth that a search starts from
WORTH_SPREAD = 0.7  # standard deviation of the random worths that a search starts from
LEAST_WORTH = 1e-12  # of a mixture, relative to the best domain's
LEAST_COUNT = 1e-30  # of a domain's tokens, where their logarithm is taken


class EffectiveData(ParametricLaw):
    """theta = (log E, log A, log alpha, log beta, log gamma, log g, k_1 .. k_K, d_1 .. d_K).

    Here k_i = log w_i, of which all are free, so that B is 1. Without mixtures there is one k, of all text; only the
    concave form has d.

    Attributes:
        coupled: gamma is fitted, else 1.
        concave: g and d are fitted where there are mixtures, else 1 and 0.
    """

    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset({"params", "tokens", "mixture"})
    delta = NOISE

    def __init__(self, name: str, *, coupled: bool, concave: bool) -> None:
        self.name = name
        self.coupled = coupled
        self.concave = concave

    def size(self, domains: int) -> int:
        return LEADING + max(1, domains) * (2 if self.concave else 1)

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        t = self._terms(theta, at)
        alpha, beta, gamma = (np.exp(theta[:, index, None]) for index in (2, 3, 4))
        by_v = -beta * t.reducible * t.of_v
        columns = (
            np.broadcast_to(t.E, t.reducible.shape),
            t.reducible * t.of_u,
            -alpha * at.x * t.reducible * t.of_u,
            t.log_v * t.reducible * t.of_v,
            t.reducible * (gamma * t.log_sum - t.of_u * t.log_u - t.of_v * t.log_v),
            by_v * t.worth.by_g,
        )
        parts = (part for part in (t.worth.by_k, t.worth.by_d, t.worth.by_r) if part is not None)
        jacobian = np.concatenate([np.stack(columns, axis=-1), *(by_v[:, :, None] * part for part in parts)], axis=-1)
        return t.E + t.reducible, jacobian

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M); cheaper than `evaluate`, since a search asks for nothing else."""
        t = self._terms(theta, at)
        return np.asarray(t.E + t.reducible)

    def gradient(self, theta: Array, at: Points) -> Array:
        return self.value_and_gradient(theta, at)[1]

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        t = self._terms(theta, at)
        value = np.asarray(t.E + t.reducible)
        if not at.mixture.shape[1]:
            return value, np.zeros((len(theta), len(at), 0))
        beta = np.exp(theta[:, 3, None])
        if self.concave:
            # At a share of 0 the slope is infinite: take that of the smallest share.
            at = Points(np.maximum(at.mixture, SMALLEST_SHARE), at.params, at.tokens, at.unique)
            slope = self._worth(theta, at).by_k / self._shares(theta, at).counted
        else:
            k = theta[:, None, LEADING : LEADING + at.mixture.shape[1]]
            slope = np.exp(k - t.worth.log_total[:, :, None])
        return value, np.asarray((-beta * t.reducible * t.of_v)[:, :, None] * slope * self._shares(theta, at).by_h)

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[2:4], deviation[2:4] = EXPONENT_PRIOR
        mean[4], deviation[4] = COUPLING_PRIOR
        if self.concave:
            mean[5], deviation[5] = CONCAVITY_PRIOR
            deviation[LEADING + max(1, domains) :] = OWN_CONCAVITY
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        K, exponent = max(1, len(rows.domains)), np.log(EXPONENT_BOX)
        head = [LOG_FLOOR_BOX, LOG_AMPLITUDE_BOX, exponent, exponent, *np.log([GAMMA_BOX, CONCAVITY_BOX])]
        own = [(-4 * OWN_CONCAVITY, 4 * OWN_CONCAVITY)] * (K if self.concave else 0)
        lower, upper = np.array([*head, *[LOG_EFFECT_BOX] * K, *own]).T.copy()
        report = np.isin(np.arange(len(lower)), (2, 3))
        if np.ptp(rows.x) == 0:
            upper[1] = NOTHING
            lower[2] = upper[2] = EXPONENT_PRIOR[0]
            report[2] = False
        if not self.coupled or np.ptp(rows.x) == 0:
            lower[4] = upper[4] = 0.0
        if not (self.concave and rows.domains):
            lower[5] = upper[5] = 0.0
            lower[LEADING + K :] = upper[LEADING + K :] = 0.0
        return lower, upper, report

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        K = max(1, len(rows.domains))
        starts = []
        for base in grid_starts(rows):
            beta = float(np.clip(np.exp(base[4]), 0.1, 1.0))
            level = float(np.clip(-base[2] / beta, -MOST_LOG_START, MOST_LOG_START))
            for gamma in (1.0, 0.5) if self.coupled else (1.0,):
                scatter = level + rng.normal(0, WORTH_SPREAD, K) * (K > 1)
                own = np.zeros(K if self.concave else 0)
                starts.append([base[0], base[1], base[3], np.log(beta), np.log(gamma), np.log(0.7), *scatter, *own])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        E, A, alpha, beta, gamma, g = (float(value) for value in np.exp(theta[:LEADING]))
        K = max(1, len(domains))
        own = np.exp(theta[LEADING + K : LEADING + 2 * K]) if self.concave else np.ones(K)
        # B takes the largest term of D_eff with it, so that what is left of that domain's w is 1.
        worth = own * theta[LEADING : LEADING + K]
        top = float(worth.max())
        found = {
            "E": E,
            "A": A * float(np.exp(alpha * centre[0])),
            "B": float(np.exp(beta * (centre[1] - top))),
            "alpha": alpha,
            "beta": beta,
        }
        if self.coupled:
            found["gamma"] = gamma
        if self.concave and domains:
            found["g"] = g
        found |= by_domain("w", domains, np.exp((worth - top) / own))
        return found | by_domain("g", domains, g * own if self.concave else ())

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        p, gamma, g = params, params.get("gamma", 1.0), params.get("g", 1.0)
        u, seen = p["A"] * at.params ** -p["alpha"], self._counted(params, at)
        if domains:
            w, own = of_domains("w", p, domains), of_domains("g", p, domains) if self.concave else 1.0
            seen = ((w * seen / at.tokens[:, None]) ** own).sum(axis=1, keepdims=True) ** (1 / g) * at.tokens[:, None]
        v = p["B"] * seen[:, 0] ** -p["beta"]
        return np.asarray(p["E"] + (u ** (1 / gamma) + v ** (1 / gamma)) ** gamma)

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        found = {"E": 1.3, "A": 200.0, "B": 320.0, "alpha": 0.35, "beta": 0.3}
        if self.coupled:
            found["gamma"] = 0.7
        if self.concave and domains:
            found["g"] = 0.6
        found |= by_domain("w", domains, (0.37, 1.0, 0.14))
        return found | by_domain("g", domains, (0.73, 0.44, 0.66) if self.concave else ())

    def _terms(self, theta: Array, at: Points) -> _Terms:
        E, alpha, beta, gamma = (np.exp(theta[:, index, None]) for index in (0, 2, 3, 4))
        worth = self._worth(theta, at)
        log_u, log_v = theta[:, 1, None] - alpha * at.x, -beta * (at.y + worth.log_total)
        log_sum = np.logaddexp(log_u / gamma, log_v / gamma)
        of_u = np.exp(log_u / gamma - log_sum)
        reducible = np.exp(np.clip(gamma * log_sum, -MOST_LOG_TERM, MOST_LOG_TERM))
        return _Terms(E, reducible, of_u, 1 - of_u, log_u, log_v, log_sum, worth)

    def _counted(self, params: Mapping[str, float], at: Points) -> Array:
        """The tokens of each domain, in units: h_i D, shape (M, K); D, shape (M, 1), without mixtures."""
        return seen_tokens(at)

    def _shares(self, theta: Array, at: Points) -> Shares:
        """What each domain's tokens count for: here all of them."""
        h = at.mixture if at.mixture.shape[1] else np.ones((len(at), 1))
        return Shares(h[None], np.ones_like(h[None]), None)

    def _worth(self, theta: Array, at: Points) -> _Worth:
        shares = self._shares(theta, at)
        h = shares.counted
        K = h.shape[2]
        k = theta[:, LEADING : LEADING + K]
        if not self.concave:
            top = k.max(axis=1, keepdims=True)
            worth = np.exp(k - top)
            # One product for all fits where they count alike: much faster than one for each.
            total = worth @ h[0].T if len(h) == 1 else np.matmul(h, worth[:, :, None])[:, :, 0]
            total = np.maximum(total, LEAST_WORTH)
            by_k = worth[:, None, :] * h / total[:, :, None]
            return _Worth(np.log(total) + top, by_k, np.zeros(total.shape), None, shares.by_r(by_k))
        g, own = np.exp(theta[:, 5])[:, None], np.exp(theta[:, None, LEADING + K : LEADING + 2 * K])
        log_each = own * (k[:, None, :] + np.log(np.maximum(h, LEAST_COUNT)))
        scaled = np.where(h > 0, g[:, :, None] * log_each, -np.inf)
        top = scaled.max(axis=2, keepdims=True)
        raised = np.exp(scaled - top)
        total = raised.sum(axis=2, keepdims=True)
        log_total = (np.log(total) + top)[:, :, 0] / g
        by_k, by_d = raised / total * own, raised / total * np.where(h > 0, log_each, 0.0)
        return _Worth(log_total, by_k, by_d.sum(axis=2) - log_total, by_d, shares.by_r(by_k))


def seen_tokens(at: Points) -> Array:
    """D_i = h_i D, shape (M, K); (M, 1) without mixtures."""
    return at.mixture * at.tokens[:, None] if at.mixture.shape[1] else at.tokens[:, None]


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


@dataclass(frozen=True)
class _Terms:
    """The parts of a law at S thetas and M points.

    Attributes:
        E: shape (S, 1).
        reducible: (u^(1/gamma) + v^(1/gamma))^gamma, shape (S, M).
        of_u, of_v: the shares of u^(1/gamma) and v^(1/gamma) in their sum, shape (S, M).
        log_u, log_v, log_sum: logarithms of u, v and that sum, shape (S, M).
        worth: of the mixture.
    """

    E: Array
    reducible: Array
    of_u: Array
    of_v: Array
    log_u: Array
    log_v: Array
    log_sum: Array
    worth: _Worth
