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
class Pick:
    """A run that is worth making.

    Attributes:
        arm: index of its mixture among the arms.
        offer: index of its scale among the offers.
        gain: nats^2 of doubt that it takes off.
    """

    arm: int
    offer: int
    gain: float


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
) -> list[Pick]:
    """Up to `most` runs that cost at most `budget` FLOPs in all, the most worthwhile first.

    Args:
        belief: what is known.
        arms: mixtures that may be the best.
        offers: scales at which they may be run; those that the belief would not hear are left.
        budget: FLOPs.
        most: runs.
        under_way: runs that are made already and not told yet: mixtures, each with the index of its offer.
    """
    heard = np.array([belief.hears(one.params, one.tokens) for one in offers])
    A, lead = len(arms.mixtures), arms.leader
    options = np.sort(np.argsort(-arms.chance, kind="stable")[:MOST_OPTIONS])
    B = len(options)
    scales = [one for one in offers for _ in range(B)] + [offers[index] for _, index in under_way]
    at = belief.points(
        np.concatenate([arms.mixtures, *[arms.mixtures[options]] * len(offers), *(h[None] for h, _ in under_way)]),
        [arms.params] * A + [one.params for one in scales],
        [arms.tokens] * A + [one.tokens for one in scales],
    )
    sight = belief.sight(at)
    covariance, steep = sight.covariance, sight.steepness[:, :A]
    end = A + B * len(offers)
    for point in range(end, len(at)):
        covariance = _told(covariance, sight.noise, point)
    covariance, noise = covariance[:, :end, :end], sight.noise[:, :end]
    price = np.repeat([one.flops for one in offers], B)
    # A place in the batch is as scarce as its share of the budget, or a budget would end in runs too small to matter.
    worth = price + budget / most
    telling = np.repeat(heard, B)
    picks: list[Pick] = []
    while len(picks) < most:
        variance = np.einsum("tmm->tm", covariance)[:, A:] + noise[:, A:]
        told = steep[:, :, None] * covariance[:, :A, A:]
        told = told - told[:, [lead]]
        gain = np.einsum("a,tac->c", arms.chance, told**2 / variance[:, None, :])
        value = np.where(telling & (price <= budget), gain / worth, 0.0)
        best = int(np.argmax(value))
        if value[best] <= 0:
            break
        picks.append(Pick(int(options[best % B]), best // B, float(gain[best])))
        budget -= price[best]
        covariance = _told(covariance, noise, A + best)
    return picks


def _told(covariance: Array, noise: Array, run: int) -> Array:
    """What is left of a covariance, shape (T, M, M), once a run at one of its points has been told."""
    column = covariance[:, :, run]
    variance = column[:, run] + noise[:, run]
    return np.asarray(covariance - column[:, :, None] * column[:, None, :] / variance[:, None, None])
