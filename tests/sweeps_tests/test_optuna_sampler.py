"""The sampler finds planted mixtures, follows from its seed and the trials, and refuses other studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

import mixlab
from mixlab.errors import ConfigError

DOMAINS = ("web", "code", "math", "books", "wiki")
TARGETS = np.array([0.4, 0.3, 0.3])
TEACHES = np.array([[-2, 0.2, 0.3, 0, 0.5], [0.3, -1.5, -0.6, 0.4, 0.2], [0.2, 0.1, 0.3, -2.5, 0.4]])
TRIALS = 40
DESIGN = 2 * len(DOMAINS) + 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def loss(h: dict[str, float]) -> float:
    """The mean of three losses that follow a data mixing law (arXiv 2403.16952): a form that no kernel of ours has."""
    return float(1.5 + TARGETS @ np.exp(TEACHES @ list(h.values())))


def objective(trial: optuna.Trial) -> float:
    return loss(mixlab.suggest_mixture(trial, DOMAINS))


def study_of(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler)


def parameters(study: optuna.Study) -> list[dict[str, float]]:
    return [trial.params for trial in study.trials]


@pytest.mark.slow
def test_it_beats_random_draws_and_tpe() -> None:
    samplers: dict[str, Callable[[int], BaseSampler]] = {
        "ours": mixlab.MixtureSampler,
        "tpe": lambda seed: TPESampler(seed=seed),
        "random": lambda seed: RandomSampler(seed=seed),
    }
    median = {}
    for name, make in samplers.items():
        best = []
        for seed in range(3):
            study = study_of(make(seed))
            study.optimize(objective, TRIALS, n_jobs=1)
            best.append(study.best_value)
        median[name] = np.median(best)
    assert median["ours"] < median["random"]
    assert median["ours"] <= median["tpe"]


def test_trials_follow_from_the_seed_and_the_trials_before() -> None:
    """An interrupted study, and one by ask and tell, come to the same trials; another seed does not."""
    whole, halves, asked, other = (study_of(mixlab.MixtureSampler(seed)) for seed in (1, 1, 1, 2))
    whole.optimize(objective, DESIGN + 2)
    halves.optimize(objective, DESIGN)
    halves.sampler = mixlab.MixtureSampler(1)
    halves.optimize(objective, 2)
    for _ in range(DESIGN + 2):
        trial = asked.ask()
        asked.tell(trial, objective(trial))
    other.optimize(objective, DESIGN + 2)
    assert parameters(whole) == parameters(halves) == parameters(asked)
    assert parameters(whole) != parameters(other)


def test_the_first_trials_fill_the_space() -> None:
    study = study_of(mixlab.MixtureSampler())
    study.optimize(objective, DESIGN)
    weights = np.array([list(one.values()) for one in parameters(study)])
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights[0], 1 / len(DOMAINS))
    assert np.all(weights.max(axis=0) > 0.7)
    apart = np.linalg.norm(weights[:, None] - weights[None], axis=-1)[np.triu_indices(DESIGN, 1)]
    assert apart.min() > 0.05


@pytest.mark.parametrize("begin", [0, DESIGN])
def test_trials_that_run_are_not_suggested_again(begin: int) -> None:
    study = study_of(mixlab.MixtureSampler())
    study.optimize(objective, begin)
    trials = [study.ask() for _ in range(4)]
    mixtures = np.array([list(mixlab.suggest_mixture(trial, DOMAINS).values()) for trial in trials])
    apart = np.linalg.norm(mixtures[:, None] - mixtures[None], axis=-1)[np.triu_indices(4, 1)]
    assert apart.min() > 0.01


def test_distributions_may_be_fixed_beforehand() -> None:
    study = study_of(mixlab.MixtureSampler())
    shares = {f"x.{name}": optuna.distributions.FloatDistribution(0, 1) for name in DOMAINS}
    for _ in range(DESIGN + 1):
        trial = study.ask(shares)
        study.tell(trial, loss(mixlab.suggest_mixture(trial, DOMAINS)))
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == DESIGN + 1


def test_failed_and_pruned_trials_are_left_behind() -> None:
    def sometimes(trial: optuna.Trial) -> float:
        found = objective(trial)
        if trial.number % 4 == 1:
            raise ValueError("diverged")
        if trial.number % 4 == 2:
            trial.report(99.0, 1)
            raise optuna.TrialPruned
        return found

    study = study_of(mixlab.MixtureSampler())
    study.optimize(sometimes, 2 * DESIGN + 4, catch=(ValueError,))
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == DESIGN + 2
    assert len({tuple(one.values()) for one in parameters(study)}) == len(study.trials)


@pytest.mark.parametrize("value", [lambda h: -h["code"], lambda h: 0.0, lambda h: 1e6 * h["web"]])
def test_any_value_may_be_minimised(value: Callable[[dict[str, float]], float]) -> None:
    study = study_of(mixlab.MixtureSampler())
    study.optimize(lambda trial: value(mixlab.suggest_mixture(trial, DOMAINS)), DESIGN + 3)
    assert len(study.trials) == DESIGN + 3


def test_other_studies_are_refused() -> None:
    def fails(study: optuna.Study, objective: Callable[[optuna.Trial], object], match: str) -> None:
        with pytest.raises(ConfigError, match=match) as caught:
            study.optimize(objective, 2)  # type: ignore[arg-type]  # several values
        assert caught.value.hint

    sampler = mixlab.MixtureSampler()
    fails(optuna.create_study(sampler=sampler, direction="maximize"), objective, "to maximize")
    several = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    fails(several, lambda trial: (objective(trial), 1.0), "one value")
    fails(study_of(sampler), lambda trial: objective(trial) + trial.suggest_float("lr", 0, 1), "has `lr`")
    fails(study_of(sampler), lambda trial: trial.suggest_float("x.web", 0, 2), "has `x.web`")
    fails(study_of(sampler), lambda trial: mixlab.suggest_mixture(trial, DOMAINS[: 2 + trial.number])["web"], "math")
    other = study_of(sampler)
    whole = {"y": optuna.distributions.IntDistribution(0, 2)}
    other.add_trial(optuna.trial.create_trial(params={"y": 1}, distributions=whole, value=1))
    fails(other, objective, "has `y`")


@pytest.mark.parametrize("domains", [(), ("a",), ("a", "a"), "ab"])
def test_a_mixture_has_several_domains(domains: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="two or more"):
        mixlab.suggest_mixture(optuna.trial.FixedTrial({}), domains)


def test_a_mixture_is_the_share_of_the_sum() -> None:
    def found(a: float, b: float) -> dict[str, float]:
        return mixlab.suggest_mixture(optuna.trial.FixedTrial({"x.a": a, "x.b": b}), ["a", "b"])

    assert found(0.75, 0.25) == {"a": 0.75, "b": 0.25}
    assert found(0.0, 0.0) == {"a": 0.5, "b": 0.5}
