"""How well laws predict published runs that they have not seen, `auto` beside single laws and baselines.

    python benchmarks/transfer.py TABLES [--part compute --part joint ...] [--law auto --law chinchilla ...]

TABLES is a folder with the published run tables; every split fits some runs and predicts others:

    compute    L(N, D), the lowest 80% of compute -> the rest: mean relative error, %
    sizes      L(N, D) of the same tables, the smallest 3/4 of the sizes -> the others: mean relative error, %
    regmix     512 or 64 mixtures at one scale -> 64 others of 1,000 times the size: Spearman by target, and its mean
    mixtures   L(h) at one scale, 3/4 of the mixtures -> the others, the mean of 10 random splits: MAE, nats
    joint      L(N, D, h), smaller models -> larger ones: mean relative error, %
    epochs     L(N, D, U), few epochs -> more: mean relative error, %, and the published law at its own constants

with the share of held-out rows inside the 90% prediction interval and the interval's median width; at the end the same
over all splits.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from analysis.backtest.backtest import backtest
from analysis.backtest.holdout import Holdout
from mixlab.errors import FitError
from mixlab.laws.forms.repetition import MUENNIGHOFF
from mixlab.laws.forms.solver import huber
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs

TRAINED_ON = 0.8
LARGEST_SIZES = 0.75
RANDOM_SPLITS = 10
SIZES = ("70M", "160M", "305M", "410M", "1B")


def compute_tables(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Tables of (params, tokens, flops, loss)."""
    chinchilla = pd.read_csv(folder / "chinchilla_245.csv")
    yield "chinchilla", chinchilla[chinchilla["epoch_outlier"] == 0]
    tuned = pd.read_csv(folder / "misfitting_c4.csv").query("is_final == 1")
    yield "misfitting", tuned.loc[tuned.groupby(["model", "total_tokens"])["loss"].idxmin()]
    gadre = pd.read_csv(folder / "gadre_overtraining.csv").assign(loss=lambda table: table["loss.c4_val"])
    for name, part in gadre.groupby("train_dataset"):
        yield f"gadre {name}", part
    isoflops = pd.read_csv(folder / "isoflops_marin_llama3.csv").query("kind == 'isoflop'")
    for name, part in isoflops.groupby("dataset"):
        yield str(name), part
    steplaw = pd.read_csv(folder / "steplaw_lr_bs.csv").assign(flops=lambda table: table["flops_6nd"])
    yield "steplaw", steplaw.loc[steplaw.groupby(["params_non_embed", "tokens"])["loss"].idxmin()]
    yield "datablations", pd.read_csv(folder / "datablations_repeats.csv").query("epochs <= 2")


def compute_splits(folder: Path) -> Iterator[tuple[str, Holdout]]:
    for name, frame in compute_tables(folder):
        ordered = frame[[_size(frame), "tokens", "flops", "loss"]].sort_values("flops", kind="stable")
        cut = round(TRAINED_ON * len(ordered))
        yield name, Holdout(Runs.from_frame(ordered[:cut]), Runs.from_frame(ordered[cut:]))


def size_splits(folder: Path) -> Iterator[tuple[str, Holdout]]:
    for name, frame in compute_tables(folder):
        frame = frame[[_size(frame), "tokens", "flops", "loss"]]
        sizes = np.sort(frame[_size(frame)].unique())
        large = frame[_size(frame)] >= sizes[int(LARGEST_SIZES * len(sizes))]
        yield name, Holdout(Runs.from_frame(frame[~large]), Runs.from_frame(frame[large]))


def _size(frame: pd.DataFrame) -> str:
    return "params" if "params" in frame else "params_non_embed"


def regmix_split(folder: Path, rows: int) -> tuple[Holdout, list[str]]:
    table = pd.read_csv(folder / "regmix.csv")
    small = table.query("scale == '1m' and split == 'train'").head(rows)
    large = table.query("scale == '1b' and split == 'test'")
    targets = [name for name in table if name.startswith("loss.")]
    return Holdout(Runs.from_frame(small), Runs.from_frame(large)), targets


