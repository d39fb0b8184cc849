"""Regret at the target against proxy FLOPs: strategies that choose mixtures, on simulated truths.

    python -m benchmarks.decisions [--all] [--seeds 6] [--budgets 16 64] [--simulators ...] [--strategies ...]

Every strategy meets the same truths and seeds. What is finished is appended to results.csv in --out and not run again;
then medians with quartiles, paired comparisons and the curves are made from all of it. --all is every simulator, every
strategy and the budgets 16, 32, 64 and 128. Budgets are in runs of N0, the largest proxy; a rival may spend them on
proxies of a sixteenth of that cost, and of a rival's two results (`name`, `name/16`) the one of lower median counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from benchmarks.decisions.curves import draw
from benchmarks.decisions.registry import STRATEGIES
from benchmarks.decisions.simulators import SIMULATORS, Simulator, make, version
from benchmarks.decisions.tables import paired, regrets, slow

SHORT_SIMULATORS = ("5-mean", "17-single", "17-mean")
SHORT_BUDGETS, BUDGETS = (16.0, 64.0), (16.0, 32.0, 64.0, 128.0)
TOO_SLOW = ("optuna-gp", "optuna-gp/16", "mixlab-today/16")  # for the short form
Job = tuple[str, int, str, tuple[float, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every simulator, strategy and budget")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--budgets", type=float, nargs="+")
    parser.add_argument("--simulators", nargs="+", choices=SIMULATORS)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES)
    parser.add_argument("--paired", nargs="+", default=["mixlab", "mixlab-today"], help="whom to compare, seed by seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/decisions"))
    options = parser.parse_args()
    simulators = options.simulators or (list(SIMULATORS) if options.all else SHORT_SIMULATORS)
    strategies = options.strategies or [name for name in STRATEGIES if options.all or name not in TOO_SLOW]
    budgets = tuple(options.budgets or (BUDGETS if options.all else SHORT_BUDGETS))
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.csv"

    jobs = [
        (simulator, seed, strategy, budgets)
        for seed in range(options.seeds)
        for simulator in simulators
        for strategy in strategies
    ]
    run([job for job in jobs if not done(job, results)], results, options.workers)
    frame = pd.read_csv(results)
    frame = frame[
        (frame["truths"] == version())
        & frame["simulator"].isin(simulators)
        & frame["strategy"].isin(strategies)
        & frame["budget"].isin(budgets)
        & (frame["seed"] < options.seeds)
    ]
    print(regrets(frame), paired(frame, options.paired), slow(frame), sep="\n")
    draw(frame, options.out / "curves.png")
    print(f"curves: {options.out / 'curves.png'}")


def run(jobs: list[Job], results: Path, workers: int) -> None:
    """Do the jobs in processes of their own and append rows as they come."""
    if not jobs:
        return
    started, header = time.perf_counter(), not results.exists()
    with get_context("spawn").Pool(workers) as pool:
        for number, rows in enumerate(pool.imap_unordered(work, jobs), 1):
            pd.DataFrame(rows).to_csv(results, mode="a", header=header, index=False)
            header = False
            if number % 20 == 0 or number == len(jobs):
                print(f"{number}/{len(jobs)} after {time.perf_counter() - started:.0f} s", flush=True)


def work(job: Job) -> list[dict[str, object]]:
    """A strategy on a truth: a row per budget."""
    name, seed, strategy, budgets = job
    simulator = truth(name, seed)
    prior, floor = float(simulator.regret(simulator.prior)[0]), simulator.floor()
    started = time.perf_counter()
    answers = STRATEGIES[strategy].run(simulator, budgets, seed)
    seconds = time.perf_counter() - started
    shared = {"truths": version(), "simulator": name, "seed": seed, "form": simulator.form, "strategy": strategy}
    return [
        {
            **shared,
            "budget": budget,
            "regret": float(simulator.regret(np.asarray(answers[budget]))[0]),
            "floor": floor,
            "prior": prior,
            "seconds": round(seconds / len(budgets), 3),
        }
        for budget in budgets
    ]


@lru_cache(maxsize=8)
def truth(name: str, seed: int) -> Simulator:
    """A truth whose optimum is searched once per process."""
    return make(name, seed)


def done(job: Job, results: Path) -> bool:
    """Whether all its rows are there, of today's truths."""
    name, seed, strategy, budgets = job
    return {(version(), name, seed, strategy, budget) for budget in budgets} <= finished(results)


@lru_cache(maxsize=1)
def finished(results: Path) -> frozenset[tuple[object, ...]]:
    """What the file held when this process began."""
    if not results.exists():
        return frozenset()
    frame = pd.read_csv(results)
    return frozenset(keys(frame))


def keys(frame: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    yield from zip(*(frame[name] for name in ("truths", "simulator", "seed", "strategy", "budget")), strict=True)


if __name__ == "__main__":
    main()
