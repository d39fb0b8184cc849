"""What to run next: the runs that take most off the doubt about the best mixture at the target, per FLOP.

A run is worth what it takes off the variance of the difference between each arm and the leading one, weighted by how
likely each is the best. A batch is chosen one by one, each as if those before it had been told, so that its runs differ
where they can and repeat each other where noise is what hides the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixlab.arrays import Array
from mixlab.decide.arms import Arms
from mixlab.decide.belief import Belief

MOST_OPTIONS = 60  # arms that may be run; the others have hardly a chance


@dataclass(frozen=True)
class Offer:
    """A scale at which a mixture may be run.

    Attributes:
        params, tokens: N and D.
        flops: what the run costs.
    """

    params: float
    tokens: float
    flops: float


@dataclass(frozen=True)
class Continuation:
    """A run that was made and may go on to a larger scale, for what is left of the way.

    Attributes:
        mixture: h, shape (K,).
        offer: index of the scale that it would come to.
        flops: what that costs beyond what it has cost.
    """

    mixture: Array
    offer: int
    flops: float


@dataclass(frozen=True)
class Pick:
    """A run that is worth making.

    Attributes:
        mixture: h, shape (K,).
        offer: index of its scale among the offers.
        gain: nats^2 of doubt that it takes off.
        continues: index of the continuation that it is; None where it starts anew.
    """

    mixture: Array
    offer: int
    gain: float
    continues: int | None = None


def doubt(arms: Arms) -> float:
    """What there is to take off, nats^2: the variance of the difference to the leading arm, by chances."""
    lead, sight = arms.leader, arms.sight
    own = np.einsum("tmm->tm", sight.covariance)
    shared = sight.steepness * sight.steepness[:, [lead]] * sight.covariance[:, lead]
    each = sight.steepness**2 * own + (sight.steepness[:, lead] ** 2 * own[:, lead])[:, None] - 2 * shared
    return float(arms.chance @ np.maximum(each, 0).sum(axis=0))


def choose(
    belief: Belief,
    arms: Arms,
    offers: Sequence[Offer],
    budget: float,
    most: int,
    under_way: Sequence[tuple[Array, int]] = (),
    continuations: Sequence[Continuation] = (),
) -> list[Pick]:
    """Up to `most` runs that cost at most `budget` FLOPs in all, the most worthwhile first.

    A short run is stopped early, so to speak, when nothing that it could still tell is worth what is left of its way.

    Args:
        belief: what is known.
        arms: mixtures that may be the best.
        offers: scales at which they may be run; those that the belief would not hear are left.
        budget: FLOPs.
        most: runs.
        under_way: runs that are made already and not told yet: mixtures, each with the index of its offer.
        continuations: runs that may go on.
    """
    heard = [index for index, one in enumerate(offers) if belief.hears(one.params, one.tokens)]
    likely = np.sort(np.argsort(-arms.chance, kind="stable")[:MOST_OPTIONS])
    anew = [(arms.mixtures[arm], index, offers[index].flops, None) for index in heard for arm in likely]
    further = [
        (one.mixture, one.offer, one.flops, place) for place, one in enumerate(continuations) if one.offer in heard
    ]
    options = [*anew, *further]
    A, lead, end = len(arms.mixtures), arms.leader, len(arms.mixtures) + len(options)
    points = [*((h, index) for h, index, *_ in options), *under_way]
    at = belief.points(
        np.array([*arms.mixtures, *(h for h, _ in points)]),
        [arms.params] * A + [offers[index].params for _, index in points],
        [arms.tokens] * A + [offers[index].tokens for _, index in points],
    )
    sight = belief.sight(at)
    covariance, steep = sight.covariance, sight.steepness[:, :A]
    for point in range(end, len(at)):
        covariance = _told(covariance, sight.noise, point)
    covariance, noise = covariance[:, :end, :end], sight.noise[:, :end]
    price = np.array([flops for _, _, flops, _ in options])
    # A place in the batch is as scarce as its share of the budget, or a budget would end in runs too small to matter.
    worth = price + budget / most
    left = np.ones(len(options), dtype=bool)
    picks: list[Pick] = []
    while options and len(picks) < most:
        variance = np.einsum("tmm->tm", covariance)[:, A:] + noise[:, A:]
        told = steep[:, :, None] * covariance[:, :A, A:]
        told = told - told[:, [lead]]
        gain = np.einsum("a,tac->c", arms.chance, told**2 / variance[:, None, :])
        value = np.where(left & (price <= budget), gain / worth, 0.0)
        best = int(np.argmax(value))
        if value[best] <= 0:
            break
        h, offer, _, continues = options[best]
        picks.append(Pick(h, offer, float(gain[best]), continues))
        left[best] = continues is None  # a mixture may be repeated with another seed, a run goes on once
        budget -= price[best]
        covariance = _told(covariance, noise, A + best)
    return picks


def _told(covariance: Array, noise: Array, run: int) -> Array:
    """What is left of a covariance, shape (T, M, M), once a run at one of its points has been told."""
    column = covariance[:, :, run]
    variance = column[:, run] + noise[:, run]
    return np.asarray(covariance - column[:, :, None] * column[:, None, :] / variance[:, None, None])
