"""Regret against proxy FLOPs: a panel per simulator, log-log."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd

from benchmarks.decisions.tables import merged

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

COLUMNS, WIDTH, HEIGHT = 3, 9.0, 2.6  # inches: of the page, and of a row of panels
OURS = "#c1272d"
COLOURS = {
    "best-of-largest": "#222222",
    "regmix": "#1f77b4",
    "loglinear-kl": "#2ca02c",
    "mixing-laws": "#98c379",
    "gp": "#9467bd",
    "tpe": "#e0a100",
    "optuna-gp": "#8c6d31",
    "mixlab-today": "#e58e91",
    "mixlab": OURS,
}
LEAST = 1e-4  # nats, of the axis


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Medians by method; quartiles for mixlab's; the prior and the floor as lines."""
    best = merged(frame)
    simulators = list(dict.fromkeys(frame["simulator"]))
    rows = -(-len(simulators) // COLUMNS)
    columns = min(COLUMNS, len(simulators))
    size = (WIDTH * columns / COLUMNS if columns > 1 else 5, HEIGHT * rows + 0.7)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for panel, simulator in zip(panels.flat, simulators, strict=False):
        here = best[best["simulator"] == simulator]
        truths = here.drop_duplicates("seed")
        panel.axhline(max(LEAST, truths["prior"].median()), color="#888888", lw=1, ls="--", label="prior")
        panel.axhline(max(LEAST, truths["floor"].median()), color="#888888", lw=1, ls=":", label="floor")
        for method, colour in COLOURS.items():
            regret = here[here["method"] == method].groupby("budget")["regret"]
            if not len(regret):
                continue
            ours = method == "mixlab"
            middle = regret.median().clip(lower=LEAST)
            panel.plot(middle.index, middle, color=colour, lw=2.4 if ours else 1.2, marker="o", ms=3, label=method)
            if ours:
                low, high = (regret.quantile(q).clip(lower=LEAST) for q in (0.25, 0.75))
                panel.fill_between(middle.index, low, high, color=colour, alpha=0.15, lw=0)
        panel.set(xscale="log", yscale="log", title=simulator)
        panel.set_xticks(budgets := sorted(here["budget"].unique()), [f"{budget:g}" for budget in budgets])
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.2)
    for panel in list(panels.flat)[len(simulators) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("regret, nats")
    for panel in list(panels.flat)[max(0, len(simulators) - columns) : len(simulators)]:  # the lowest of each column
        panel.set_xlabel("proxy FLOPs, in runs of N0")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False, fontsize=8)
    figure.savefig(path, dpi=160)
    plt.close(figure)
