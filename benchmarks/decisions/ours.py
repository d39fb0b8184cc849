"""mixlab's own way, on a simulator: a design on the smallest proxies, then rounds of what takes most off the doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.decisions.simulators import Scale, Simulator
from mixlab.arrays import Array
from mixlab.decide.arms import gather
from mixlab.decide.belief import Belief
from mixlab.decide.decision import CAUTION, Decision, decide
from mixlab.decide.proposals import Offer, choose
from mixlab.laws.forms.points import Observations
from mixlab.mixture import Domain, Mixture, MixtureSpace
from sweeps.designs import draw_mixtures

GROWTH = 12  # a round costs at most one part in so many of what was spent, and has at most such a part of the runs


@dataclass
class Rounds:
    """A sweep in rounds.

    Attributes:
        name: of the strategy.
        scales: of the simulator's, smallest first.
        share: least share of the FLOPs for the largest scale: what only it tells is how rankings change with scale.
        caution: of the decision.
        first: runs of the design at least.
        per_domain: and for each domain.
        batch: runs of a round at least.
        proposed: whether runs after the design are proposed; else they are drawn like it.
        decided: by budget, the last run's decisions, and the beliefs behind them; for `calibration`.
    """

    name: str = "mixlab"
    scales: tuple[int, ...] = (0, -1)
    share: float = 0.25
    caution: float = CAUTION
    first: int = 16
    per_domain: float = 2.0
    batch: int = 8
    proposed: bool = True
    decided: dict[float, tuple[Decision, Belief]] = field(default_factory=dict, repr=False)

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        """The mixtures that it answers at each budget, in runs of N0."""
        space = MixtureSpace(tuple(Domain(name) for name in simulator.domains))
        prior = Mixture.from_array(simulator.domains, simulator.prior)
        scales = [simulator.scales[index] for index in self.scales]
        price = np.array([one.flops for one in scales]) / simulator.scales[-1].flops
        last, asked = len(scales) - 1, simulator.target
        table = _Table(simulator, seed)
        count = max(self.first, int(self.per_domain * len(space.names)))
        design = draw_mixtures(space, prior, count, kind="dirichlet", seed=seed, tokens=1.0)
        drawn = np.array([one.array(space.names) for one in design])
        table.train(drawn[: int((min(budgets) - 2 * price[-1]) / price[0])], scales[0], 0)
        if last:
            table.train(drawn[:2], scales[-1], last)
        answers: dict[float, Array] = {}
        belief: Belief | None = None
        for budget in sorted(budgets):
            while True:
                spent = float(price[table.which].sum())
                rows, losses = table.rows, table.losses
                belief = Belief.of(rows, losses, simulator.objective, belief, seed)
                arms = gather(belief, space, asked.params, asked.tokens, rows.mixture, [prior], seed + len(rows))
                usable = [index for index in range(len(scales)) if price[index] <= budget - spent + 1e-9]
                if last in usable and price[last] * np.sum(table.which == last) < self.share * spent:
                    usable = [last]
                room = min(budget - spent + 1e-9, max(price[usable[-1]] if usable else 0.0, spent / GROWTH))
                offers = [Offer(scales[index].params, scales[index].tokens, price[index]) for index in usable]
                most = max(self.batch, len(rows) // GROWTH)
                if self.proposed:
                    picks = choose(belief, arms, offers, room, most) if offers else []
                    runs = [(pick.mixture, pick.offer) for pick in picks]
                else:
                    runs = _drawn(space, prior, offers, room, most, seed=(seed, len(rows)))
                if not runs:
                    break
                for h, offer in runs:
                    table.train(h[None], scales[usable[offer]], usable[offer])
            decision = decide(belief, arms, arms.named[0], {"prior": prior}, caution=self.caution, seed=seed)
            answers[budget] = decision.mixture
            self.decided[budget] = decision, belief
        return answers


def _drawn(
    space: MixtureSpace, prior: Mixture, offers: Sequence[Offer], room: float, most: int, seed: tuple[int, int]
) -> list[tuple[Array, int]]:
    """Runs of mixtures that nobody chose, each at the cheapest scale, or at the only one."""
    if not offers:
        return []
    count = min(most, int(room / offers[0].flops + 1e-9))
    rng = np.random.default_rng(seed)
    base = np.sqrt(np.maximum(prior.array(space.names), 1e-4))
    strength = np.exp(rng.uniform(np.log(0.3), np.log(5.0), count))
    drawn = [rng.dirichlet(np.maximum(base / base.mean() * one, 1e-3)) for one in strength]
    return [(h, 0) for h in drawn]


class _Table:
    """The runs so far."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self._simulator, self._seed = simulator, seed
        self._mixtures: list[Array] = []
        self._scales: list[tuple[float, float]] = []
        self._which: list[int] = []
        self._told: list[list[float]] = []

    def train(self, mixtures: Array, scale: Scale, which: int) -> None:
        for h in mixtures:
            found = self._simulator.losses(h[None], scale, np.array([self._seed * 100_000 + len(self._told)]))
            self._mixtures.append(h)
            self._scales.append((scale.params, scale.tokens))
            self._which.append(which)
            self._told.append([float(found[name][0]) for name in self._simulator.objective])

    @property
    def which(self) -> Array:
        return np.array(self._which)

    @property
    def losses(self) -> dict[str, Array]:
        return dict(zip(self._simulator.objective, np.array(self._told).T, strict=True))

    @property
    def rows(self) -> Observations:
        h, (params, tokens), count = np.array(self._mixtures), np.array(self._scales).T, len(self._told)
        unlimited = np.full(h.shape, np.inf)
        return Observations(
            h, params, tokens, unlimited, np.ones(count), tuple(self._simulator.domains), np.arange(count)
        )
