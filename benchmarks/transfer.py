"""How well laws predict published runs that they have not seen, `auto` beside single laws and baselines.

    python benchmarks/transfer.py TABLES [--law auto --law chinchilla ...]

TABLES is a folder with the published run tables; every split fits the smaller runs and predicts the larger ones:

    compute    L(N, D), the lowest 80% of compute -> the rest: mean relative error, %
    regmix     512 or 64 mixtures at one scale -> 64 others of 1,000 times the size: Spearman by target, and its mean
    joint      L(N, D, h), smaller models -> larger ones: mean relative error, %
    epochs     L(N, D, U), few epochs -> more: mean relative error, %, and the published law at its own constants

with the share of held-out rows inside the 90% prediction interval and the interval's median width.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from analysis.backtest import Backtest, Split, backtest
from mixlab.errors import FitError
from mixlab.laws.fit import huber
from mixlab.laws.repetition import MUENNIGHOFF
from mixlab.runs import RunTable

TRAINED_ON = 0.8
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


def compute_splits(folder: Path) -> Iterator[tuple[str, Split]]:
    for name, frame in compute_tables(folder):
        ordered = frame[["params" if "params" in frame else "params_non_embed", "tokens", "flops", "loss"]]
        ordered = ordered.sort_values("flops", kind="stable")
        cut = round(TRAINED_ON * len(ordered))
        yield name, Split(RunTable.from_frame(ordered[:cut]), RunTable.from_frame(ordered[cut:]))


def regmix_split(folder: Path, rows: int) -> tuple[Split, list[str]]:
    table = pd.read_csv(folder / "regmix.csv").drop(columns=["params", "tokens"])
    small = table.query("scale == '1m' and split == 'train'").head(rows)
    large = table.query("scale == '1b' and split == 'test'")
    targets = [name for name in table if name.startswith("loss.")]
    return Split(RunTable.from_frame(small), RunTable.from_frame(large)), targets


def joint_splits(folder: Path) -> Iterator[tuple[str, Split]]:
    for file, largest in (("5mix", 3), ("5mix", 4), ("redpajama", 4)):
        table = pd.read_csv(folder / f"mixinglaws_{file}.csv").dropna(subset=["loss.avg_pile"])
        small, large = table[table["size"].isin(SIZES[:largest])], table[table["size"] == SIZES[largest]]
        yield f"{file} -> {SIZES[largest]}", Split(RunTable.from_frame(small), RunTable.from_frame(large))


def epoch_splits(folder: Path) -> Iterator[tuple[str, Split]]:
    """Rows of the published fit and all rows, which hold runs that overfit: their loss rises with D."""
    table = RunTable.read(folder / "datablations_repeats.csv")
    for name, rows in (("published rows", table.where("in_paper_fit == 1")), ("all rows", table)):
        for few, more in ((4.5, 16), (16, 1e6)):
            test = rows.where(f"epochs > {few} and epochs <= {more}")
            limit = f"{more:g}" if more < 1e6 else "more"
            yield f"{name}, {few:g} -> {limit}", Split(rows.where(f"epochs <= {few}"), test)


def published(table: RunTable) -> np.ndarray:
    """What the law of Muennighoff et al. 2023 says of each row, at their constants."""
    return MUENNIGHOFF.loss(table.params(), table.tokens(), table.unique()[:, 0])


def score(split: Split, target: str, law: str) -> Backtest | None:
    try:
        return backtest(split, [target], law=law, bootstrap=1, baselines=False)
    except FitError:
        return None


def show(name: str, target: str, split: Split, laws: list[str], key: str, pooled: dict[str, list[float]]) -> None:
    cells = []
    for law in laws:
        result = score(split, target, law)
        if result is None:
            cells.append(f"{law} refused")
            continue
        found = result.targets[target]
        pooled.setdefault(law, []).append(float(found[key] or np.nan))
        cells.append(f"{law} {found[key]:.4g} (in interval {found['coverage_90']:.2f}, width {found['width_90']:.1f}%)")
    print(f"{name:24s} " + "; ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--law", action="append", help="again for more; default: auto and its peers")
    options = parser.parse_args()
    pooled: dict[str, list[float]] = {}
    for name, split in compute_splits(options.tables):
        show(name, "loss", split, options.law or ["auto", "chinchilla"], "mean_relative_error", pooled)
    for law, values in pooled.items():
        print(f"geometric mean, {law}: {np.exp(np.nanmean(np.log(values))):.3f}% over {len(values)} tables")
    for rows in (512, 64):
        split, targets = regmix_split(options.tables, rows)
        ranks: dict[str, list[float]] = {}
        for target in targets:
            show(
                f"regmix {rows} {target[5:]}",
                target,
                split,
                options.law or ["auto", "loglinear", "gp"],
                "spearman",
                ranks,
            )
        for law, values in ranks.items():
            print(f"regmix {rows}, mean of {len(values)} targets, {law}: {np.mean(values):.4f}")
    for name, split in joint_splits(options.tables):
        laws = options.law or ["auto", "joint", "joint-additive", "gp"]
        show(name, "loss.avg_pile", split, laws, "mean_relative_error", {})
    rows = RunTable.read(options.tables / "datablations_repeats.csv").where("in_paper_fit == 1")
    loss, predicted = rows.column("loss"), published(rows)
    r2 = 1 - np.sum((predicted - loss) ** 2) / np.sum((loss - loss.mean()) ** 2)
    objective = huber(np.log(predicted / loss), 1e-3).sum()
    print(f"published law on its {len(rows)} rows: R2 {r2:.7f}, Huber objective {objective:.9f}")
    for name, split in epoch_splits(options.tables):
        laws = options.law or ["auto", "repetition", "effective-repetition", "additive-data"]
        show(name, "loss", split, laws, "mean_relative_error", {})
        error = np.mean(np.abs(published(split.test) / split.test.column("loss") - 1))
        print(f"{'':24s} published constants, fitted to rows of both sides {100 * error:.4g}")


if __name__ == "__main__":
    main()
