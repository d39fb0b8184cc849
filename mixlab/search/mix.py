"""The best mixture at fixed (N, D): the surface's minimum over the simplex inside bounds and token caps.

SLSQP with the surface's gradient from several starts. A surface whose gradient is zero everywhere (boosted trees) is
searched by sampling instead, as RegMix does. The result is never worse than any start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from mixlab.arrays import Array
from mixlab.mixture import Mixture, MixtureSpace

RANDOM_STARTS = 6
BEST_STARTS = 4  # of all, by their values, that are followed down
FIRST_MIXTURES = 4096
NEGLIGIBLE = 1e-4  # a smaller weight is none: no loader keeps it
SMALLEST_WEIGHT = 1e-6  # inside the logarithm of the KL term


class SurfaceLike(Protocol):
    """What a search needs: a value and its gradient over mixtures."""

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """(M, K), N, D -> (M,)."""
        ...

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        """(K,) -> the value and its gradient (K,)."""
        ...


def minimise_mixture(
    surface: SurfaceLike,
    space: MixtureSpace,
    *,
    params: float,
    tokens: float,
    starts: Sequence[Mixture] = (),
    kl: float = 0.0,
    prior: Mixture | None = None,
    explore: bool = True,
    seed: int = 0,
) -> Mixture:
    """The mixture of `space` with the smallest predicted loss (+ kl * KL(h || prior)) at (N, D).

    Args:
        surface: what is minimised.
        space: bounds, and caps at `tokens`.
        params, tokens: N and D.
        starts: mixtures to begin from besides the uniform one and random draws; moved inside the space.
        kl: weight of the divergence from `prior`, in nats of loss per nat.
        prior: absent: the uniform mixture.
        explore: also begin from the uniform mixture and random draws; else from `starts` alone.
        seed: of the random draws.

    Raises:
        InfeasibleError: when no mixture keeps the bounds at these tokens.
    """
    lower, upper = space.bounds(tokens)
    rng = np.random.default_rng((seed, 11))
    K = len(space.names)
    anchor = np.maximum((prior or space.uniform(tokens)).array(space.names), SMALLEST_WEIGHT)

    def each_value(points: Array) -> Array:
        divergence = np.sum(points * np.log(np.maximum(points, SMALLEST_WEIGHT) / anchor), axis=1) if kl else 0.0
        return np.asarray(surface.predict(points, params, tokens) + kl * divergence)

    def value_and_slope(h: Array) -> tuple[float, Array]:
        value, slope = surface.value_and_gradient(h, params, tokens)
        if not kl:
            return value, slope
        log_ratio = np.log(np.maximum(h, SMALLEST_WEIGHT) / anchor)
        return value + kl * float(np.sum(h * log_ratio)), slope + kl * (log_ratio + 1)

    given = [start.array(space.names) for start in starts]
    if explore or not given:
        given += [np.full(K, 1 / K), *rng.dirichlet(np.ones(K), max(0, RANDOM_STARTS - len(given)))]
    points = space.project(np.array(given), tokens)
    smooth = bool(np.any(surface.value_and_gradient(points[0], params, tokens)[1] != 0))
    if not smooth:
        samples = space.project(rng.dirichlet(np.ones(K), FIRST_MIXTURES), tokens)
        order = np.argsort(surface.predict(samples, params, tokens), kind="stable")
        points = np.concatenate([points, samples[order[:64]]])
    candidates = list(points)
    first = np.argsort(each_value(points), kind="stable")[:BEST_STARTS]
    for point in points[first] if smooth else ():
        found = minimize(
            value_and_slope,
            point,
            jac=True,
            method="SLSQP",
            bounds=list(zip(lower, upper, strict=True)),
            constraints={"type": "eq", "fun": lambda h: h.sum() - 1, "jac": np.ones_like},
            options={"maxiter": 200, "ftol": 1e-9},
        )
        if np.all(np.isfinite(found.x)):
            candidates.append(space.project(found.x, tokens))
    values = each_value(np.array(candidates))
    if not smooth:
        # The mean of the best sampled mixtures, which is what RegMix recommends: single ones are noise.
        best = np.mean(candidates[-64:], axis=0)
    else:
        best = candidates[int(np.argmin(values))]
    return Mixture.from_array(space.names, _without_negligible(best, space, tokens))


def _without_negligible(h: Array, space: MixtureSpace, tokens: float) -> Array:
    """`h` with negligible weights at 0, unless a lower bound or the caps of the others need them."""
    lower, upper = space.bounds(tokens)
    kept = (h >= NEGLIGIBLE) | (lower > 0)
    if upper[kept].sum() < 1:
        return h
    none = {name: 0.0 for name, keep in zip(space.names, kept, strict=True) if not keep}
    return replace(space, upper={**space.upper, **none}).project(h, tokens)
