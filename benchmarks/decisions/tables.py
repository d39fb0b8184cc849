"""Tables of regrets: medians and quartiles, paired comparisons, and what the strategies' own arithmetic takes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

BASELINES = ("best-of-largest", "prior", "uniform")
WORSE = 0.01  # nats: a seed that is worse by more than this counts
KEYS = ["simulator", "seed", "budget"]


def merged(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `name` and `name/16` the rows of lower median, by simulator and budget; `cheap` says whether of the latter."""
    frame = frame.assign(
        method=frame["strategy"].str.removesuffix("/16").str.removesuffix("/halving"),
        cheap=frame["strategy"].str.contains("/"),
    )
    medians = frame.groupby(["simulator", "budget", "method", "strategy"])["regret"].median().reset_index()
    best = medians.sort_values("regret", kind="stable").drop_duplicates(["simulator", "budget", "method"])
    return frame.merge(best[["simulator", "budget", "strategy"]], on=["simulator", "budget", "strategy"])


def regrets(frame: pd.DataFrame) -> str:
    """By simulator, a line per method and a column per budget: the median, and the quartiles in brackets."""
    lines = []
    budgets = sorted(frame["budget"].unique())
    best = merged(frame)
    for simulator in dict.fromkeys(frame["simulator"]):
        here = best[best["simulator"] == simulator]
        truths = here.drop_duplicates("seed")
        lines.append(
            f"\n{simulator}: regret at the target in nats, {len(truths)} seeds; "
            f"floor {spread(truths['floor'])}, prior {spread(truths['prior'])}; * on the smallest proxies\n"
            f"{'runs of N0':>18} " + " ".join(f"{budget:>22g}" for budget in budgets)
        )
        for method in dict.fromkeys(here["method"]):
            cells = []
            for budget in budgets:
                rows = here[(here["method"] == method) & (here["budget"] == budget)]
                mark = "*" if len(rows) and rows["cheap"].iloc[0] else " "
                cells.append(f"{spread(rows['regret']) + mark:>22}" if len(rows) else f"{'-':>22}")
            lines.append(f"{method:>18} " + " ".join(cells))
    return "\n".join(lines)


def paired(frame: pd.DataFrame, names: Sequence[str]) -> str:
    """Methods beside the baselines, seed by seed: the median difference, and the share of seeds that are worse."""
    lines = [f"\npaired over seeds: median difference, and seeds worse by more than {number(WORSE)}"]
    best = merged(frame)
    for name in names:
        own = best[best["method"] == name]
        if own.empty:
            continue
        lines.append(f"{name:>18} " + " ".join(f"{f'- {base}':>22}" for base in BASELINES))
        for (simulator, budget), rows in own.groupby(["simulator", "budget"], sort=False):
            cells = []
            for base in BASELINES:
                other = frame[frame["strategy"] == base]
                both = rows.merge(other, on=KEYS, suffixes=("", "_base"))
                gap = both["regret"] - both["regret_base"]
                cells.append(f"{number(gap.median())} {(gap > WORSE).mean():4.0%}" if len(gap) else "-")
            lines.append(f"{f'{simulator} {budget:g}':>18} " + " ".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def slow(frame: pd.DataFrame) -> str:
    """Seconds per answer, the slowest first."""
    seconds = frame.groupby("strategy")["seconds"].agg(["median", "max"]).sort_values("median", ascending=False)
    return "\nseconds per answer, median (most): " + ", ".join(
        f"{name} {row['median']:.2g} ({row['max']:.2g})" for name, row in seconds.iterrows() if row["max"] >= 0.05
    )


def spread(values: pd.Series) -> str:
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return f"{number(middle)} [{number(low)} {number(high)}]"


def number(value: float) -> str:
    """As tables write it: .0123."""
    return f"{value:.4f}".replace("0.", ".", 1)
