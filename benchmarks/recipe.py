"""Whether the learning-rate and batch rules are right at every size: what each costs against the best tried.

    python benchmarks/recipe.py STUDY [--rates .001 .002 ...] [--batches grow 2 8] [--seeds 2] [--tokens 50K 100K ...]

STUDY is a prepared study: its ladder, its text and its prior mixture are used. Every size is trained with every rate
and batch (`grow` is the rule of `proxies.model.recipe`, a number a constant batch of so many sequences) up to the
largest of TOKENS, with a decay at each. Printed: the objective at each D, mean over the seeds; then, by size and D,
what the rule at its own rate loses against the best combination, beside the standard deviation over seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.plots.style import new_figure, save, styled
from mixlab.runs.batches import Batches
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from mixlab.units import parse_quantity
from proxies.backend.choice import choose_backend, use_one_thread
from proxies.model.recipe import BASE_LEARNING_RATE, WARMUP_SHARE, growing_batches
from proxies.training.texts import open_texts
from proxies.training.train import train_stack
from sweeps.plan import Plan, open_plan

FIRST_STREAM = 7000  # seeds that neither a sweep nor its verification uses


def specs_of(study: Plan, size: int, batch: str, rates: list[float], seeds: int, tokens: list[int]) -> list[RunSpec]:
    """A stack: every rate with every seed, rates slowest."""
    shape = study.shapes[size]
    batches = (
        growing_batches(tokens[-1], shape.context) if batch == "grow" else Batches.constant(int(parse_quantity(batch)))
    )
    warmup = max(1, round(WARMUP_SHARE * batches.steps(tokens[0] / shape.context)))
    specs = []
    for rate in rates:
        for seed in range(seeds):
            spec = study.spec_at(study.prior, shape, tokens, FIRST_STREAM + seed)
            recipe = replace(spec.recipe, learning_rate=rate, batches=batches, warmup_steps=warmup)
            specs.append(replace(spec, recipe=recipe))
    return specs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, BASE_LEARNING_RATE, 0.004])
    parser.add_argument("--batches", nargs="+", default=["grow", "2", "8"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tokens", nargs="+", default=["50K", "100K", "200K", "400K", "800K", "1600K"])
    parser.add_argument("--plot", type=Path, help="draw the growing batch's losses against the rate here")
    options = parser.parse_args()
    folder = StudyFolder.open(options.study)
    study, texts = open_plan(folder), open_texts(folder.corpus)
    backend = choose_backend(study.config.proxies)
    use_one_thread(backend)
    tokens = [int(parse_quantity(count)) for count in options.tokens]
    weights = study.config.objective_weights
    rates = sorted({*options.rates, BASE_LEARNING_RATE})
    print(f"{'params':>8} {'batch':>6} {'rate':>7}  " + " ".join(f"{text:>7}" for text in options.tokens))
    curves: dict[int, tuple[list[float], float]] = {}
    for size, shape in enumerate(study.shapes):
        losses: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
        for batch in options.batches:
            for record in train_stack(specs_of(study, size, batch, rates, options.seeds, tokens), texts, backend):
                curve = [sum(w * point.losses[name] for name, w in weights.items()) for point in record.points]
                curve += [float("nan")] * (len(tokens) - len(curve))  # diverged
                losses[batch, record.spec.recipe.learning_rate].append(curve)
            for rate in rates:
                mean = np.mean(losses[batch, rate], axis=0)
                print(f"{shape.params:>8,} {batch:>6} {rate:>7g}  " + " ".join(f"{x:7.3f}" for x in mean), flush=True)
        means = {key: np.mean(curves, axis=0) for key, curves in losses.items()}
        deviation = np.sqrt(np.mean([np.var(curves, axis=0, ddof=1) for curves in losses.values()], axis=0))
        lost = means["grow", BASE_LEARNING_RATE] - np.nanmin(list(means.values()), axis=0)
        curves[shape.params] = [float(means["grow", rate][-1]) for rate in rates], float(deviation[-1])
        print(f"{'':>8} the rule loses  " + "  " + " ".join(f"{x:7.3f}" for x in lost))
        print(f"{'':>8} sd over seeds   " + "  " + " ".join(f"{x:7.3f}" for x in deviation), flush=True)
    if options.plot is not None:
        draw(options.plot, rates, curves, options.tokens[-1])


def draw(path: Path, rates: Sequence[float], curves: Mapping[int, tuple[Sequence[float], float]], tokens: str) -> None:
    """Loss against the rate, a line for each size with its standard deviation over seeds; the rule is marked."""
    with styled():
        figure, axes = new_figure(width=8.0, height=4.0)
        for params, (losses, deviation) in curves.items():
            axes.errorbar(rates, losses, yerr=deviation, marker="o", capsize=3, label=f"{params:,} parameters")
        axes.axvline(BASE_LEARNING_RATE, color="0.6", linestyle="--", linewidth=1, zorder=0)
        axes.annotate("the rule", (BASE_LEARNING_RATE, axes.get_ylim()[1]), ha="center", va="bottom", color="0.4")
        axes.set(xscale="log", xlabel="peak learning rate at width 64", ylabel=f"objective after {tokens} tokens, nats")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        save(figure, path)


if __name__ == "__main__":
    main()
