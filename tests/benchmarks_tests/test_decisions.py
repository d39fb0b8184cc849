"""The simulators of `benchmarks/decisions`: runs that repeat, optima that are optima, rivals that answer."""

import numpy as np
import pytest

from benchmarks.decisions.protocol import affordable
from benchmarks.decisions.registry import STRATEGIES
from benchmarks.decisions.simplex import design, least
from benchmarks.decisions.simulators import SIMULATORS, make

QUICK = [name for name in STRATEGIES if not name.startswith(("optuna", "mixlab"))]


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_truth_follows_from_name_and_seed(name):
    one, again, other = make(name, 1), make(name, 1), make(name, 4)
    h = np.random.default_rng(0).dirichlet(np.ones(len(one.domains)), 20)
    np.testing.assert_array_equal(one.value(h, one.target), again.value(h, one.target))
    assert np.abs(one.value(h, one.target) - other.value(h, one.target)).max() > 1e-4
    assert sum(one.objective.values()) == pytest.approx(1)
    assert one.prior.sum() == pytest.approx(1)
    assert [scale.flops / one.scales[-1].flops for scale in one.scales] == pytest.approx([1 / 16, 1 / 4, 1])


def test_a_run_has_one_loss_in_whichever_batch():
    simulator = make("17-mean", 0)
    h = np.random.default_rng(0).dirichlet(np.ones(17), 50)
    seeds = np.arange(50)
    together = simulator.losses(h, simulator.scales[0], seeds)
    alone = simulator.losses(h[7:8], simulator.scales[0], seeds[7:8])
    for name, losses in together.items():
        assert losses[7] == pytest.approx(alone[name][0], abs=1e-7)


@pytest.mark.parametrize("name", ["5-mean", "17-single"])
def test_noise_has_the_size_that_is_stated(name):
    simulator = make(name, 2)
    scale = simulator.scales[0]
    h = np.tile(simulator.prior, (4000, 1))
    noisy, clean = simulator.losses(h, scale, np.arange(4000)), simulator.losses(h, scale)
    found = [np.std(noisy[target] - clean[target]) for target in simulator.targets]
    np.testing.assert_allclose(found, simulator.noise(scale), rtol=0.06)
    across = np.corrcoef([noisy[target] for target in simulator.targets])
    assert np.abs(across[~np.eye(len(across), dtype=bool)]).max() < 0.08


@pytest.mark.parametrize("name", ["3-mean", "7-random", "17-single", "40-mean"])
@pytest.mark.parametrize("seed", range(3))
def test_no_mixture_is_better_than_the_best(name, seed):
    simulator = make(name, seed)
    K, best = len(simulator.domains), simulator.best()[0]
    rng = np.random.default_rng(1)
    away = rng.dirichlet(np.full(K, 0.3), 3000)
    near = 0.97 * best + 0.03 * rng.dirichlet(np.ones(K), 3000)
    assert simulator.regret(np.vstack([np.eye(K), away, near])).min() > -1e-5
    assert 0 <= simulator.floor() < simulator.regret(away).max()


def test_the_search_finds_a_planted_optimum_on_the_boundary():
    planted = np.array([0.6, 0.0, 0.3, 0.1, 0.0])
    found = least(lambda h: ((h - planted) ** 2).sum(axis=1), np.full(5, 0.2), np.random.default_rng(0))
    np.testing.assert_allclose(found, planted, atol=1e-3)


def test_a_longer_design_goes_on_from_a_shorter():
    prior = np.array([0.5, 0.3, 0.2])
    np.testing.assert_array_equal(design(prior, 40, 3)[:15], design(prior, 15, 3))
    assert affordable(make("5-mean", 0), make("5-mean", 0).scales[0], 4) == 64


@pytest.mark.parametrize("strategy", QUICK)
def test_a_rival_answers_with_a_mixture_at_every_budget(strategy):
    simulator = make("5-mean", 0)
    answers = STRATEGIES[strategy].run(simulator, [4.0, 12.0], 0)
    assert list(answers) == [4.0, 12.0]
    for mixture in answers.values():
        assert mixture.shape == (5,)
        assert mixture.min() >= 0
        assert mixture.sum() == pytest.approx(1)
