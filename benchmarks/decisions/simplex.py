"""The simplex: draws on it, and the least value of a function over it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from mixlab.arrays import Array

STEP = 1e-5  # in sqrt(h), of derivatives
LONGEST = 4096  # design that is drawn, of which a shorter one is the beginning
POOL, APART = 512, 0.2  # best tried mixtures that starts are picked from, and their L1 distance


def spread_draws(prior: Array, count: int, rng: np.random.Generator, weakest: float = 1.0) -> Array:
    """Dirichlet draws about the prior, in turn about its root, from a few domains each to nearly the prior: (count, K).

    Args:
        weakest: the smallest sum of the Dirichlet's parameters; the largest is 3 K.
    """
    K = len(prior)
    centre = np.where(np.arange(count)[:, None] % 2, np.sqrt(prior) / np.sqrt(prior).sum(), prior)
    strength = np.exp(rng.uniform(np.log(weakest), np.log(3 * K), (count, 1)))
    gamma = rng.standard_gamma(np.maximum(centre, 1e-3) * strength) + 1e-12
    return np.asarray(gamma / gamma.sum(axis=1, keepdims=True))


def design(prior: Array, count: int, seed: int, weakest: float = 1.0) -> Array:
    """What a one-shot method trains: prior, uniform mixture, and draws; (count, K). A longer one goes on from it."""
    anchors = np.vstack([prior, np.full(len(prior), 1 / len(prior))])
    draws = spread_draws(prior, max(count, LONGEST), np.random.default_rng(seed), weakest)
    return np.vstack([anchors, draws])[:count]


def least(
    value: Callable[[Array], Array], prior: Array, rng: np.random.Generator, tried: int = 8192, starts: int = 16
) -> Array:
    """The mixture (K,) of least `value` (rows (M, K) to (M,)): descents in sqrt(h) from the best of many tried.

    In sqrt(h) the simplex is a sphere without corners, so that weights come to zero by themselves.
    """
    K = len(prior)
    near = spread_draws(prior, tried // 2, rng)
    strength = 10 ** rng.uniform(-1, 1, (tried // 2, 1))
    gamma = rng.standard_gamma(np.broadcast_to(strength, (tried // 2, K))) + 1e-9
    rows = np.vstack([prior, np.full(K, 1 / K), np.eye(K), near, gamma / gamma.sum(axis=1, keepdims=True)])
    values = value(rows)
    kept: list[Array] = []
    for i in np.argsort(values)[:POOL]:
        if all(np.abs(rows[i] - other).sum() > APART for other in kept):
            kept.append(rows[i])
        if len(kept) == starts:
            break

    def objective(z: Array) -> tuple[float, Array]:
        moved = z + STEP * np.vstack([np.zeros(K), np.eye(K)])
        squares = moved**2 + 1e-15  # a line search may try zeros
        values = value(squares / squares.sum(axis=1, keepdims=True))
        return float(values[0]), (values[1:] - values[0]) / STEP

    found = [
        minimize(
            objective, np.sqrt(0.98 * h + 0.02 / K), jac=True, method="L-BFGS-B", bounds=[(0, 2)] * K,
            options={"maxiter": 200, "ftol": 1e-10},
        )
        for h in kept
    ]  # fmt: skip
    z = min(found, key=lambda end: float(end.fun)).x
    return np.asarray(z**2 / (z**2).sum())
