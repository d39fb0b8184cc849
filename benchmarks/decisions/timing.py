"""What deciding takes: a proposal of 8 runs, and a recommendation with its set, on simulated tables.

    python -m benchmarks.decisions.timing [--repeats 3]

Medians of seconds on one core. A proposal is everything between a table and the runs to make next; `next` is one with
the kernels of the proposal before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

import mixlab
from mixlab.arrays import Array
from mixlab.decide.arms import gather
from mixlab.decide.belief import Belief
from mixlab.decide.proposals import Offer, choose
from mixlab.laws.forms.points import Observations
from mixlab.mixture import Domain, MixtureSpace

SCALES = ((1e6, 2e7), (4e6, 8e7))  # N, D
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{'domains':>8} {'targets':>8} {'runs':>6} {'proposal':>9} {'next':>7}")
    for domains, targets, count in ((5, 5, 64), (17, 13, 64), (17, 13, 256), (100, 5, 240)):
        names, h, which, losses = simulated(domains, targets, count)
        rows = observations(names, h, which)
        before = Belief.of(rows, losses, weights(losses))
        first = clock(partial(propose, names, rows, losses, None), repeats)
        again = clock(partial(propose, names, rows, losses, before), repeats)
        print(f"{domains:>8} {targets:>8} {count:>6} {first:9.2f} {again:7.2f}")
    names, h, which, losses = simulated(5, 5, 330)
    size = np.arange(len(h)) % 3
    frame = pd.DataFrame(h, columns=[f"mix.{name}" for name in names]).assign(
        params=SCALES[0][0] * 2.0**size,
        tokens=SCALES[0][1] * 2.0 ** (size + np.arange(len(h)) // 3 % 3),
        run_id=np.arange(len(h)).astype(str),
    )
    above = {name: 1.5 + (loss - 1.5) * (frame["tokens"] / SCALES[0][1]) ** -0.2 for name, loss in losses.items()}
    frame = frame.assign(**{f"loss.{name}": loss for name, loss in above.items()})
    targets = dict.fromkeys(losses, 1 / len(losses))
    seconds = clock(lambda: mixlab.recommend(mixlab.fit(frame, targets=targets), flops="1e17"), 1)
    print(f"fit and recommendation with its set, 5 domains, 5 targets, 330 rows: {seconds:.1f} s")


def simulated(domains: int, targets: int, count: int) -> tuple[tuple[str, ...], Array, Array, dict[str, Array]]:
    """Names, mixtures, scales by index, and losses by target."""
    rng = np.random.default_rng(domains)
    names = tuple(f"d{index}" for index in range(domains))
    h = rng.dirichlet(np.full(domains, 0.7), count)
    which = (np.arange(count) % 4 == 0).astype(int)
    size = np.log([SCALES[one][0] for one in which])
    helps = rng.dirichlet(np.full(domains, 0.3), targets)
    losses = {
        f"t{index}": 1.5 + np.exp(1.0 - 0.1 * (size - size.min())) * (h @ one + 0.02) ** -0.15
        for index, one in enumerate(helps)
    }
    return names, h, which, {name: loss * np.exp(0.005 * rng.standard_normal(count)) for name, loss in losses.items()}


def observations(names: tuple[str, ...], h: Array, which: Array) -> Observations:
    params, tokens = np.array([SCALES[one] for one in which]).T
    return Observations(h, params, tokens, np.full(h.shape, np.inf), np.ones(len(h)), names, np.arange(len(h)))


def weights(losses: dict[str, Array]) -> dict[str, float]:
    return dict.fromkeys(losses, 1 / len(losses))


def propose(names: tuple[str, ...], rows: Observations, losses: dict[str, Array], before: Belief | None) -> None:
    belief = Belief.of(rows, losses, weights(losses), before)
    space = MixtureSpace(tuple(Domain(name) for name in names))
    arms = gather(belief, space, 4e8, 8e9, rows.mixture, [space.uniform()])
    offers = [Offer(n, d, 6 * n * d) for n, d in SCALES]
    assert choose(belief, arms, offers, BATCH * offers[1].flops, BATCH)


def clock(call: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return median(taken)


if __name__ == "__main__":
    main()
