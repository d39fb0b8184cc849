"""Rivals: what people do to choose a mixture, each as its authors have it, at N0 and (`/16`) at the smallest proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from benchmarks.decisions.protocol import Strategy, affordable, train
from benchmarks.decisions.simplex import design, least, spread_draws
from benchmarks.decisions.simulators import Scale, Simulator
from benchmarks.decisions.surrogates import LogLinear, Process, Trees
from mixlab.arrays import Array

KL = 0.05  # nats of loss per nat of KL to the prior, Olmix' order of magnitude
SAMPLED, TOP = 100_000, 100  # RegMix: predicted mixtures, and those whose mean it takes
SPARSE = 1.0  # RegMix' draws go down to this sum of the Dirichlet's parameters, and so does everybody's design

Choose = Callable[[Simulator, Array, Array, dict[str, Array], int], Array]


@dataclass(frozen=True)
class Fixed:
    """A mixture that needs no run."""

    name: str
    mixture: Callable[[Simulator], Array]

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        return dict.fromkeys(budgets, self.mixture(simulator))


@dataclass(frozen=True)
class OneShot:
    """A design at one scale, then a choice.

    Attributes:
        name: with `/16` at its end for the smallest scale.
        choose: of simulator, mixtures (M, K), objective (M,), losses and a seed.
        most: runs beyond which no more are made, where the method becomes slow.
    """

    name: str
    choose: Choose
    most: int = 2048

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        scale = scale_of(self.name, simulator)
        counts = [min(self.most, affordable(simulator, scale, budget)) for budget in budgets]
        mixtures = design(simulator.prior, max(counts), seed, SPARSE)
        values, losses = train(simulator, mixtures, scale, seed)
        chosen: dict[int, Array] = {}
        for m in counts:
            if m not in chosen:
                seen = {name: column[:m] for name, column in losses.items()}
                chosen[m] = self.choose(simulator, mixtures[:m], values[:m], seen, seed)
        return {budget: chosen[m] for budget, m in zip(budgets, counts, strict=True)}


def scale_of(name: str, simulator: Simulator) -> Scale:
    """The smallest for names that end in `/16`, else N0."""
    return simulator.scales[0 if name.endswith("/16") else -1]


def best_observed(simulator: Simulator, mixtures: Array, values: Array, losses: dict[str, Array], seed: int) -> Array:
    """The lowest run."""
    return np.asarray(mixtures[np.argmin(values)])


def regmix(simulator: Simulator, mixtures: Array, values: Array, losses: dict[str, Array], seed: int) -> Array:
    """Liu et al. (2024): boosted trees, many drawn mixtures, the mean of those that are predicted best."""
    sampled = spread_draws(simulator.prior, SAMPLED, np.random.default_rng([seed, 1]), SPARSE)
    predicted = Trees(mixtures, values, seed).mean(sampled)
    return np.asarray(sampled[np.argsort(predicted)[:TOP]].mean(axis=0))


def log_linear(kl: float) -> Choose:
    """A log-linear law per target (Ye et al. 2024, M4), the weighted sum's least value plus `kl` KL(h || prior)."""

    def choose(simulator: Simulator, mixtures: Array, values: Array, losses: dict[str, Array], seed: int) -> Array:
        laws = {name: LogLinear.fit(mixtures, losses[name]) for name in simulator.objective}

        def value(rows: Array) -> Array:
            far = (rows * np.log((rows + 1e-12) / simulator.prior)).sum(axis=1)
            return np.asarray(sum(w * laws[name].mean(rows) for name, w in simulator.objective.items()) + kl * far)

        return least(value, simulator.prior, np.random.default_rng(seed), tried=2048, starts=4)  # it is convex

    return choose


def process(simulator: Simulator, mixtures: Array, values: Array, losses: dict[str, Array], seed: int) -> Array:
    """A Gaussian process of the objective, its mean's least value."""
    return least(Process.fit(mixtures, values).mean, simulator.prior, np.random.default_rng(seed), tried=4096, starts=8)


@dataclass(frozen=True)
class Halving:
    """Half of the budget on the smallest proxies; the best of them, as many as the other half buys, again at N0."""

    name: str = "best-of-largest/halving"

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        return {budget: self._one(simulator, budget, seed) for budget in budgets}

    def _one(self, simulator: Simulator, budget: float, seed: int) -> Array:
        small, large = simulator.scales[0], simulator.scales[-1]
        mixtures = design(simulator.prior, affordable(simulator, small, budget / 2), seed, SPARSE)
        order = np.argsort(train(simulator, mixtures, small, seed)[0])
        again = mixtures[order[: affordable(simulator, large, budget / 2)]]
        return np.asarray(again[np.argmin(train(simulator, again, large, seed)[0])])


@dataclass(frozen=True)
class Optuna:
    """A sampler of Optuna's over coordinates in 0..1, uniform on the simplex, begun at prior and uniform mixture."""

    name: str
    sampler: Callable[[int], optuna.samplers.BaseSampler]
    most: int

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        scale, K = scale_of(self.name, simulator), len(simulator.domains)
        counts = [min(self.most, affordable(simulator, scale, budget)) for budget in budgets]
        study = optuna.create_study(sampler=self.sampler(seed))
        space: dict[str, optuna.distributions.BaseDistribution] = {
            f"x{i}": optuna.distributions.FloatDistribution(1e-6, 1 - 1e-6) for i in range(K)
        }
        for mixture in (simulator.prior, np.full(K, 1 / K)):
            study.enqueue_trial({f"x{i}": float(np.exp(-2 * h)) for i, h in enumerate(mixture)})
        mixtures, values = np.empty((0, K)), np.empty(0)
        while len(values) < max(counts):
            trial = study.ask(space)
            h = -np.log([trial.params[f"x{i}"] for i in range(K)])[None]
            mixtures = np.vstack([mixtures, h / h.sum()])
            values = np.append(values, train(simulator, mixtures[-1:], scale, seed)[0])
            study.tell(trial, float(values[-1]))
        return {budget: mixtures[np.argmin(values[:m])] for budget, m in zip(budgets, counts, strict=True)}


def tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(multivariate=True, seed=seed)


def gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)


def rivals() -> list[Strategy]:
    """All but mixlab."""
    methods: list[tuple[str, Choose, int]] = [
        ("best-of-largest", best_observed, 2048),
        ("regmix", regmix, 2048),
        ("loglinear-kl", log_linear(KL), 2048),
        ("mixing-laws", log_linear(0.0), 2048),
        ("gp", process, 768),
    ]
    both = [OneShot(name + size, choose, most) for name, choose, most in methods for size in ("", "/16")]
    return [
        Fixed("prior", lambda simulator: simulator.prior),
        Fixed("uniform", lambda simulator: np.full(len(simulator.domains), 1 / len(simulator.domains))),
        *both,
        Halving(),
        *(Optuna("tpe" + size, tpe, 256) for size in ("", "/16")),
        *(Optuna("optuna-gp" + size, gp, 128) for size in ("", "/16")),
    ]
