"""The proof: train the recommended mixture and the baselines at a budget beyond the sweep, and compare.

All candidates are trained at the same model size and token count, each with the same few seeds that the sweep did not
use, and scored on the study's held-out text. Nothing measured here flows back into a fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from mixlab.api.fit import fit_problem
from mixlab.errors import ConfigError, InfeasibleError
from mixlab.files import write_json
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.runs.flops import training_flops
from mixlab.runs.read import read_runs
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.search.problem import pose_problem
from mixlab.search.recommend import recommend
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, make_runs, objective_loss
from sweeps.executors.base import Executor
from sweeps.ledger import Ledger, read_ledger
from sweeps.plan import Plan, open_plan
from sweeps.tracking import Tracker

FIRST_STREAM = 5000  # seeds from here on belong to verification
RECOMMENDED = "recommended"


@dataclass(frozen=True)
class Contender:
    """One mixture that was trained.

    Attributes:
        mixture: its weights.
        predicted: the law's mean and 90% prediction interval, keys mean, low, high.
        measured: the objective by seed.
        mean: of `measured`.
        losses: mean loss by evaluation domain.
    """

    mixture: dict[str, float]
    predicted: dict[str, float]
    measured: list[float]
    mean: float
    losses: dict[str, float]


@dataclass(frozen=True)
class Verification:
    """What the proof came to.

    Attributes:
        flops, params, tokens: of every run.
        law: who predicted.
        noise_floor: the smallest difference of two means that counts (95%, see `_noise_floor`).
        candidates: recommended, uniform, proportional and best_observed.
        interval_held: whether the recommended mixture's mean lies in its predicted interval.
        winner: the candidate with the lowest mean.
        beats: by baseline, its mean minus the recommended one's, and whether that is beyond the noise floor.
        verdict: all this in a sentence.
    """

    flops: float
    params: int
    tokens: int
    law: str
    noise_floor: float
    candidates: dict[str, Contender]
    interval_held: bool
    winner: str
    beats: dict[str, dict[str, Any]]
    verdict: str
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Proof:
    """What is to be trained: mixtures by name, one shape and token count, and the surface that predicts them."""

    study: Plan
    surface: Surface
    mixtures: Mapping[str, Mixture]
    shape: ModelShape
    tokens: int
    seeds: int

    @property
    def specs(self) -> dict[str, list[RunSpec]]:
        """Runs by candidate; candidates with the same mixture share theirs."""
        return {
            name: [
                self.study.spec_at(mixture, self.shape, [self.tokens], FIRST_STREAM + seed)
                for seed in range(self.seeds)
            ]
            for name, mixture in self.mixtures.items()
        }


def plan_proof(folder: StudyFolder, flops: float | None, seeds: int) -> Proof:
    """Fit the study's runs, recommend at `flops`, and name the candidates.

    Args:
        folder: a study that has been swept.
        flops: training FLOPs of each run; absent: 4 times the sweep's largest budget.
        seeds: runs per candidate, at least 2 for a noise floor.

    Raises:
        ConfigError: when fewer than 2 seeds are asked for.
        FitError: when the runs cannot carry a fit.
        InfeasibleError: when caps leave nothing to compare with.
    """
    if seeds < 2:
        raise ConfigError(f"a verification needs at least 2 seeds per candidate, but got {seeds}")
    study = open_plan(folder)
    budget = flops if flops is not None else 4 * max(study.config.sweep.budgets)
    problem = pose_problem(read_runs(folder.root), folder)
    surface = fit_problem(problem).surface
    question = problem.question(budget, prior=study.prior)
    answer = recommend(surface, question, observed=problem.runs, seed=study.config.seed)
    shape = ModelShape.near(
        answer.params, study.inventory.vocab_size, study.config.proxies.context, study.config.proxies.tied
    )
    tokens = round(budget / training_flops(shape, 1))
    mixtures = {RECOMMENDED: Mixture(answer.mixture)}
    for name, make in (("uniform", study.space.uniform), ("proportional", study.space.proportional)):
        try:
            mixtures[name] = make(tokens)
        except InfeasibleError:
            continue  # said below: the candidate is missing
    # What was asked of the best run, not its realised shares: an anchor that was best is then trained once.
    mixtures["best_observed"] = (
        read_ledger(folder.ledger).records[answer.baselines["best_observed"]["run_id"]].spec.mixture
    )
    if len(set(mixtures.values())) < 2:
        raise InfeasibleError(
            f"a verification compares mixtures, but only {mixtures[RECOMMENDED]} can be trained at {tokens:,} tokens",
            "allow more epochs, add text, or verify at fewer --flops",
        )
    return Proof(study, surface, mixtures, shape, tokens, seeds)


def run_proof(
    folder: StudyFolder, proof: Proof, executor: Executor, tracker: Tracker, watcher: Watcher
) -> Verification:
    """Train the candidates (those already trained are not repeated), compare, write verification.json."""
    specs = proof.specs
    everything = list({spec.run_id: spec for group in specs.values() for spec in group}.values())
    objective = proof.study.config.objective_weights
    with Ledger.hold(folder.verification_ledger) as ledger:
        make_runs(everything, ledger, executor, tracker, watcher, objective)
        records = ledger.records
    result = judge(proof, {name: [records[spec.run_id] for spec in group] for name, group in specs.items()})
    write_json(folder.verification, result.to_dict())
    return result


def judge(proof: Proof, records: Mapping[str, Sequence[RunRecord]]) -> Verification:
    """Compare what was measured with what was predicted, and the candidates with each other."""
    candidates = {name: _candidate(proof, proof.mixtures[name], runs) for name, runs in records.items()}
    best = candidates[RECOMMENDED]
    # Candidates with the same mixture share their runs, which count once.
    distinct = {proof.mixtures[name]: candidate.measured for name, candidate in candidates.items()}
    floor = _noise_floor(list(distinct.values()))
    held = best.predicted["low"] <= best.mean <= best.predicted["high"]
    winner = min(candidates, key=lambda name: candidates[name].mean)
    beats = {
        name: {"difference": candidate.mean - best.mean, "beyond_noise": candidate.mean - best.mean > floor}
        for name, candidate in candidates.items()
        if name != RECOMMENDED
    }
    trained = proof.specs[RECOMMENDED][0]
    tokens = trained.tokens_after(trained.steps(proof.tokens))
    warnings = [
        f"the {name} mixture cannot be trained within the caps at {tokens:,} tokens, so it is not compared"
        for name in ("uniform", "proportional")
        if name not in candidates
    ]
    return Verification(
        flops=training_flops(proof.shape, tokens),
        params=proof.shape.params,
        tokens=tokens,
        law=proof.surface.law,
        noise_floor=floor,
        candidates=candidates,
        interval_held=held,
        winner=winner,
        beats=beats,
        verdict=_verdict(best, held, winner, beats, floor),
        warnings=warnings,
    )


def _candidate(proof: Proof, mixture: Mixture, runs: Sequence[RunRecord]) -> Contender:
    measured = [objective_loss(proof.study, run) for run in runs]
    if not all(math.isfinite(loss) for loss in measured):
        broken = next(run for run, loss in zip(runs, measured, strict=True) if not math.isfinite(loss))
        raise ConfigError(
            f"every verification run must finish, but {broken.run_id} is {broken.status}: {broken.error or 'its loss'}",
            "run the same command again; lower proxies.learning_rate if it diverges each time",
        )
    # The law is asked about the tokens that were really trained: realised shares, whole batches.
    point = runs[0].points[-1]
    total = sum(point.realised.values())
    names = proof.surface.domains
    realised = np.array([point.realised.get(name, 0) / total for name in names])
    mean = float(proof.surface.predict(realised, proof.shape.params, point.tokens)[0])
    low, high = proof.surface.interval(realised, proof.shape.params, point.tokens)
    losses = {name: float(np.mean([run.points[-1].losses[name] for run in runs])) for name in point.losses}
    return Contender(
        mixture=dict(mixture),
        predicted={"mean": mean, "low": float(low[0]), "high": float(high[0])},
        measured=measured,
        mean=float(np.mean(measured)),
        losses=losses,
    )


def _noise_floor(measured: Sequence[Sequence[float]]) -> float:
    """Half the width of the 95% interval of a difference of two means; losses by mixture (rows) and seed (columns).

    Runs of one seed share their initial weights and their order of text, so what a seed does to all of them cancels in
    a difference: the noise is what is left of the table beside its row and column means.
    """
    table = np.array(measured)
    mixtures, seeds = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    freedom = (mixtures - 1) * (seeds - 1)
    variance = float(np.sum(rest**2)) / freedom
    return float(stats.t.ppf(0.975, freedom)) * math.sqrt(2 * variance / seeds)


def _verdict(best: Contender, held: bool, winner: str, beats: Mapping[str, Mapping[str, Any]], floor: float) -> str:
    inside = "inside" if held else "OUTSIDE"
    prediction = f"{best.predicted['mean']:.4f} [{best.predicted['low']:.4f}, {best.predicted['high']:.4f}]"
    clear = [name for name, result in beats.items() if result["beyond_noise"]]
    close = [name for name, result in beats.items() if abs(result["difference"]) <= floor]
    lost = [name for name, result in beats.items() if result["difference"] < -floor]
    parts = [f"The recommended mixture measured {best.mean:.4f}, {inside} the predicted {prediction}."]
    if clear:
        parts.append(f"It beats {_join(clear)} by more than the noise floor of {floor:.4f}.")
    if close:
        parts.append(f"It cannot be told from {_join(close)} within that noise.")
    if lost:
        parts.append(f"It LOSES to {_join(lost)}; the best mixture measured is {winner}.")
    return " ".join(parts).replace("_", " ")


def _join(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
