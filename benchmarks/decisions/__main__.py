"""Regret at the target against proxy FLOPs: strategies that choose mixtures, on simulated truths.

    python -m benchmarks.decisions [--all] [--seeds 4] [--budgets 16 64] [--simulators ...] [--strategies ...]

Every strategy meets the same truths and seeds. What is finished is appended to results.csv in --out and not run again;
then medians with quartiles, paired comparisons and the curves are made from all of it. --all is every simulator, every
strategy and the budgets 16, 32, 64 and 128. Budgets are in runs of N0, the largest proxy; a rival may spend them on
proxies of a sixteenth of that cost, and of a rival's two results (`name`, `name/16`) the one of lower median counts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pandas as pd

from benchmarks.decisions.curves import draw
from benchmarks.decisions.registry import ABLATIONS, STRATEGIES
from benchmarks.decisions.simulators import SIMULATORS, version
from benchmarks.decisions.tables import paired, regrets, slow
from benchmarks.decisions.work import done, forget, run

SHORT_SIMULATORS = ("5-mean", "17-single", "17-mean")
SHORT_BUDGETS, BUDGETS = (16.0, 64.0), (16.0, 32.0, 64.0, 128.0)
TOO_SLOW = ("optuna-gp", "optuna-gp/16", "mixlab-today/16")  # for the short form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every simulator, strategy and budget")
    parser.add_argument("--ablations", action="store_true", help="ours, and ours with one part switched off")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--budgets", type=float, nargs="+")
    parser.add_argument("--simulators", nargs="+", choices=SIMULATORS)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES)
    parser.add_argument("--again", nargs="+", default=[], choices=STRATEGIES, help="forget what these came to")
    parser.add_argument("--paired", nargs="+", default=["mixlab", "mixlab-today"], help="whom to compare, seed by seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/decisions"))
    options = parser.parse_args()
    simulators = options.simulators or (list(SIMULATORS) if options.all else SHORT_SIMULATORS)
    taking_part = [name for name in STRATEGIES if name not in ABLATIONS]
    strategies = options.strategies or [name for name in taking_part if options.all or name not in TOO_SLOW]
    if options.ablations:
        strategies = ["mixlab", *ABLATIONS]
    budgets = tuple(options.budgets or (BUDGETS if options.all else SHORT_BUDGETS))
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.csv"
    if options.again and results.exists():
        forget(options.again, results)

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
    ].sort_values(  # workers finish in any order
        ["simulator", "strategy"], key=lambda column: column.map([*SIMULATORS, *STRATEGIES].index), kind="stable"
    )
    print(regrets(frame), paired(frame, options.paired), slow(frame), sep="\n")
    draw(frame, options.out / "curves.png")
    print(f"curves: {options.out / 'curves.png'}")


if __name__ == "__main__":
    main()
