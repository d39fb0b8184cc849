"""The recommended mixture with its intervals, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style

BASELINE_MARKS = {"best_observed": "D", "proportional": "s", "uniform": "^"}


def figure_mixture(
    mixture: Mapping[str, float],
    interval: Mapping[str, Sequence[float]],
    baselines: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """A figure of `draw_mixture`."""
    with style.styled():
        figure, axes = style.new_figure(height=height_of(mixture))
        draw_mixture(axes, mixture, interval, baselines, colours)
    return figure


def draw_mixture(
    axes: Axes,
    mixture: Mapping[str, float],
    interval: Mapping[str, Sequence[float]],
    baselines: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw weights as bars, the largest first.

    Args:
        axes: where.
        mixture: recommended weight by domain.
        interval: 90% interval of each weight, (low, high); a domain may be absent.
        baselines: weights by baseline name and domain, drawn as marks.
        colours: by domain (default: by position in `mixture`).
    """
    palette = dict(colours or style.domain_colours(list(mixture)))
    names = sorted(mixture, key=lambda name: -mixture[name])
    rows = np.arange(len(names))
    weights = np.array([mixture[name] for name in names])
    axes.barh(rows, weights, height=0.62, color=[palette.get(name, style.ACCENT) for name in names])
    known = [i for i, name in enumerate(names) if name in interval]
    bounds = np.array([interval[names[i]] for i in known], dtype=float).reshape(-1, 2)
    centre = weights[known]
    reach = np.clip(np.stack([centre - bounds[:, 0], bounds[:, 1] - centre]), 0, None)
    if known:
        bars = axes.errorbar(centre, rows[known], xerr=reach, fmt="none", ecolor=style.INK, capsize=3, linewidth=1.2)
        bars.set_label("90% interval")
    for name, weights_of in baselines.items():
        axes.plot(
            [weights_of.get(domain, 0.0) for domain in names],
            rows,
            BASELINE_MARKS.get(name, "x"),
            color=style.INK,
            markerfacecolor="white",
            markersize=6,
            linestyle="none",
            label=name.replace("_", " "),
        )
    for row, weight in zip(rows, weights, strict=True):
        axes.annotate(f"{100 * weight:.1f}%", (1.0, row), xycoords=("axes fraction", "data"), va="center", ha="right")
    reached = [weights.max(), *bounds[:, 1], *(max(w.values(), default=0.0) for w in baselines.values())]
    axes.set_xlim(0, 1.18 * max(reached))
    axes.set_yticks(rows, [style.short(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.set_xlabel("weight, share of training tokens")
    axes.set_title("Recommended mixture")
    style.legend_below(axes)


def height_of(mixture: Mapping[str, float]) -> float:
    """Inches that so many domains take."""
    return 1.5 + 0.42 * len(mixture)
