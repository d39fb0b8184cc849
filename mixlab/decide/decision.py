"""The answer, the mixtures that cannot be told from it, and how much it may be wrong.

The mixture is the one whose gain over a home mixture (the prior, or the best that was run) is largest with probability
`CAUTION`, so that it leaves home as far as the runs support it and no farther. Where they support nothing, home is the
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mixlab.arrays import Array
from mixlab.decide.arms import Arms, spread_out
from mixlab.decide.belief import Belief
from mixlab.mixture import Mixture

CAUTION = 0.6  # probability with which the answer has the gain over home that it is chosen for
PATH = 20  # steps between home and the leading arm that may be answered
TOLD_APART = 0.02  # a mixture that is at least as good as the answer with this probability belongs to the set
REPRESENTATIVES = 5
MOVED = 0.01  # of a weight: less is no move
SHOWN = 0.5  # of the noise of one run: what a handful of seeds can tell from 0


@dataclass(frozen=True)
class Opinion:
    """What a law says of mixtures at the same N and D, and how much that counts beside the belief.

    Two predictions of about the same error are better together than either (Bates and Granger 1969), and a law that
    knows how losses fall is worth most where runs are few.

    Attributes:
        predict: the objective of mixtures (M, K), shape (M,).
        weight: from 0 to 1.
    """

    predict: Callable[[Array], Array]
    weight: float

    @classmethod
    def of(cls, predict: Callable[[Array], Array], its_error: float, our_error: float) -> Opinion:
        """Weighed by the errors of both on mixtures that they had not seen: the inverse squares share the weight."""
        if not (np.isfinite(its_error) and np.isfinite(our_error)):
            return cls(predict, 0.0)
        return cls(predict, our_error**2 / (our_error**2 + its_error**2))


@dataclass(frozen=True)
class Forecast:
    """The answer against another mixture, at the same N and D.

    Attributes:
        probability: that the answer's loss is smaller.
        gain, low, high: how much smaller, nats: the mean and the middle 90%.
    """

    probability: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """What to train, and how sure that is.

    Attributes:
        mixture: the answer, shape (K,).
        regret: what it is expected to lose to the best, nats.
        noise: standard deviation of the objective of one run at the largest scale, nats.
        alike: mixtures that cannot be told from it, a few that lie apart, the answer first, shape (m, K).
        low, high: the range of each weight over all of them, shape (K,).
        at_home: whether the runs support no other mixture than the one that was there before them.
        forecasts: against each mixture that was named.
    """

    mixture: Array
    regret: float
    noise: float
    alike: Array
    low: Array
    high: Array
    at_home: bool
    forecasts: Mapping[str, Forecast]

    @property
    def settled(self) -> bool:
        """Whether it is expected to lose less than noise can show."""
        return self.regret <= SHOWN * self.noise


def decide(
    belief: Belief,
    arms: Arms,
    home: int,
    named: Mapping[str, Mixture],
    opinion: Opinion | None = None,
    caution: float = CAUTION,
    seed: int = 0,
) -> Decision:
    """Choose among the arms and the path from home to the leading one.

    Args:
        belief: what is known.
        arms: of the space.
        home: index of the arm that is answered where nothing else is supported.
        named: mixtures to be compared with.
        opinion: a law's.
        caution: probability with which an arm must have its gain over home; .5 is none.
        seed: of the draws.
    """
    base = arms.mixtures[home]
    lead = arms.mixtures[int(np.argmin(_heard(arms.draws, arms.mixtures, home, opinion).mean(axis=0)))]
    path = base + (lead - base) * np.linspace(0, 1, PATH + 1)[:, None]
    if arms.space.limit is not None:  # the only spaces that are not convex: two of its mixtures have more domains
        path = arms.space.project(path, arms.tokens)
    K = arms.mixtures.shape[1]
    others = np.array([list(one.values()) for one in named.values()]).reshape(-1, K)
    mixtures = np.concatenate([path, arms.mixtures, others])
    sight = belief.sight(belief.points(mixtures, arms.params, arms.tokens))
    draws = _heard(sight.draws(len(arms.draws), np.random.default_rng((seed, 23))), mixtures, 0, opinion)
    answerable = len(mixtures) - len(others)
    over = draws - draws[:, :1]
    best = int(np.argmin(np.quantile(over[:, :answerable], caution, axis=0)))
    least = draws[:, :answerable].min(axis=1)
    better = (draws[:, :answerable] <= draws[:, [best]]).mean(axis=0)
    alike = np.unique(np.concatenate([[best], np.flatnonzero(better >= TOLD_APART)]))
    members = mixtures[alike]
    shown = spread_out(members, int(np.flatnonzero(alike == best)[0]), REPRESENTATIVES)
    at = belief.points(mixtures[best], *np.exp(belief.reference))
    loud = belief.sight(at)
    return Decision(
        mixture=mixtures[best],
        regret=float((draws[:, best] - least).mean()),
        noise=float(np.sqrt(np.sum(loud.steepness[:, 0] ** 2 * loud.noise[:, 0]))),
        alike=members[shown],
        low=members.min(axis=0),
        high=members.max(axis=0),
        at_home=bool(np.abs(mixtures[best] - base).max() < MOVED),
        forecasts={name: _forecast(draws[:, answerable + index] - draws[:, best]) for index, name in enumerate(named)},
    )


def _heard(draws: Array, mixtures: Array, home: int, opinion: Opinion | None) -> Array:
    """Draws (S, M), their mean differences from home moved towards what the opinion says of them."""
    if opinion is None or opinion.weight == 0:
        return draws
    ours, theirs = draws.mean(axis=0), opinion.predict(mixtures)
    return draws + opinion.weight * ((theirs - theirs[home]) - (ours - ours[home]))


def _forecast(gain: Array) -> Forecast:
    low, high = np.quantile(gain, [0.05, 0.95])
    return Forecast(float((gain > 0).mean()), float(gain.mean()), float(low), float(high))
