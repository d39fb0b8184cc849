"""Designs on the simplex: the mixtures that a sweep starts from.

Every design begins with its anchors, the prior and the uniform mixture, goes on with one mixture heavy in each
domain, and is filled by draws that spread: Dirichlet draws around the prior from nearly one domain to nearly the
prior, or a Sobol sequence over the whole space. All lie inside the bounds, and no two are near-duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Mixture, MixtureSpace

NEAR_DUPLICATE = 0.01  # L2 distance between weights
HEAVY = 0.8  # weight of the leading domain in a vertex mixture
TEMPERATURE = 0.5  # flattens the prior, so that scarce domains are seen too
CONCENTRATIONS = (0.3, 5.0)  # of the Dirichlet draws, log-spaced: from nearly a corner to nearly the prior
MAX_TRIES = 1000


def anchors(space: MixtureSpace, prior: Mixture, tokens: float) -> list[Mixture]:
    """The prior and the uniform mixture, inside the bounds; one mixture when they are the same."""
    even = space.uniform(tokens).array(space.names)
    if space.limit is not None:  # else it is inside, and a second projection would move its last bit: another run's id
        even = space.project(even, tokens)
    points = [space.project(prior.array(space.names), tokens), even]
    return [Mixture.from_array(space.names, point) for point in _distinct(iter(points), [], len(points))]


def draw_mixtures(
    space: MixtureSpace, prior: Mixture, count: int, *, kind: str, seed: int, tokens: float
) -> list[Mixture]:
    """`count` different mixtures, the anchors first, then the vertices, then draws.

    Args:
        space: the mixtures that may be trained.
        prior: what the Dirichlet draws surround.
        count: how many in all.
        kind: `dirichlet` or `sobol`.
        seed: of the draws.
        tokens: the longest run's tokens, which decide the caps of scarce domains.

    Raises:
        InfeasibleError: when the bounds leave no room for `count` different mixtures.
        ConfigError: on an unknown `kind`.
    """
    rng = np.random.default_rng((seed, 1))
    if kind == "dirichlet":
        fill = _dirichlet(space, prior, max(1, count - 2 - len(space.names)), rng)
    elif kind == "sobol":
        fill = _sobol(len(space.names), rng)
    else:
        raise ConfigError(f"a design is `dirichlet` or `sobol`, but got `{kind}`")
    first = [mixture.array(space.names) for mixture in anchors(space, prior, tokens)]

    def candidates() -> Iterator[NDArray[np.float64]]:
        yield from first
        for point in _vertices(space, prior):
            yield space.project(point, tokens)
        for point in fill:
            yield space.project(point, tokens)

    points = _distinct(candidates(), [], count)
    if len(points) < count:
        raise InfeasibleError(
            f"the bounds must leave room for {count} different mixtures, but only {len(points)} were found",
            "widen the bounds, allow more epochs, or ask for fewer mixtures",
        )
    return [Mixture.from_array(space.names, point) for point in points]


def is_new(point: NDArray[np.float64], known: Sequence[NDArray[np.float64]]) -> bool:
    """Whether `point` is no near-duplicate of a known one."""
    return all(float(np.linalg.norm(point - other)) >= NEAR_DUPLICATE for other in known)


def _distinct(
    points: Iterator[NDArray[np.float64]], known: list[NDArray[np.float64]], count: int
) -> list[NDArray[np.float64]]:
    kept = list(known)
    for point in islice(points, MAX_TRIES + count):
        if len(kept) == count:
            break
        if is_new(point, kept):
            kept.append(point)
    return kept


def _vertices(space: MixtureSpace, prior: Mixture) -> Iterator[NDArray[np.float64]]:
    """For each domain a mixture dominated by it, the rest as in the prior."""
    base = prior.array(space.names)
    for index in range(len(base)):
        rest = np.where(np.arange(len(base)) == index, 0.0, base)
        rest = rest / rest.sum() if rest.sum() > 0 else np.full(len(base), 1 / len(base))
        point = (1 - HEAVY) * rest
        point[index] += HEAVY
        yield point


def _dirichlet(
    space: MixtureSpace, prior: Mixture, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Endless draws; the concentration goes round through `count` log-spaced values."""
    flattened = np.maximum(prior.array(space.names), 1e-4) ** TEMPERATURE
    flattened /= flattened.mean()
    scales = rng.permutation(np.geomspace(*CONCENTRATIONS, count))
    while True:
        for scale in scales:
            yield rng.dirichlet(np.maximum(flattened * scale, 1e-3))


def _sobol(dimension: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """A scrambled Sobol sequence mapped to the simplex by normalised exponentials (uniform on it)."""
    sequence = qmc.Sobol(dimension, scramble=True, rng=rng)
    while True:
        uniform = np.clip(sequence.random(64), 1e-12, 1 - 1e-12)
        exponential = -np.log(uniform)
        yield from exponential / exponential.sum(axis=1, keepdims=True)
