"""Strategies on truths, in processes of their own, into a file that grows: what it holds is not done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.decisions.registry import STRATEGIES
from benchmarks.decisions.simulators import Simulator, make, version

Job = tuple[str, int, str, tuple[float, ...]]  # simulator, seed, strategy, budgets


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


def forget(strategies: Sequence[str], results: Path) -> None:
    """Take the rows of strategies out of the file."""
    frame = pd.read_csv(results)
    frame[~frame["strategy"].isin(strategies)].to_csv(results, index=False)


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
