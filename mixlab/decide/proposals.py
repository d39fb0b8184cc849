"""What to run next: the runs that take most off the doubt about the best mixture at the target, per FLOP.

A run is worth what it takes off the variance of the difference between each arm and the leading one, weighted by how
likely each is the best. A batch is chosen one by one, each as if those before it had been told, so that its runs differ
where they can and repeat each other where noise is what hides the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def choose(belief: Belief, arms: Arms, offers: Sequence[Offer], budget: float, most: int) -> list[Pick]:
    """Up to `most` runs that cost at most `budget` FLOPs in all, the most worthwhile first."""
    A, lead = len(arms.mixtures), arms.leader
    options = np.sort(np.argsort(-arms.chance, kind="stable")[:MOST_OPTIONS])
    B = len(options)
    at = belief.points(
        np.concatenate([arms.mixtures, *[arms.mixtures[options]] * len(offers)]),
        np.concatenate([np.full(A, arms.params), *(np.full(B, one.params) for one in offers)]),
        np.concatenate([np.full(A, arms.tokens), *(np.full(B, one.tokens) for one in offers)]),
    )
    sight = belief.sight(at)
    covariance, steep = sight.covariance, sight.steepness[:, :A]
    price = np.repeat([one.flops for one in offers], B)
    # A place in the batch is as scarce as its share of the budget, or a budget would end in runs too small to matter.
    worth = price + budget / most
    picks: list[Pick] = []
    while len(picks) < most:
        variance = np.einsum("tmm->tm", covariance)[:, A:] + sight.noise[:, A:]
        told = steep[:, :, None] * covariance[:, :A, A:]
        told = told - told[:, [lead]]
        gain = np.einsum("a,tac->c", arms.chance, told**2 / variance[:, None, :])
        value = np.where(price <= budget, gain / worth, 0.0)
        best = int(np.argmax(value))
        if value[best] <= 0:
            break
        picks.append(Pick(int(options[best % B]), best // B, float(gain[best])))
        budget -= price[best]
        column = covariance[:, :, A + best]
        covariance = covariance - column[:, :, None] * column[:, None, :] / variance[:, best, None, None]
    return picks
