"""Whether short runs should be heard: predictions of the real study's 24 mixtures, from studies that were swept.

    python -m benchmarks.decisions.hearing --corpora FOLDER --out build/real [--as default] [--first 0] [--seeds 10]

To be run after `benchmarks.decisions.real`, with the same options. Printed by study: the root mean square error of
predicted losses at the target, their mean difference aside, over the better half of the 24, where it matters, and
the regret of choosing among the 24 by them: for the belief that hears all points, the one that hears the long ones, the
law `auto`, and the mean of the latter two.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

import mixlab
from benchmarks.decisions.real import SEEDS, Truth, prepared
from mixlab.arrays import Array
from mixlab.decide import belief as room
from mixlab.laws.choice.rows import observe
from mixlab.runs.read import read_runs

NAMES = ("all points", "long ones", "law", "mean of both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/real"))
    parser.add_argument("--as", dest="name", default="default")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    truth = Truth.of(prepared(options.out / "truth", options.corpora, 0, {}), None)
    measured = truth.measure(truth.mixtures, range(SEEDS)).mean(axis=1)
    near = measured <= np.median(measured)
    print("seed " + " ".join(f"{name:>22}" for name in NAMES) + "   (error, regret)")
    every = []
    for seed in range(options.first, options.first + options.seeds):
        found = [_judged(one, measured, near) for one in _predictions(truth, options.out / f"{options.name}-{seed}")]
        every.append(found)
        print(f"{seed:>4} " + " ".join(f"{error:13.4f} {regret:8.4f}" for error, regret in found), flush=True)
    print("mean " + " ".join(f"{error:13.4f} {regret:8.4f}" for error, regret in np.mean(every, axis=0)))


def _predictions(truth: Truth, folder: Path) -> list[Array]:
    """Of the 24 at the target, by `NAMES`, each (24,)."""
    objective = truth.plan.facts.objective
    data = observe(read_runs(folder / "runs.parquet"), objective)
    mixtures = np.array([one.array(truth.plan.space.names) for one in truth.mixtures])
    found = []
    for worth in (0.0, np.inf):
        with patch.object(room, "WORTH_HEARING", worth):
            belief = room.Belief.of(data.rows, data.losses, objective)
        found.append(belief.predict(mixtures, truth.shape.params, truth.tokens))
    law = mixlab.fit(str(folder), bootstrap=0).surface.predict(mixtures, truth.shape.params, truth.tokens)
    return [*found, law, (law + found[1]) / 2]


def _judged(predicted: Array, measured: Array, near: Array) -> tuple[float, float]:
    missed = (predicted - measured)[near]
    return float(missed.std()), float(measured[np.argmin(predicted)] - measured.min())


if __name__ == "__main__":
    main()
