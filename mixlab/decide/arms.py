"""Arms: mixtures that may be the best at the N and D that are asked about, and how likely each is that.

They are descents on the belief, the best that were run, what a caller names, and moves from all of these: towards one
domain, without one, towards the prior, around, and where few domains may have weight, one in place of another. They
stand for the whole space where the belief holds it possible that the optimum lies, so that chances and expected regrets
can be read off joint draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.decide.belief import Belief, Sight
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.search.descent.mix import minimise_mixture

LEADERS = 4  # mixtures that moves start from
DESCENTS = 2  # of them that are followed down on the belief
SHIFTS = (0.03, 0.1, 0.3)  # of a move towards one domain
HOMEWARD = (0.25, 0.5, 0.75)  # of the way towards a named mixture
NEARNESS = (20.0, 100.0, 500.0)  # of Dirichlet draws around a leader
AROUND_DRAWS = 12  # draws by leader and concentration
CANDIDATES = 240  # that are drawn jointly
ARMS = 120
JOINT_DRAWS = 512
LEFT = 0.2  # of the weight that must be left to move without a domain


@dataclass(frozen=True)
class Arms:
    """Mixtures that may be the best at (N, D).

    Attributes:
        params, tokens: N and D.
        space: in which they lie.
        mixtures: shape (A, K).
        named: indices of the mixtures that a caller named, in their order.
        sight: on them, jointly.
        draws: of the objective on them, shape (S, A).
        least: the smallest objective over more mixtures than these, by draw, shape (S,).
    """

    params: float
    tokens: float
    space: MixtureSpace
    mixtures: Array
    named: tuple[int, ...]
    sight: Sight
    draws: Array
    least: Array

    @property
    def chance(self) -> Array:
        """Of each to be the best of them, shape (A,)."""
        return np.bincount(np.argmin(self.draws, axis=1), minlength=len(self.mixtures)) / len(self.draws)

    @property
    def regret(self) -> Array:
        """What each is expected to lose to the best, nats, shape (A,)."""
        return np.asarray((self.draws - self.least[:, None]).mean(axis=0))

    @property
    def leader(self) -> int:
        """The arm of least expected loss."""
        return int(np.argmin(self.draws.mean(axis=0)))


def gather(
    belief: Belief,
    space: MixtureSpace,
    params: float,
    tokens: float,
    known: Array,
    named: Sequence[Mixture] = (),
    seed: int = 0,
) -> Arms:
    """The arms of a space.

    Args:
        belief: what is known.
        space: bounds and constraints, and caps at `tokens`.
        params, tokens: N and D that are asked about.
        known: mixtures that were run, shape (m, K).
        named: mixtures that are arms whatever the belief says, such as the prior; moved inside the space.
        seed: of moves and draws.

    Raises:
        InfeasibleError: when no mixture keeps the bounds at these tokens.
    """
    rng = np.random.default_rng((seed, 19))
    given = space.project(np.array([one.array(space.names) for one in named]).reshape(-1, len(space.names)), tokens)
    run = space.project(np.unique(known.round(6), axis=0), tokens)
    run = run[np.argsort(belief.predict(run, params, tokens), kind="stable")]
    starts = np.concatenate([run[:DESCENTS], given[:1]])
    found = [
        minimise_mixture(
            belief,
            space,
            params=params,
            tokens=tokens,
            starts=[Mixture.from_array(space.names, one)],
            explore=False,
            seed=seed,
        ).array(space.names)
        for one in starts
    ]
    leaders = np.concatenate([np.array(found), run[:LEADERS]])
    moved = np.concatenate([leaders, run[: 8 * LEADERS], *(_moves(h, given, rng) for h in leaders)])
    if space.limit is not None:
        moved = np.concatenate([moved, *(_exchanges(h) for h in leaders)])
    others = np.unique(space.project(moved, tokens).round(9), axis=0)
    mean, deviation = belief.moments(belief.points(others, params, tokens))
    others = others[np.sort(np.argsort(mean - deviation, kind="stable")[:CANDIDATES])]
    candidates = np.concatenate([given, others])
    sight = belief.sight(belief.points(candidates, params, tokens))
    draws = sight.draws(JOINT_DRAWS, rng)
    wins = np.bincount(np.argmin(draws, axis=1), minlength=len(candidates))
    ranked = np.lexsort((draws.mean(axis=0), -wins))[:ARMS]
    kept = np.unique([*range(len(given)), *ranked, int(np.argmin(draws.mean(axis=0)))])
    return Arms(
        params,
        tokens,
        space,
        candidates[kept],
        tuple(range(len(given))),
        sight.some(kept),
        draws[:, kept],
        draws.min(axis=1),
    )


def _moves(h: Array, given: Array, rng: np.random.Generator) -> Array:
    """Mixtures near h, before they are moved inside the space, shape (m, K)."""
    K = len(h)
    towards = [(1 - shift) * h + shift * np.eye(K) for shift in SHIFTS]
    homeward = [(1 - share) * h + share * given for share in HOMEWARD]
    without = h * (1 - np.eye(K))
    without = without[without.sum(axis=1) > LEFT]
    without /= without.sum(axis=1, keepdims=True)
    around = [rng.dirichlet(np.maximum(h * c, 1e-3), AROUND_DRAWS) for c in NEARNESS]
    return np.concatenate([*towards, *homeward, without, *around])


def _exchanges(h: Array) -> Array:
    """Mixtures in which another domain has the weight of one, shape (m, K): moves towards it would not keep it."""
    with_weight, without = np.flatnonzero(h > 0), np.flatnonzero(h == 0)
    points = np.repeat(h[None], len(with_weight) * len(without), axis=0)
    out, into = np.repeat(with_weight, len(without)), np.tile(without, len(with_weight))
    rows = np.arange(len(points))
    points[rows, into] = points[rows, out]
    points[rows, out] = 0.0
    return points


def spread_out(points: Array, first: int, count: int) -> NDArray[np.int64]:
    """Indices of `count` points that lie far from each other, the `first` first."""
    chosen = [first]
    near = np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(np.argmax(near)))
        near = np.minimum(near, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
