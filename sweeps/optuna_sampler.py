"""Our proposals as a sampler of Optuna: mixtures for any training that gives one number to be made small.

A mixture is the share that each of the parameters `x.<domain>` in 0..1 has of their sum. The first trials fill the
space; from then on each is the run that takes most off the doubt about the best mixture, by what the complete trials
say. What is suggested follows from the seed and the trials alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from mixlab.arrays import Array
from mixlab.decide.arms import gather
from mixlab.decide.belief import Belief
from mixlab.decide.proposals import Offer, choose
from mixlab.errors import ConfigError
from mixlab.laws.forms.points import Observations
from mixlab.mixture import Domain, MixtureSpace
from sweeps.designs import draw_mixtures

PARAMETER = "x."  # before a domain's name
SHARE = FloatDistribution(0.0, 1.0)
SCALE = Offer(params=1.0, tokens=1.0, flops=1.0)  # all trials are at one
SPARE = 2  # trials of the design beyond two for each domain
LOSS = "loss"


class MixtureSampler(BaseSampler):
    """Suggests mixtures to a study that minimises one value.

    Trials that run, failed or were pruned count as chosen: nothing is suggested that they would have told.

    Args:
        seed: of everything random.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters of the trials so far; none before there is one.

        Raises:
            ConfigError: when the study does not minimise one value, or has other parameters.
        """
        if study.directions != [StudyDirection.MINIMIZE]:
            said = " and ".join(one.name.lower() for one in study.directions)
            raise ConfigError(f"a MixtureSampler minimises one value, but the study is to {said}", "minimise a loss")
        others = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        found: dict[str, BaseDistribution] = {}
        for one in others:
            _require_shares(one.distributions)
            found |= one.distributions
        for one in others:
            if one.state == TrialState.COMPLETE and one.distributions.keys() != found.keys():
                raise _other_domains(sorted(found.keys() - one.distributions.keys()))
        return found

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next mixture, its largest weight as 1."""
        if len(search_space) < 2:
            return dict.fromkeys(search_space, 1.0)
        names = list(search_space)
        others = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        told = [one for one in others if one.state == TrialState.COMPLETE]
        design = 2 * len(names) + SPARE
        space = MixtureSpace(tuple(Domain(name) for name in names))
        if len(told) < design:
            uniform, count = space.uniform(), max(design, trial.number + 1)
            drawn = draw_mixtures(space, uniform, count, kind="sobol", seed=self._seed, tokens=0.0)
            return _parameters(names, drawn[trial.number].array(names))
        untold = [one for one in others if one.state not in (TrialState.COMPLETE, TrialState.WAITING)]
        under_way = [_shares(one.params, names) for one in untold if one.params.keys() == search_space.keys()]
        known = np.array([_shares(one.params, names) for one in told])
        values = np.array([one.value for one in told], dtype=float)
        return _parameters(names, self._next(space, known, values, under_way, trial.number))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> float:
        """A parameter of the first trial, whose domains are not known beforehand: all are equal.

        Raises:
            ConfigError: on a parameter that is no share, or that earlier trials did not have.
        """
        _require_shares({param_name: param_distribution})
        if any(one.state == TrialState.COMPLETE for one in study.get_trials(deepcopy=False)):
            raise _other_domains([param_name])
        return 1.0

    def _next(self, space: MixtureSpace, known: Array, values: Array, under_way: Sequence[Array], number: int) -> Array:
        """The mixture that takes most off the doubt about the best, shape (K,)."""
        count, ones = len(known), np.ones(len(known))
        rows = Observations(known, ones, ones, np.full(known.shape, np.inf), ones, space.names, np.arange(count))
        belief = Belief.of(rows, {LOSS: _positive(values)}, {LOSS: 1.0}, seed=self._seed)
        at = (SCALE.params, SCALE.tokens)
        arms = gather(belief, space, *at, known, [space.uniform()], self._seed + number)
        picks = choose(belief, arms, [SCALE], SCALE.flops, 1, [(h, 0) for h in under_way])
        return picks[0].mixture if picks else np.asarray(arms.mixtures[arms.leader])


def suggest_mixture(trial: BaseTrial, domains: Sequence[str]) -> dict[str, float]:
    """The mixture that a trial is to train, from whatever sampler the study has.

    Args:
        trial: of Optuna; it gets a parameter `x.<domain>` in 0..1 for each domain.
        domains: two or more names.

    Returns:
        Weights by domain, which sum to 1.

    Raises:
        ConfigError: when there are fewer than two domains, or one comes twice.
    """
    if isinstance(domains, str) or len(set(domains)) != len(domains) or len(domains) < 2:
        raise ConfigError(f"a mixture is of two or more different domains, but got {domains!r}", "give their names")
    names = [PARAMETER + name for name in domains]
    found = {name: trial.suggest_float(name, SHARE.low, SHARE.high) for name in names}
    return dict(zip(domains, _shares(found, names).tolist(), strict=True))


def _shares(params: Mapping[str, float], names: Sequence[str]) -> Array:
    """Weights, shape (K,); equal ones where all parameters are 0."""
    values = np.array([params[name] for name in names], dtype=float)
    return values / values.sum() if values.sum() > 0 else np.full(len(values), 1 / len(values))


def _parameters(names: Sequence[str], mixture: Array) -> dict[str, Any]:
    """What `_shares` takes back to a mixture."""
    values = np.clip(mixture, 0.0, None)
    return dict(zip(names, (values / values.max()).tolist(), strict=True))


def _positive(values: Array) -> Array:
    """Values as losses, which lie above 0: where they do not, the best is moved to their range above it."""
    if values.min() > 0:
        return values
    return np.asarray(values - values.min() + (np.ptp(values) or 1.0))


def _require_shares(parameters: Mapping[str, BaseDistribution]) -> None:
    for name, distribution in parameters.items():
        if not name.startswith(PARAMETER) or distribution != SHARE:
            raise ConfigError(
                f"a MixtureSampler suggests shares `{PARAMETER}<domain>` in 0..1, but the study has `{name}`",
                "call mixlab.suggest_mixture(trial, domains), and tune other parameters in a study of their own",
            )


def _other_domains(names: Sequence[str]) -> ConfigError:
    said = ", ".join(name.removeprefix(PARAMETER) for name in names)
    return ConfigError(
        f"all trials of a study have the same domains, but not all have {said}", "begin a study with another name"
    )
