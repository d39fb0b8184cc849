"""How fast and how well the Chinchilla law is fitted, beside the published procedure, in one process and thread.

The procedure of Hoffmann et al. 2022 as Besiroglu et al. 2024 repeated it: 4,500 starts on a grid, each minimised by
L-BFGS-B, here with the analytic gradient (theirs was numeric), of the summed Huber loss (1e-3) of log L.

    python benchmarks/laws.py RUNS.csv [--where EXPR] [--starts N] [--joint RUNS2.csv --target COL]

With --joint the laws of (h, N, D) are timed on about 600 rows of a second table, one fit each from many starts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from mixlab.laws.bootstrap import bootstrap_losses
from mixlab.laws.choice.rows import observe
from mixlab.laws.forms.points import Observations
from mixlab.laws.forms.registry import get_law
from mixlab.objective import Objective
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs

DELTA = 1e-3
BOOTSTRAP = 4000
JOINT_ROWS = 600
JOINT_LAWS = ("joint", "joint-additive", "effective-data", "concave-data")


def published(rows: Observations, starts: int) -> float:
    """The lowest objective over the first `starts` of the shuffled grid."""
    log_n, log_d, log_l = np.log(rows.params), np.log(rows.tokens), np.log(rows.loss)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = theta
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_l, e)])
        predicted = logsumexp(terms, axis=0)
        residual = predicted - log_l
        size = np.abs(residual)
        loss = np.where(size <= DELTA, 0.5 * residual**2, DELTA * (size - 0.5 * DELTA)).sum()
        slope = np.clip(residual, -DELTA, DELTA)
        in_n, in_d, floor = np.exp(terms - predicted)
        gradient = [slope @ in_n, slope @ in_d, slope @ floor, -slope @ (in_n * log_n), -slope @ (in_d * log_d)]
        return float(loss), np.array(gradient)

    grid = list(
        itertools.product(range(0, 30, 5), range(0, 30, 5), np.arange(-1, 1.5, 0.5), *[np.arange(0, 2.5, 0.5)] * 2)
    )
    order = np.random.default_rng(0).permutation(len(grid))[:starts]
    return min(minimize(objective, grid[i], jac=True, method="L-BFGS-B").fun for i in order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    parser.add_argument("--where", help="keep these rows")
    parser.add_argument("--starts", type=int, default=4500)
    parser.add_argument("--joint", help="a table with mixtures, sizes and tokens")
    parser.add_argument("--target", default="loss", help="its loss column")
    options = parser.parse_args()
    table = read_runs(options.runs)
    rows = observe(table.where(options.where) if options.where else table, Objective.column("loss")).of("loss")
    law = get_law("chinchilla")

    started = time.perf_counter()
    fit = law.fit(rows, np.ones((1, len(rows))))
    ours = time.perf_counter() - started
    started = time.perf_counter()
    fitted = fit.predict(rows)[0]
    tables = bootstrap_losses(rows.loss, fitted, rows.run, law.size(0), BOOTSTRAP, 0)
    law.fit(rows.with_loss(tables), np.ones(tables.shape), start=fit.theta[0])
    resampled = time.perf_counter() - started
    started = time.perf_counter()
    best = published(rows, options.starts)
    theirs = time.perf_counter() - started

    print(f"{len(rows)} rows of {options.runs}")
    print(f"published procedure, {options.starts} starts: objective {best:.8f} in {theirs:.2f} s")
    print(f"mixlab: objective {fit.objective[0]:.8f} in {ours:.3f} s, {theirs / ours:.0f} times as fast")
    print(f"mixlab, {BOOTSTRAP} bootstrap refits: {resampled:.2f} s")
    if options.joint:
        time_joint(read_runs(options.joint), options.target)


def time_joint(table: Runs, target: str) -> None:
    rows = observe(table, Objective.column(target)).of(target)
    rows = rows.select(np.linspace(0, len(rows) - 1, min(JOINT_ROWS, len(rows))).round().astype(np.int64))
    for name in JOINT_LAWS:
        started = time.perf_counter()
        fit = get_law(name).fit(rows, np.ones((1, len(rows))))
        print(f"{name} on {len(rows)} rows: {time.perf_counter() - started:.2f} s, {fit.status[0]}")


if __name__ == "__main__":
    main()
