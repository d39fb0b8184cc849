"""Loss against compute: what was observed, what the law says, and the recommendation beyond the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.points import FrontierPoint
from mixlab.laws.profiles import budgets
from mixlab.runs.table import Runs
from mixlab.units import format_flops


def figure_curve(
    table: Runs,
    target: str,
    frontier: Sequence[FrontierPoint] = (),
    answer: FrontierPoint | None = None,
    law: str = "",
) -> Figure:
    """A figure of `draw_curve`."""
    with style.styled():
        figure, axes = style.new_figure()
        draw_curve(axes, table, target, frontier, answer, law)
    return figure


def draw_curve(
    axes: Axes,
    table: Runs,
    target: str,
    frontier: Sequence[FrontierPoint] = (),
    answer: FrontierPoint | None = None,
    law: str = "",
) -> None:
    """Draw the best loss of every mixture at each budget, and the frontier that the law expects.

    Args:
        axes: where.
        table: the runs; a grey line is one mixture, at its best size per budget.
        target: the loss column.
        frontier: the law's best over mixtures and sizes, ascending in FLOPs.
        answer: the recommendation, drawn as a star with its interval.
        law: its name, for the legend.
    """
    flops, loss = table.flops(), table.column(target)
    lines = _mixture_lines(table, flops, loss)
    for number, (x, y) in enumerate(lines):
        label = ("one mixture, best size" if table.domains else "best run of each budget") if number == 0 else None
        axes.plot(x, y, "-o", color=style.OTHER, linewidth=0.9, markersize=3, label=label)
    seen = list(flops)
    if frontier:
        x = [point.flops for point in frontier]
        axes.fill_between(
            x, [p.low for p in frontier], [p.high for p in frontier], color=style.ACCENT, alpha=0.15, linewidth=0
        )
        axes.plot(x, [p.loss for p in frontier], color=style.ACCENT, linewidth=2, label=f"best mixture, law: {law}")
        seen += x
    if answer is not None:
        reach = np.clip([[answer.loss - answer.low], [answer.high - answer.loss]], 0, None)
        axes.errorbar(
            [answer.flops], [answer.loss], yerr=reach, fmt="*", color="#D55E00", markersize=15, capsize=4,
            markeredgecolor="white", label="recommended, 90% interval", zorder=5,
        )  # fmt: skip
        seen.append(answer.flops)
    edge = float(flops.max())
    axes.axvline(edge, color=style.MUTED, linewidth=0.9, linestyle=":")
    axes.annotate(
        " largest run", (edge, 1.0), xycoords=("data", "axes fraction"), va="top", fontsize=8.5, color=style.MUTED
    )
    style.log_quantities(axes.xaxis, *style.padded(seen), unit="training compute C, FLOPs", write=format_flops)
    axes.set_ylabel("loss, nats per token")
    axes.set_title("Loss against compute")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _mixture_lines(table: Runs, flops: np.ndarray, loss: np.ndarray) -> list[tuple[list[float], list[float]]]:
    """Per mixture (to 2 decimals, as realised shares wobble), the best run of each budget."""
    if table.domains:
        keys = np.unique(np.round(table.mixtures(), 2), axis=0, return_inverse=True)[1].reshape(-1)
    else:
        keys = np.zeros(len(table), dtype=int)
    number = budgets(flops)
    lines = []
    for key in np.unique(keys):
        x, y = [], []
        for budget in range(number.max() + 1):
            chosen = np.flatnonzero((number == budget) & (keys == key) & np.isfinite(loss))
            if len(chosen):
                best = chosen[loss[chosen].argmin()]
                x.append(float(flops[best]))
                y.append(float(loss[best]))
        lines.append((x, y))
    return lines
