"""Decisions: the planted optimum is found, noise claims nothing, and a pick is worth what its run will tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixlab.arrays import Array
from mixlab.constraints import parse_constraint
from mixlab.decide.arms import Arms, gather, spread_out
from mixlab.decide.belief import Belief
from mixlab.decide.decision import Opinion, decide
from mixlab.decide.proposals import Continuation, Offer, choose
from mixlab.laws.forms.points import Observations
from mixlab.mixture import Domain, Mixture, MixtureSpace

NAMES = ("a", "b", "c", "d")
BEST = np.array([0.5, 0.3, 0.2, 0.0])
N, D = 1e6, 1e7
SPACE = MixtureSpace(tuple(Domain(name) for name in NAMES))
PRIOR = Mixture.from_array(NAMES, [0.25, 0.25, 0.25, 0.25])


def loss(h: Array) -> Array:
    """Least at BEST, with no kink there."""
    return np.asarray(2 + 0.8 * ((np.sqrt(h) - np.sqrt(BEST)) ** 2).sum(axis=1))


def belief_of(count: int, noise: float, seed: int = 0, flat: bool = False) -> tuple[Belief, Array]:
    rng = np.random.default_rng(seed)
    h = np.concatenate([[list(PRIOR.values())], rng.dirichlet(np.ones(4), count - 1)])
    truth = np.full(count, 2.0) if flat else loss(h)
    rows = Observations(
        h, np.full(count, N), np.full(count, D), np.full(h.shape, np.inf), truth, NAMES, np.arange(count)
    )
    return Belief.of(rows, {"loss": truth + noise * rng.standard_normal(count)}, {"loss": 1.0}), h


def arms_of(belief: Belief, known: Array, space: MixtureSpace = SPACE) -> Arms:
    return gather(belief, space, N, D, known, [PRIOR])


def test_the_planted_optimum_is_found_and_lies_in_the_set() -> None:
    belief, known = belief_of(60, noise=0.005)
    decision = decide(belief, arms_of(belief, known), 0, {"prior": PRIOR})
    assert loss(decision.mixture[None])[0] - 2 < 0.004
    assert np.all(decision.low <= BEST + 0.03)
    assert np.all(decision.high >= BEST - 0.03)
    forecast = decision.forecasts["prior"]
    assert forecast.probability > 0.99
    gain = loss(np.array([list(PRIOR.values())]))[0] - loss(decision.mixture[None])[0]
    assert forecast.gain == pytest.approx(gain, abs=forecast.high - forecast.low)
    assert not decision.at_home


def test_runs_that_say_nothing_claim_little() -> None:
    claimed = 0
    for seed in range(5):
        belief, known = belief_of(25, noise=0.02, seed=seed, flat=True)
        decision = decide(belief, arms_of(belief, known), 0, {"prior": PRIOR})
        forecast = decision.forecasts["prior"]
        assert forecast.gain < 0.05
        claimed += not decision.at_home and forecast.low > 0
        assert np.all(decision.high - decision.low > 0.1)
    assert claimed <= 1  # of 90% intervals


def test_a_law_counts_by_its_error_on_unseen_mixtures() -> None:
    belief, known = belief_of(20, noise=0.03)
    arms = arms_of(belief, known)
    wrong, right = (lambda h: 5 * h[:, 0]), loss
    assert Opinion.of(right, 0.01, 0.01).weight == 0.5
    assert Opinion.of(right, float("nan"), 0.01).weight == 0
    alone = decide(belief, arms, 0, {})
    helped = decide(belief, arms, 0, {}, Opinion.of(right, 0.001, 0.03))
    misled = decide(belief, arms, 0, {}, Opinion.of(wrong, 1.0, 0.03))
    regrets = [loss(one.mixture[None])[0] - 2 for one in (helped, alone, misled)]
    assert regrets[0] <= regrets[1]
    assert regrets[2] == pytest.approx(regrets[1], abs=0.01)
    assert 0.005 < belief.error < 0.05


def test_more_caution_never_goes_farther_from_home() -> None:
    belief, known = belief_of(20, noise=0.05)
    arms = arms_of(belief, known)
    gains = [
        decide(belief, arms, 0, {"prior": PRIOR}, caution=caution).forecasts["prior"] for caution in (0.5, 0.8, 0.95)
    ]
    lows = [one.low for one in gains]
    assert lows == sorted(lows)


def test_expected_regret_falls_with_runs() -> None:
    found = []
    for count in (12, 40, 160):
        belief, known = belief_of(count, noise=0.01)
        found.append(decide(belief, arms_of(belief, known), 0, {}).regret)
    assert found[0] > found[1] > found[2]


def test_a_pick_takes_off_what_telling_it_takes_off() -> None:
    """The gain of the first pick is the fall of the weighted variance when the run is really made."""
    belief, known = belief_of(30, noise=0.01)
    arms = arms_of(belief, known)
    pick = choose(belief, arms, [Offer(N, D, 1.0)], 1.0, 1)[0]
    process = belief.processes["loss"]

    def doubt(rows: Array) -> float:
        told = belief.points(rows, N, D)
        covariance = belief.sight(belief.points(arms.mixtures, N, D)).covariance[0]
        if len(rows):
            joint = belief.sight(belief.points(np.concatenate([arms.mixtures, rows]), N, D)).covariance[0]
            count = len(arms.mixtures)
            across = joint[:count, count:]
            covariance = (
                joint[:count, :count]
                - across @ np.linalg.inv(joint[count:, count:] + np.diag(process.noise(told))) @ across.T
            )
        steep = belief.sight(belief.points(arms.mixtures, N, D)).steepness[0]
        scaled = covariance * np.outer(steep, steep)
        lead = arms.leader
        return float(arms.chance @ (np.diag(scaled) + scaled[lead, lead] - 2 * scaled[:, lead]))

    fallen = doubt(np.zeros((0, 4))) - doubt(pick.mixture[None])
    assert fallen == pytest.approx(pick.gain, rel=1e-4)


def test_a_batch_keeps_to_its_budget_and_cheap_runs_win_where_they_tell_as_much() -> None:
    belief, known = belief_of(30, noise=0.01)
    arms = arms_of(belief, known)
    picks = choose(belief, arms, [Offer(N, D, 1.0), Offer(N, D, 0.1)], 1.0, 20)
    assert sum((1.0, 0.1)[pick.offer] for pick in picks) <= 1.0
    assert {pick.offer for pick in picks} == {1}
    assert choose(belief, arms, [Offer(N, D, 2.0)], 1.0, 5) == []


def test_a_run_goes_on_where_that_is_cheap_and_only_once() -> None:
    belief, known = belief_of(30, noise=0.01)
    arms = arms_of(belief, known)
    offers = [Offer(N, D, 1.0)]
    there = choose(belief, arms, offers, 1.0, 1)[0].mixture
    cheap = Continuation(there, 0, 0.01)
    picks = choose(belief, arms, offers, 5.0, 4, continuations=[cheap])
    assert [pick.continues for pick in picks].count(0) == 1
    assert picks[0].continues == 0
    np.testing.assert_array_equal(picks[0].mixture, there)
    # At the price of a new run it is worth what any run of its mixture is.
    dear = choose(belief, arms, offers, 1.0, 1, continuations=[Continuation(there, 0, 1.0)])[0]
    assert dear.gain == pytest.approx(choose(belief, arms, offers, 1.0, 1)[0].gain)
    assert choose(belief, arms, offers, 0.5, 4, continuations=[Continuation(there, 0, 1.0)]) == []


def early_ranks_otherwise(count: int, early: float, seed: int = 0) -> tuple[Observations, Array]:
    """Runs with branches at D / 8, D / 4 and D: early on a loss depends on other domains too, by `early`."""
    rng = np.random.default_rng(seed)
    h = np.repeat(rng.dirichlet(np.ones(4), count), 3, axis=0)
    tokens = np.tile([D / 8, D / 4, D], count)
    late = h @ np.array([-0.5, 0.3, 0.1, 0.0])
    # What is learnt first is a bend in another direction for each mixture, and gone by the end.
    strange = early * np.sin(9 * h @ np.array([1.0, -2.0, 3.0, -1.0])) * (np.log(D / tokens) / np.log(8))
    loss = 2 * np.exp(0.3 * late + strange) * (tokens / D) ** -0.1
    loss *= np.exp(0.003 * rng.standard_normal(len(loss)))
    run = np.repeat(np.arange(count), 3)
    params, unlimited = np.full(len(h), float(N)), np.full(h.shape, np.inf)
    return Observations(h, params, tokens, unlimited, loss, ("a", "b", "c", "d"), run), loss


def test_short_runs_are_heard_where_they_tell_of_the_long_ones() -> None:
    """Not where they rank mixtures by what is learnt first; what is not heard is not proposed either."""
    rows, loss = early_ranks_otherwise(24, early=0.1)
    belief = Belief.of(rows, {"loss": loss}, {"loss": 1.0})
    assert belief.late
    assert set(np.exp(belief.processes["loss"].rows.scale[:, 1]).round(3)) == {1.0}
    assert belief.hears(N, D / 2)
    assert not belief.hears(N, D / 4)
    assert belief.hears(2 * N, D / 4)  # at a size that nobody ran, there is no longer run
    arms = arms_of(belief, rows.mixture)
    picks = choose(belief, arms, [Offer(N, D, 1.0), Offer(N, D / 4, 0.01)], 3.0, 6)
    assert {pick.offer for pick in picks} == {0}


def test_a_belief_goes_on_hearing_what_it_heard() -> None:
    rows, loss = early_ranks_otherwise(24, early=0.1)
    belief = Belief.of(rows, {"loss": loss}, {"loss": 1.0})
    more, further = early_ranks_otherwise(26, early=0.1)
    assert Belief.of(more, {"loss": further}, {"loss": 1.0}, belief).late


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.2, 0.6))
def test_arms_and_answers_keep_bounds_and_constraints(seed: int, share: float) -> None:
    space = MixtureSpace(SPACE.domains, {"d": 0.05}, {"a": 0.4}, constraints=(parse_constraint(f"b + c <= {share}"),))
    belief, known = belief_of(20, noise=0.02, seed=seed)
    arms = arms_of(belief, known, space)
    decision = decide(belief, arms, 0, {}, seed=seed)
    for h in (*arms.mixtures, decision.mixture, *decision.alike):
        assert space.contains(Mixture.from_array(NAMES, h), tolerance=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), most=st.integers(1, 3))
def test_arms_and_answers_keep_a_limit_on_domains(seed: int, most: int) -> None:
    """Also between home and the leader, two mixtures of different domains."""
    space = MixtureSpace(SPACE.domains, {"d": 0.05}, constraints=(parse_constraint("b <= 2*c + d"),), max_domains=most)
    belief, known = belief_of(20, noise=0.02, seed=seed)
    arms = arms_of(belief, known, space)
    decision = decide(belief, arms, 0, {"prior": PRIOR}, seed=seed)
    for h in (*arms.mixtures, decision.mixture, *decision.alike):
        assert np.sum(h > 0) <= most
        assert space.contains(Mixture.from_array(NAMES, h), tolerance=1e-6)


def test_arms_are_of_every_choice_of_domains_that_may_be_best() -> None:
    """At BEST a counts for most, then b and c: no two of them can be told to be the best pair from 12 runs."""
    belief, known = belief_of(12, noise=0.02)
    arms = arms_of(belief, known, MixtureSpace(SPACE.domains, max_domains=2))
    pairs = {"".join(np.array(NAMES)[h > 0]) for h in arms.mixtures}
    assert pairs >= {"ab", "ac", "bc"}


def test_points_that_are_shown_lie_apart() -> None:
    points = np.array([[0.0], [0.1], [1.0], [0.9], [0.5]])
    assert list(spread_out(points, 0, 3)) == [0, 2, 4]
