"""The best mixture at fixed (N, D): the surface's minimum over the simplex inside bounds, constraints and token caps.

SLSQP with the surface's gradient from several starts; where few domains may have weight, within one choice of them
after another (`mixlab.search.descent.exchange`). A surface whose gradient is zero everywhere (boosted trees) is
searched by sampling instead, as RegMix does. The result is never worse than any start that keeps the limits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.errors import InfeasibleError
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.search.descent.exchange import eliminate, exchange
from mixlab.search.descent.limits import LIMIT_KEPT, HeldLimit, worst_excess
from mixlab.search.descent.room import Room, Smooth
from mixlab.search.descent.worst import Worst
from mixlab.supports import Mask

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
    hill = _Hill(surface, space, params, tokens, kl, _anchor(space, tokens, prior), tuple(limits), seed)
    K = len(space.names)
    given = [start.array(space.names) for start in starts]
    explore = explore or not given
    if explore:
        given += [np.full(K, 1 / K), *_draws(space.names, max(0, RANDOM_STARTS - len(given)), seed)]
    few = space.limit is not None
    found = hill.best_of_few(np.array(given), explore) if few else hill.best(space, np.array(given))
    return Mixture.from_array(space.names, found)


@dataclass(frozen=True)
class _Hill:
    """What is descended at one (N, D).

    Attributes:
        surface, space, params, tokens, kl, limits, seed: as `minimise_mixture` has them.
        anchor: the prior, shape (K,), no weight 0.
    """

    surface: SurfaceLike
    space: MixtureSpace
    params: float
    tokens: float
    kl: float
    anchor: Array
    limits: tuple[HeldLimit, ...]
    seed: int

    def values(self, points: Array) -> Array:
        """What is minimised and what missing limits costs, by mixture (M, K): shape (M,)."""
        found = self.surface.predict(points, self.params, self.tokens) + self.kl * _divergence(points, self.anchor)
        if self.limits:
            missed = worst_excess(self.limits, points, self.params, self.tokens)
            found = found + COST_OF_MISSING * np.where(missed > LIMIT_KEPT, missed, 0.0)
        return np.asarray(found)

    def best(self, space: MixtureSpace, given: Array) -> Array:
        """The best mixture of a space, all of whose domains may have weight, from mixtures (m, K)."""
        points = space.project(given, self.tokens)
        smooth = self.is_smooth(points[0])
        if not smooth:
            points = np.concatenate([points, self.sampled(space)[:64]])
        candidates = list(points)
        room = Room.of(space, self.tokens)
        first = np.argsort(self.values(points), kind="stable")[:BEST_STARTS]
        for point in points[first] if smooth else ():
            found = self.down(room, point)
            if np.all(np.isfinite(found)):
                candidates.append(space.project(found, self.tokens))
        best = candidates[int(np.argmin(self.values(np.array(candidates))))]
        if not smooth:
            # The mean of the best sampled mixtures, which is what RegMix recommends: single ones are noise.
            mean = np.mean(candidates[-64:], axis=0)
            if self.keeps_limits(mean):
                best = mean
        cleaned = _without_negligible(best, space, self.tokens)
        return cleaned if self.keeps_limits(cleaned) else best

    def best_of_few(self, given: Array, explore: bool) -> Array:
        """The best mixture where few domains may have weight, from mixtures (m, K).

        Args:
            given: mixtures to begin from; moved inside the space.
            explore: also begin from the best mixture of all domains, with which the search is global where the
                surface is convex but for the choice of domains.
        """
        faces = self.space.faces(self.tokens)
        points = faces.project(given)
        if not self.is_smooth(points[0]):
            mean = np.mean(self.sampled(self.space)[:64], axis=0)
            kept = faces.project(mean) > 0
            return self.best(self.space.within(kept | faces.needed), points[:1])

        def descend(support: Mask, point: Array) -> Array:
            within = replace(faces, upper=np.where(support, faces.upper, 0.0))
            found = self.down(Room(within.lower, within.upper, within.A, within.low, within.high), point)
            if not np.all(np.isfinite(found)):
                return point
            both = np.array([point, *faces.inside(found[None], support[None])])
            both = both[~np.isnan(both[:, 0])]
            return np.asarray(both[int(np.argmin(self.values(both)))])

        first = points[np.argsort(self.values(points), kind="stable")[: 2 if explore else 1]]
        begun = [(point > 0, descend((point > 0) | faces.needed, point)) for point in first]
        if explore:
            whole = self.best(self.space.unlimited, given)
            if (whole > 0).sum() <= faces.most:
                return whole
            near = faces.project(whole)
            begun += [eliminate(faces, whole, self.values, descend), (near > 0, descend(near > 0, near))]
        ends = [exchange(faces, support, h, self.values, descend) for support, h in _distinct(begun, faces.needed)]
        support, h = ends[int(np.argmin(self.values(np.array([point for _, point in ends]))))]
        return self.best(self.space.within(support), np.concatenate([h[None], given]) if explore else h[None])

    def is_smooth(self, point: Array) -> bool:
        """Whether the surface has slopes."""
        return bool(np.any(self.surface.value_and_gradient(point, self.params, self.tokens)[1] != 0))

    def sampled(self, space: MixtureSpace) -> Array:
        """Mixtures drawn from a space, the best first, shape (FIRST_MIXTURES, K)."""
        samples = space.project(_draws(space.names, FIRST_MIXTURES, self.seed), self.tokens)
        return np.asarray(samples[np.argsort(self.values(samples), kind="stable")])

    def down(self, room: Room, point: Array) -> Array:
        """A local minimum in a room, shape (K,)."""
        return room.descend(self._value_and_slope, point, self._below, self._parts)

    def keeps_limits(self, point: Array) -> bool:
        """Whether a mixture keeps the limits on losses."""
        return not self.limits or worst_excess(self.limits, point[None], self.params, self.tokens)[0] <= LIMIT_KEPT

    @cached_property
    def _below(self) -> list[Smooth]:
        return [_curve(limit, self.params, self.tokens) for limit in self.limits]

    @cached_property
    def _parts(self) -> list[Smooth]:
        return self.surface.parts(self.params, self.tokens) if isinstance(self.surface, Worst) else []

    def _value_and_slope(self, h: Array) -> tuple[float, Array]:
        value, slope = 0.0, np.zeros(len(h))
        if not isinstance(self.surface, Worst):
            value, slope = self.surface.value_and_gradient(h, self.params, self.tokens)
        if not self.kl:
            return value, slope
        log_ratio = np.log(np.maximum(h, SMALLEST_WEIGHT) / self.anchor)
        return value + self.kl * float(np.sum(h * log_ratio)), slope + self.kl * (log_ratio + 1)


def _distinct(begun: Sequence[tuple[Mask, Array]], needed: Mask) -> list[tuple[Mask, Array]]:
    """Of supports with a mixture each, every support once, with the domains that have weight in any case."""
    found: dict[bytes, tuple[Mask, Array]] = {}
    for support, h in begun:
        found.setdefault((support | needed).tobytes(), (support | needed, h))
    return list(found.values())


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
