"""What shared seeds are worth: the scatter of a difference between two mixtures, with and without them.

    python benchmarks/paired.py STUDY [--size 1] [--tokens 50K 100K 200K 400K] [--seeds 8]

STUDY is a prepared study. Its proportional mixture, the uniform one, and one halfway between the two are trained with
each seed. Printed by D: the standard deviation over seeds of one mixture's objective, that of a difference of two
mixtures with the same seed, and what it would be with seeds of their own (the root of the sum of both variances).
Then, for the loader: the share of the time of a step that reading its text takes.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from mixlab.mixture import Mixture
from mixlab.study.folder import StudyFolder
from mixlab.units import parse_quantity
from proxies.backend.choice import choose_backend, use_one_thread
from proxies.training.sampler import Sampler
from proxies.training.texts import open_texts
from proxies.training.train import train_stack
from sweeps.plan import open_plan

FIRST_STREAM = 8000  # seeds that neither a sweep nor its verification uses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--size", type=int, default=1, help="step of the study's ladder")
    parser.add_argument("--tokens", nargs="+", default=["50K", "100K", "200K", "400K"])
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    folder = StudyFolder.open(options.study)
    study, texts = open_plan(folder), open_texts(folder.corpus)
    backend = choose_backend(study.config.proxies)
    use_one_thread(backend)
    tokens = [int(parse_quantity(count)) for count in options.tokens]
    weights, shape = study.config.objective_weights, study.shapes[options.size]
    proportional, uniform = study.space.proportional(tokens[-1]), study.space.uniform(tokens[-1])
    between = Mixture.normalized({name: (proportional[name] + uniform[name]) / 2 for name in study.space.names})
    mixtures = proportional, between, uniform
    losses = np.empty((3, options.seeds, len(tokens)))
    for seed in range(options.seeds):
        specs = [study.spec_at(mixture, shape, tokens, FIRST_STREAM + seed) for mixture in mixtures]
        started = time.perf_counter()
        for row, record in zip(losses[:, seed], train_stack(specs, texts, backend), strict=True):
            row[:] = [sum(w * point.losses[name] for name, w in weights.items()) for point in record.points]
        seconds = time.perf_counter() - started
    print(
        f"{shape.params:,} parameters, {options.seeds} seeds, three mixtures\n{'':>24} "
        + " ".join(f"{t:>7}" for t in options.tokens)
    )
    pairs = list(combinations(range(3), 2))
    shared = np.sqrt(np.mean([np.var(losses[a] - losses[b], axis=0, ddof=1) for a, b in pairs], axis=0))
    own = np.sqrt(np.mean([losses[a].var(axis=0, ddof=1) + losses[b].var(axis=0, ddof=1) for a, b in pairs], axis=0))
    for name, row in (
        ("sd of one mixture", losses.std(axis=1, ddof=1).mean(axis=0)),
        ("difference, own seeds", own),
        ("difference, shared seeds", shared),
        ("variance ratio", (own / shared) ** 2),
    ):
        print(f"{name:>24} " + " ".join(f"{value:7.4f}" for value in row))
    spec = specs[0]
    steps = spec.steps(tokens[-1])
    sampler = Sampler(texts.train, proportional, 0, shape.context, spec.recipe.batches, steps)
    started = time.perf_counter()
    sampler.sequences(0, steps)
    reading = (time.perf_counter() - started) * 3 * spec.trained_tokens / tokens[-1]
    print(f"reading the text: {reading / seconds:.2%} of the time of training and evaluation")


if __name__ == "__main__":
    main()
