"""The best mixture at fixed (N, D): the surface's minimum over the simplex inside bounds, constraints and token caps.

SLSQP with the surface's gradient from several starts. A surface whose gradient is zero everywhere (boosted trees) is
searched by sampling instead, as RegMix does. The result is never worse than any start that keeps the limits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.errors import InfeasibleError
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.search.descent.limits import LIMIT_KEPT, HeldLimit, worst_excess
from mixlab.search.descent.room import Room, Smooth
from mixlab.search.descent.worst import Worst

RANDOM_STARTS = 6
BEST_STARTS = 4  # of all, by their values, that are followed down
FIRST_MIXTURES = 4096
NEGLIGIBLE = 1e-4  # a smaller weight is none: no loader keeps it
SMALLEST_WEIGHT = 1e-6  # inside the logarithm of the KL term
COST_OF_MISSING = 1e3  # nats per nat: what missing a limit costs where mixtures that miss it are ranked


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
    limits: Sequence[HeldLimit] = (),
    explore: bool = True,
    seed: int = 0,
) -> Mixture:
    """The mixture of `space` with the smallest predicted loss (+ kl * KL(h || prior)) at (N, D).

    Args:
        surface: what is minimised.
        space: bounds, constraints, and caps at `tokens`.
        params, tokens: N and D.
        starts: mixtures to begin from besides the uniform one and random draws; moved inside the space.
        kl: weight of the divergence from `prior`, in nats of loss per nat.
        prior: absent: the uniform mixture.
        limits: losses that must stay below something; where none can, the mixture that misses them least.
        explore: also begin from the uniform mixture and random draws; else from `starts` alone.
        seed: of the random draws.

    Raises:
        InfeasibleError: when no mixture keeps the bounds and constraints at these tokens.
    """
    room, K = Room.of(space, tokens), len(space.names)
    anchor = _anchor(space, tokens, prior)

    def each_value(points: Array) -> Array:
        found = surface.predict(points, params, tokens) + kl * _divergence(points, anchor)
        if limits:
            missed = worst_excess(limits, points, params, tokens)
            found = found + COST_OF_MISSING * np.where(missed > LIMIT_KEPT, missed, 0.0)
        return np.asarray(found)

    parts = surface.parts(params, tokens) if isinstance(surface, Worst) else []

    def value_and_slope(h: Array) -> tuple[float, Array]:
        value, slope = surface.value_and_gradient(h, params, tokens) if not parts else (0.0, np.zeros(K))
        if not kl:
            return value, slope
        log_ratio = np.log(np.maximum(h, SMALLEST_WEIGHT) / anchor)
        return value + kl * float(np.sum(h * log_ratio)), slope + kl * (log_ratio + 1)

    given = [start.array(space.names) for start in starts]
    if explore or not given:
        given += [np.full(K, 1 / K), *_draws(space.names, max(0, RANDOM_STARTS - len(given)), seed)]
    points = space.project(np.array(given), tokens)
    smooth = bool(np.any(surface.value_and_gradient(points[0], params, tokens)[1] != 0))
    if not smooth:
        samples = space.project(_draws(space.names, FIRST_MIXTURES, seed), tokens)
        order = np.argsort(each_value(samples), kind="stable")
        points = np.concatenate([points, samples[order[:64]]])
    candidates = list(points)
    below = [_curve(limit, params, tokens) for limit in limits]
    first = np.argsort(each_value(points), kind="stable")[:BEST_STARTS]
    for point in points[first] if smooth else ():
        found = room.descend(value_and_slope, point, below, parts)
        if np.all(np.isfinite(found)):
            candidates.append(space.project(found, tokens))
    best = candidates[int(np.argmin(each_value(np.array(candidates))))]
    if not smooth:
        # The mean of the best sampled mixtures, which is what RegMix recommends: single ones are noise.
        mean = np.mean(candidates[-64:], axis=0)
        if not limits or worst_excess(limits, mean[None], params, tokens)[0] <= LIMIT_KEPT:
            best = mean
    cleaned = _without_negligible(best, space, tokens)
    if limits and worst_excess(limits, cleaned[None], params, tokens)[0] > LIMIT_KEPT:
        cleaned = best
    return Mixture.from_array(space.names, cleaned)


def penalised(
    surface: SurfaceLike,
    mixture: Mixture,
    space: MixtureSpace,
    *,
    params: float,
    tokens: float,
    kl: float = 0.0,
    prior: Mixture | None = None,
    limits: Sequence[HeldLimit] = (),
) -> float:
    """What `minimise_mixture` minimises, at one mixture."""
    point = mixture.array(space.names)[None]
    value = float(surface.predict(point, params, tokens)[0])
    if kl:
        value += kl * float(_divergence(point, _anchor(space, tokens, prior))[0])
    missed = float(worst_excess(limits, point, params, tokens)[0]) if limits else 0.0
    return value + (COST_OF_MISSING * missed if missed > LIMIT_KEPT else 0.0)


def _anchor(space: MixtureSpace, tokens: float, prior: Mixture | None) -> Array:
    return np.maximum((prior or space.uniform(tokens)).array(space.names), SMALLEST_WEIGHT)


def _divergence(points: Array, anchor: Array) -> Array:
    """KL(h || anchor) by mixture (M, K): shape (M,)."""
    return np.asarray(np.sum(points * np.log(np.maximum(points, SMALLEST_WEIGHT) / anchor), axis=1))


def _curve(limit: HeldLimit, params: float, tokens: float) -> Smooth:
    most = float(limit.most(params, tokens)[0])

    def curve(h: Array) -> tuple[float, Array]:
        value, slope = limit.draw.value_and_gradient(h, params, tokens)
        return value - most, slope

    return curve


def _draws(names: Sequence[str], count: int, seed: int) -> Array:
    """Mixtures drawn evenly over the simplex, shape (count, K).

    A domain's numbers follow from its name and the seed, so that the order of the domains changes nothing.
    """
    each = [np.random.default_rng((seed, 11, zlib.crc32(name.encode()))).exponential(size=count) for name in names]
    parts = np.array(each).T
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))


def _without_negligible(h: Array, space: MixtureSpace, tokens: float) -> Array:
    """`h` with negligible weights at 0, unless a bound, a constraint or the caps of the others need them."""
    lower, upper = space.bounds(tokens)
    kept = (h >= NEGLIGIBLE) | (lower > 0)
    if kept.all() or upper[kept].sum() < 1:
        return h
    none = {name: 0.0 for name, keep in zip(space.names, kept, strict=True) if not keep}
    try:
        return replace(space, upper={**space.upper, **none}).project(h, tokens)
    except InfeasibleError:
        return h
