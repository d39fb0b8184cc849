"""Whether mixlab's decisions know themselves: stated against realised regret, sets and forecasts, on simulated truths.

    python -m benchmarks.decisions.calibration [--seeds 6] [--budget 64] [--simulators ...]

Printed by simulator: medians of realised and of stated regret, and of their ratio; the share of studies whose set of
mixtures that cannot be told from the answer holds the true optimum; the median regret of the set's representatives; and
the Brier score of the probability that the answer beats the prior, beside that of always saying how often it did.
"""

from __future__ import annotations

import argparse
import os
from multiprocessing import get_context

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from benchmarks.decisions.ours import Rounds
from benchmarks.decisions.simulators import SIMULATORS, make
from mixlab.decide.decision import TOLD_APART

SIMULATED = ("5-mean", "17-single", "17-mean")
DRAWN = 4000  # draws of the difference between the true optimum and the answer


def study(job: tuple[str, int, float]) -> tuple[str, list[float]]:
    """Realised and stated regret, whether the set holds the optimum, the set's regret, the forecast and its outcome."""
    name, seed, budget = job
    simulator, strategy = make(name, seed), Rounds()
    answer = strategy.run(simulator, [budget], seed)[budget]
    decision, belief = strategy.decided[budget]
    pair = np.array([simulator.best()[0], answer])
    at = belief.points(pair, simulator.target.params, simulator.target.tokens)
    draws = belief.sight(at).draws(DRAWN, np.random.default_rng(seed))
    realised, alike = float(simulator.regret(answer)[0]), float(np.median(simulator.regret(decision.alike)))
    won = float(simulator.regret(simulator.prior)[0]) > realised
    held = float(np.mean(draws[:, 0] <= draws[:, 1]) >= TOLD_APART)
    return name, [realised, decision.regret, held, alike, decision.forecasts["prior"].probability, float(won)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--budget", type=float, default=64.0)
    parser.add_argument("--simulators", nargs="+", choices=SIMULATORS, default=SIMULATED)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    jobs = [(name, seed, options.budget) for seed in range(options.seeds) for name in options.simulators]
    found: dict[str, list[list[float]]] = {name: [] for name in options.simulators}
    with get_context("spawn").Pool(options.workers) as pool:
        for name, row in pool.imap_unordered(study, jobs):
            found[name].append(row)
    print(f"{'':>12} realised  stated  stated/realised  set holds optimum  set's regret  Brier (of a constant)")
    for name, rows in found.items():
        realised, stated, held, alike, said, won = np.array(rows).T
        brier, constant = np.mean((said - won) ** 2), np.mean((won.mean() - won) ** 2)
        print(
            f"{name:>12} {np.median(realised):8.4f} {np.median(stated):7.4f} {np.median(stated / realised):16.2f} "
            f"{held.mean():18.0%} {np.median(alike):13.4f}  {brier:.3f} ({constant:.3f})"
        )


if __name__ == "__main__":
    main()
