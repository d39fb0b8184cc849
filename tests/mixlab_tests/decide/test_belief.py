"""A belief holds what its rows say: planted losses, noise, scales, and nothing that depends on the order of domains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr

from mixlab.arrays import Array
from mixlab.decide.belief import Belief
from mixlab.decide.process import Process, Rows
from mixlab.laws.forms.points import Observations

K = 4
NOISE = 0.01


def loss(h: Array, params: Array, tokens: Array) -> Array:
    """A law of no form of ours: what a domain teaches saturates, and bigger models need the first one less."""
    learnt = np.log1p(20 * h) @ np.array([0.5, 0.3, 0.1, 0.0]) - 0.02 * h[:, 0] * np.log(params / 1e6)
    return np.asarray(1.5 + 1.2 * np.exp(-0.6 * learnt) * (params / 1e6) ** -0.1 * (tokens / 1e7) ** -0.1)


def runs(count: int, seed: int = 0, noise: float = NOISE) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(seed)
    h = rng.dirichlet(np.ones(K), count)
    params = np.where(np.arange(count) % 4 == 0, 4e6, 1e6)
    tokens = 10 * params
    return h, params, tokens, loss(h, params, tokens) + noise * rng.standard_normal(count)


def rows_of(h: Array, params: Array, tokens: Array, run: Array | None = None) -> Observations:
    count = len(h)
    run = np.arange(count) if run is None else run
    return Observations(h, params, tokens, np.full((count, K), np.inf), np.ones(count), tuple("abcd"), run)


def believe(h: Array, params: Array, tokens: Array, measured: Array) -> Belief:
    return Belief.of(rows_of(h, params, tokens), {"loss": measured}, {"loss": 1.0})


def test_it_ranks_mixtures_it_has_not_seen_and_knows_its_error() -> None:
    belief = believe(*runs(60))
    h, _, _, _ = runs(200, seed=1)
    mean, deviation = belief.moments(belief.points(h, 4e6, 4e7))
    truth = loss(h, np.full(200, 4e6), np.full(200, 4e7))
    assert spearmanr(mean, truth).statistic > 0.97
    assert 0.7 < np.mean(np.abs(mean - truth) < 1.645 * deviation) <= 1


def test_the_noise_is_found() -> None:
    h, params, tokens, _ = runs(40)
    many = [np.tile(one, (2, 1) if one.ndim == 2 else 2) for one in (h, params, tokens)]
    rng = np.random.default_rng(2)
    belief = believe(*many, loss(*many) + NOISE * rng.standard_normal(80))
    at = belief.points(h[:1], 4e6, 4e7)
    sight = belief.sight(at)
    assert float(sight.steepness[0, 0] * np.sqrt(sight.noise[0, 0])) == pytest.approx(NOISE, rel=0.5)


def test_the_gradient_is_the_slope_of_the_value() -> None:
    belief = believe(*runs(50))
    h = np.array([0.4, 0.3, 0.2, 0.1])
    _, slope = belief.value_and_gradient(h, 4e6, 4e7)
    numeric = approx_fprime(h, lambda point: belief.value_and_gradient(point, 4e6, 4e7)[0], 1e-7)
    np.testing.assert_allclose(slope, numeric, rtol=1e-3, atol=1e-5)


def test_the_posterior_is_the_textbooks() -> None:
    h, params, tokens, measured = runs(30)
    belief = believe(h, params, tokens, measured)
    process = belief.processes["loss"]
    at, rows = belief.points(h[:3] * 0.9 + 0.025, 1e6, 1e7), process.rows
    covariance = process.lower @ process.lower.T
    across = process.prior(at, rows)
    gain = across @ np.linalg.inv(covariance)
    np.testing.assert_allclose(
        process.mean(at), process.centre + gain @ (np.log(measured - process.floor) - process.centre), rtol=1e-6
    )
    expected = process.prior(at, at) - gain @ across.T
    np.testing.assert_allclose(belief.sight(at).covariance[0], expected, atol=1e-8)
    np.testing.assert_allclose(process.variance(at), np.diag(expected), atol=1e-8)


def test_doubt_grows_with_the_distance_in_scale_and_never_reaches_nothing() -> None:
    belief = believe(*runs(60, noise=0.0))
    pair = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]])

    def doubt(times: float) -> float:
        covariance = belief.sight(belief.points(pair, 4e6 * times, 4e7 * times)).covariance[0]
        return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])

    assert doubt(1) < doubt(10) < doubt(1000)


def test_the_order_of_domains_does_not_matter() -> None:
    h, params, tokens, measured = runs(40)
    order = np.array([2, 0, 3, 1])
    one, other = believe(h, params, tokens, measured), believe(h[:, order], params, tokens, measured)
    np.testing.assert_allclose(one.predict(h, 4e6, 4e7), other.predict(h[:, order], 4e6, 4e7), rtol=1e-4)


def test_a_target_that_some_runs_lack_is_learnt_from_the_others() -> None:
    h, params, tokens, measured = runs(40)
    half = np.where(np.arange(40) % 2 == 0, measured, np.nan)
    weights = {"a": 0.5, "b": 0.5}
    belief = Belief.of(rows_of(h, params, tokens), {"a": measured, "b": half}, weights)
    assert len(belief.processes["b"].rows) == 20
    np.testing.assert_allclose(belief.predict(h, params, tokens), measured, atol=0.1)


def test_rows_of_one_run_share_their_luck() -> None:
    """Two checkpoints of one run are worth less than two runs."""
    rng = np.random.default_rng(3)
    h = np.repeat(rng.dirichlet(np.ones(K), 40), 2, axis=0)
    params, tokens = np.full(80, 1e6), np.tile([1e7, 2e7], 40)
    luck = np.repeat(0.03 * rng.standard_normal(40), 2)
    measured = loss(h, params, tokens) + luck
    run = np.arange(80) // 2
    belief = Belief.of(rows_of(h, params, tokens, run), {"loss": measured}, {"loss": 1.0})
    own, shared = belief.processes["loss"].packed[3:5]
    assert shared > own


def test_a_kernel_is_kept_until_the_rows_have_grown() -> None:
    h, params, tokens, measured = runs(60)
    rows = believe(h, params, tokens, measured).processes["loss"].rows
    first = Process.of(rows.some(np.arange(50)), measured[:50])
    assert np.array_equal(Process.of(rows.some(np.arange(55)), measured[:55], first).packed, first.packed)
    assert not np.array_equal(Process.of(rows, measured, first).packed, first.packed)
    assert isinstance(rows, Rows)