def mixture_splits(folder: Path) -> Iterator[tuple[str, list[str], list[Holdout]]]:
    """Name, targets and random splits of each table."""
    own = ["loss.Books3", "loss.Github", "loss.Pile-CC"]
    mean = ["loss.avg_pile"]
    for file, size, step, targets in (
        ("3mix", "410M", 60000, own),
        ("5mix", "70M", 30000, mean),
        ("5mix", "410M", 30000, mean),
        ("redpajama", "70M", 30000, mean),
    ):
        table = pd.read_csv(folder / f"mixinglaws_{file}.csv").dropna(subset=targets)
        table = table[(table["size"] == size) & (table["step"] == step)]
        splits = []
        for seed in range(RANDOM_SPLITS):
            ids = np.array(sorted(table["run_id"].unique()))
            np.random.default_rng(seed).shuffle(ids)
            test = table["run_id"].isin(ids[: len(ids) // 4])
            splits.append(Holdout(Runs.from_frame(table[~test]), Runs.from_frame(table[test])))
        yield f"{file} {size}", targets, splits


def joint_splits(folder: Path) -> Iterator[tuple[str, Holdout]]:
    for file, largest in (("5mix", 3), ("5mix", 4), ("redpajama", 4)):
        table = pd.read_csv(folder / f"mixinglaws_{file}.csv").dropna(subset=["loss.avg_pile"])
        small, large = table[table["size"].isin(SIZES[:largest])], table[table["size"] == SIZES[largest]]
        yield f"{file} -> {SIZES[largest]}", Holdout(Runs.from_frame(small), Runs.from_frame(large))


def epoch_splits(folder: Path) -> Iterator[tuple[str, Holdout]]:
    """Rows of the published fit and all rows, which hold runs that overfit: their loss rises with D."""
    table = read_runs(folder / "datablations_repeats.csv")
    for name, rows in (("published rows", table.where("in_paper_fit == 1")), ("all rows", table)):
        for few, more in ((4.5, 16), (16, 1e6)):
            test = rows.where(f"epochs > {few} and epochs <= {more}")
            limit = f"{more:g}" if more < 1e6 else "more"
            yield f"{name}, {few:g} -> {limit}", Holdout(rows.where(f"epochs <= {few}"), test)


def published(table: Runs) -> np.ndarray:
    """What the law of Muennighoff et al. 2023 says of each row, at their constants."""
    return MUENNIGHOFF.loss(table.params(), table.tokens(), table.unique()[:, 0])


class Scores:
    """What came out of every split so far, by law."""

    def __init__(self) -> None:
        self.held: dict[str, list[float]] = {}
        self.rows: dict[str, list[int]] = {}
        self.width: dict[str, list[float]] = {}

    def measure(self, split: Holdout, target: str, law: str, key: str) -> dict[str, float] | None:
        """Of one split: `value` (what `key` names), `held` and `width`; None where the law is refused."""
        try:
            result = backtest(split, [target], law=law, baselines=False)
        except FitError:
            return None
        found = result.targets[target]
        self.held.setdefault(law, []).append(found["coverage_90"] or 0.0)
        self.rows.setdefault(law, []).append(result.rows_test)
        self.width.setdefault(law, []).append(found["width_90"] or np.nan)
        return {"value": float(found[key] or np.nan), "held": self.held[law][-1], "width": self.width[law][-1]}

    def line(
        self, name: str, target: str, splits: Sequence[Holdout], laws: Sequence[str], key: str
    ) -> dict[str, float]:
        """Print the mean over the splits by law, and return the values."""
        cells, values = [], {}
        for law in laws:
            each = [one for split in splits if (one := self.measure(split, target, law, key)) is not None]
            if not each:
                cells.append(f"{law} refused")
                continue
            mean = {part: float(np.mean([one[part] for one in each])) for part in each[0]}
            some = f", {len(each)} of {len(splits)} splits" if len(each) < len(splits) else ""
            cells.append(f"{law} {mean['value']:.4g} (held {mean['held']:.2f}, width {mean['width']:.1f}%{some})")
            values[law] = mean["value"]
        print(f"{name:28s} " + "; ".join(cells), flush=True)
        return values

    def summary(self) -> None:
        for law, held in self.held.items():
            pooled = np.average(held, weights=self.rows[law])
            print(
                f"all {len(held)} splits, {law}: held {pooled:.3f} of {sum(self.rows[law])} rows, mean over splits "
                f"{np.mean(held):.3f}; median width {np.nanmedian(self.width[law]):.1f}%"
            )


def run_compute(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    _run_scale(compute_splits(folder), laws, scores)


def run_sizes(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    _run_scale(size_splits(folder), laws, scores)


def _run_scale(splits: Iterable[tuple[str, Holdout]], laws: Sequence[str], scores: Scores) -> None:
    values = [
        scores.line(name, "loss", [split], laws or ["auto", "chinchilla", "gp"], "mean_relative_error")
        for name, split in splits
    ]
    for law in values[0]:
        mean = np.exp(np.mean([np.log(one[law]) for one in values if law in one]))
        print(f"geometric mean, {law}: {mean:.3f}%")


def run_regmix(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    for rows in (512, 64):
        split, targets = regmix_split(folder, rows)
        chosen = laws or ["auto", "loglinear", "power-mix", "gp", "gbdt"]
        ranks = [
            scores.line(f"regmix {rows} {name.removeprefix('loss.')}", name, [split], chosen, "spearman")
            for name in targets
        ]
        for law in ranks[0]:
            mean = np.mean([one[law] for one in ranks if law in one])
            print(f"regmix {rows}, mean of {len(targets)} targets, {law}: {mean:.4f}")


def run_mixtures(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    for name, targets, splits in mixture_splits(folder):
        for target in targets:
            chosen = laws or ["auto", "loglinear", "power-mix", "concave-data+gp", "gp"]
            scores.line(f"{name} {target.removeprefix('loss.')}", target, splits, chosen, "mae")


def run_joint(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    for name, split in joint_splits(folder):
        chosen = laws or ["auto", "effective-data+gp", "joint-additive", "joint", "gp"]
        scores.line(name, "loss.avg_pile", [split], chosen, "mean_relative_error")


def run_epochs(folder: Path, laws: Sequence[str], scores: Scores) -> None:
    rows = read_runs(folder / "datablations_repeats.csv").where("in_paper_fit == 1")
    loss, predicted = rows.column("loss"), published(rows)
    r2 = 1 - np.sum((predicted - loss) ** 2) / np.sum((loss - loss.mean()) ** 2)
    objective = huber(np.log(predicted / loss), 1e-3).sum()
    print(f"published law on its {len(rows)} rows: R2 {r2:.7f}, Huber objective {objective:.9f}")
    for name, split in epoch_splits(folder):
        chosen = laws or ["auto", "repetition", "effective-repetition", "additive-data"]
        scores.line(name, "loss", [split], chosen, "mean_relative_error")
        error = np.mean(np.abs(published(split.test) / split.test.column("loss") - 1))
        print(f"{'':28s} published constants, fitted to rows of both sides {100 * error:.4g}")


PARTS = {
    "compute": run_compute,
    "sizes": run_sizes,
    "regmix": run_regmix,
    "mixtures": run_mixtures,
    "joint": run_joint,
    "epochs": run_epochs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--part", action="append", choices=tuple(PARTS), help="again for more; default: all")
    parser.add_argument("--law", action="append", help="again for more; default: auto and its peers")
    options = parser.parse_args()
    scores = Scores()
    for part in options.part or PARTS:
        started = time.perf_counter()
        PARTS[part](options.tables, options.law or [], scores)
        print(f"-- {part}: {time.perf_counter() - started:.0f} s", flush=True)
    scores.summary()


if __name__ == "__main__":
    main()
