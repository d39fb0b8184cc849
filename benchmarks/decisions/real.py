"""A real study: six domains of text, and the truth about 24 mixtures at eight times the sweep's largest budget.

    python -m benchmarks.decisions.real --corpora FOLDER [--seeds 10] [--first 0] [--set sweep.rounds=1 ...] [--as NAME]

The truth is trained first, all 24 mixtures with the same seeds and the best of them with more. Then a study per seed is
swept, asked for its mixture, and that mixture is trained as the 24 were: at the same N and D, with the same seeds, so
that differences are of pairs. What is finished is kept in --out and not made again. Printed by study: the measured loss
of its mixture beside the best of the 24, uniform, proportional and the best that it had observed, and their noise.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import yaml
from scipy.stats import spearmanr

import mixlab
from mixlab.mixture import Mixture
from mixlab.runs.flops import training_flops
from mixlab.runs.read import read_runs
from mixlab.runs.shapes import ModelShape
from mixlab.search.baselines import best_observed
from mixlab.study.folder import StudyFolder
from sweeps.course import objective_loss
from sweeps.designs import draw_mixtures
from sweeps.driver import Watcher, make_runs, sweep
from sweeps.executors.registry import make_executor
from sweeps.ledger import Ledger
from sweeps.plan import Plan, open_plan
from sweeps.tracking import make_tracker
from sweeps.verification import noise_floor_of

DOMAINS = ("encyclopedic", "science", "books", "legal", "code", "textbook")
OBJECTIVE = {"science": 0.4, "textbook": 0.3, "code": 0.2, "encyclopedic": 0.1}
STUDY = {
    "name": "real",
    "objective": OBJECTIVE,
    "mixtures": {"prior": "proportional", "max_epochs": 4},
    "proxies": {
        "sizes": ["14K", "26K", "41K"],
        "context": 128,
        "min_tokens_per_param": 1,
        "eval_tokens": "16K",
    },
    "sweep": {
        "budgets": ["4e9", "8e9", "1.6e10", "3.2e10", "6.4e10"],
        "mixtures": 16,
        "sizes_per_mixture": 1,
        "flops": "3.2e12",
    },
}
BEYOND = 8.0  # times the largest budget
TARGET_PARAMS = 44_000  # about what is compute-optimal there on this text
CANDIDATES, NEAR = 24, 20.0  # mixtures of the truth; concentration of those drawn around the objective's own weights
SEEDS, MORE_SEEDS, TOP = 4, 8, 8  # of all; further ones of the best
ANSWER_SEEDS = 8  # of a study's answer and what it is compared with
STREAM = 9000  # seeds from here on belong to the truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder of {domain}.jsonl.gz")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="of study.yaml, such as sweep.rounds=1"
    )
    parser.add_argument("--as", dest="name", default="default", help="what to call studies with these settings")
    parser.add_argument("--out", type=Path, default=Path("build/real"))
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()

    truth = Truth.of(prepared(options.out / "truth", options.corpora, 0, {}), options.workers)
    best = _tell_truth(truth)
    _tell_studies(truth, best, options)


def _tell_truth(truth: Truth) -> Mixture:
    """Measure and print the truth; its best mixture."""
    losses = truth.measure(truth.mixtures, range(SEEDS))
    leading = np.argsort(losses.mean(axis=1), kind="stable")[:TOP]
    further = truth.measure([truth.mixtures[index] for index in leading], range(SEEDS, SEEDS + MORE_SEEDS))
    more = np.hstack([losses[leading], further])
    floor = noise_floor_of(more.tolist())
    best = truth.mixtures[leading[np.argmin(more.mean(axis=1))]]
    halves = spearmanr(losses[:, ::2].mean(axis=1), losses[:, 1::2].mean(axis=1)).statistic
    flops = training_flops(truth.shape, truth.tokens)
    print(f"the truth at {flops:.3g} FLOPs, N {truth.shape.params:,}, D {truth.tokens:,}")
    print(f"the best of {CANDIDATES}: {', '.join(f'{one:.4f}' for one in sorted(more.mean(axis=1)))}")
    print(f"the best: {described(best)}; noise floor of {SEEDS + MORE_SEEDS} seeds {floor:.4f}")
    print(f"rank correlation of all between two halves of {SEEDS} seeds {halves:.3f}", flush=True)
    return best


def _tell_studies(truth: Truth, best: Mixture, options: argparse.Namespace) -> None:
    """Make the studies and print how their answers do."""
    settings = dict(one.split("=", 1) for one in options.set)
    names = ("answer", "best of 24", "observed", "uniform", "prop.")
    print("\nseed " + " ".join(f"{name:>10}" for name in names) + f"{'noise':>8} {'FLOPs':>9} {'s':>5}  mixture")
    within, better, worse = 0, dict.fromkeys(names[1:], 0), dict.fromkeys(names[1:], 0)
    for seed in range(options.first, options.first + options.seeds):
        folder = prepared(options.out / f"{options.name}-{seed}", options.corpora, seed, settings)
        answer, observed, spent, seconds = decided(folder, options.workers)
        contenders = [answer, best, observed, truth.uniform, truth.proportional]
        found = truth.measure(contenders, range(ANSWER_SEEDS))
        ours, *others = found.mean(axis=1)
        noise = noise_floor_of(list(dict(zip(contenders, found.tolist(), strict=True)).values()))
        within += ours <= others[0] + noise
        for name, one in zip(names[1:], others, strict=True):
            better[name] += ours < one - noise
            worse[name] += ours > one + noise
        line = " ".join(f"{one:10.4f}" for one in (ours, *others))
        print(f"{seed:>4} {line} {noise:7.4f} {spent:9.3g} {seconds:5.0f}  {described(answer)}", flush=True)
    print(f"\nwithin noise of the best of {CANDIDATES}, or better: {within} of {options.seeds}")
    for name in names[1:]:
        print(f"beyond noise better than {name}: {better[name]}, worse: {worse[name]}")


@dataclass(frozen=True)
class Truth:
    """Mixtures at the target's N and D, trained.

    Attributes:
        folder, plan: of the study that has the text.
        mixtures: the 24.
        workers: processes that train.
    """

    folder: StudyFolder
    plan: Plan
    mixtures: Sequence[Mixture]
    workers: int | None

    @classmethod
    def of(cls, folder: StudyFolder, workers: int | None) -> Truth:
        plan = open_plan(folder)
        space, names = plan.space, plan.space.names
        drawn = draw_mixtures(space, plan.prior, CANDIDATES // 2, kind="sobol", seed=77, tokens=plan.longest * BEYOND)
        aim = Mixture.normalized({name: OBJECTIVE.get(name, 0.0) for name in names}).array(names)
        rng = np.random.default_rng(77)
        near = [aim, *rng.dirichlet(np.maximum(aim, 0.02) * NEAR, CANDIDATES - len(drawn) - 1)]
        return cls(
            folder,
            plan,
            [*drawn, *(Mixture.from_array(names, space.project(h, plan.longest * BEYOND)) for h in near)],
            workers,
        )

    @property
    def shape(self) -> ModelShape:
        proxies = self.plan.config.proxies
        return ModelShape.with_params(TARGET_PARAMS, self.plan.inventory.vocab_size, proxies.context, proxies.tied)

    @property
    def tokens(self) -> int:
        return round(BEYOND * max(self.plan.config.sweep.budgets) / training_flops(self.shape, 1))

    @property
    def uniform(self) -> Mixture:
        return self.mixtures[1]

    @property
    def proportional(self) -> Mixture:
        return self.mixtures[0]

    def measure(self, mixtures: Sequence[Mixture], seeds: range) -> np.ndarray:
        """The objective of mixtures (rows) with seeds (columns), trained where it was not before."""
        specs = [[self.plan.spec_at(h, self.shape, [self.tokens], STREAM + seed) for seed in seeds] for h in mixtures]
        every = list({spec.run_id: spec for row in specs for spec in row}.values())
        tracker = make_tracker(self.folder.config.tracking, self.folder.config.name, self.folder.root)
        with Ledger.hold(self.folder.verification_ledger) as ledger:
            executor = make_executor("local", self.folder, self.workers)
            make_runs(every, ledger, executor, tracker, Watcher(), self.plan.facts.objective)
            return np.array([[objective_loss(self.plan, ledger.records[spec.run_id]) for spec in row] for row in specs])


def prepared(root: Path, corpora: Path, seed: int, settings: Mapping[str, str]) -> StudyFolder:
    """The study in a folder, made where it is not there."""
    if not (root / "study.yaml").exists():
        root.mkdir(parents=True, exist_ok=True)
        domains = {name: str((corpora / f"{name}.jsonl.gz").resolve()) for name in DOMAINS}
        target = {"flops": BEYOND * max(float(one) for one in STUDY["sweep"]["budgets"]), "law": "auto"}  # type: ignore[index]
        study = json.loads(json.dumps({**STUDY, "seed": seed, "domains": domains, "target": target}))
        for key, value in settings.items():
            room, name = key.split(".")
            study[room][name] = yaml.safe_load(value)
        (root / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    mixlab.open_study(root).prepare()
    return StudyFolder.open(root)


def decided(folder: StudyFolder, workers: int | None) -> tuple[Mixture, Mixture, float, float]:
    """What a study recommends, the best that it observed, the FLOPs of its sweep, and its wall time."""
    kept = folder.root / "decided.json"
    if not kept.exists():
        started = time.perf_counter()
        sweep(folder, workers=workers)
        swept = time.perf_counter() - started
        answer = mixlab.recommend(mixlab.fit(str(folder.root)))
        runs = read_runs(folder.runs)
        observed, _ = best_observed(open_plan(folder).facts.objective, runs)
        spent = float(runs.frame.groupby("run_id")["flops"].max().sum())
        kept.write_text(json.dumps([dict(answer.mixture), dict(observed), spent, swept]))
    answer, observed, spent, swept = json.loads(kept.read_text())
    return Mixture.normalized(answer), Mixture.normalized(observed), spent, swept


def described(mixture: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:.2f}".replace("0.", ".") for name, weight in mixture.items())


if __name__ == "__main__":
    main()
