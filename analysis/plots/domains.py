"""Loss by evaluation domain: the recommended mixture beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style


def figure_domains(losses: Mapping[str, Mapping[str, float]], title: str = "Loss on each domain") -> Figure:
    """A figure of `draw_domains`."""
    with style.styled():
        figure, axes = style.new_figure(height=height_of(losses))
        draw_domains(axes, losses, title)
    return figure


def draw_domains(axes: Axes, losses: Mapping[str, Mapping[str, float]], title: str = "Loss on each domain") -> None:
    """Draw one row per evaluation domain, one mark per candidate.

    Args:
        axes: where.
        losses: by candidate, then by evaluation domain, nats per token; a candidate may lack a domain.
        title: what is shown (predicted or measured).
    """
    evals = list(dict.fromkeys(name for values in losses.values() for name in values))
    rows = np.arange(len(evals))
    for number, (candidate, values) in enumerate(losses.items()):
        axes.plot(
            [values.get(name, np.nan) for name in evals],
            rows,
            "o" if number == 0 else "Dsv^"[(number - 1) % 4],
            color=style.PALETTE[number % len(style.PALETTE)],
            markersize=9 if number == 0 else 6,
            alpha=0.9,
            linestyle="none",
            zorder=4 if number == 0 else 3,
            label=candidate.replace("_", " "),
        )
    axes.set_yticks(rows, [style.short(name) for name in evals])
    axes.set_ylim(len(evals) - 0.5, -0.5)
    axes.set_xlabel("loss, nats per token (left is better)")
    axes.set_title(title)
    style.legend_below(axes)


def height_of(losses: Mapping[str, Mapping[str, float]]) -> float:
    """Inches that so many evaluation domains take."""
    return 1.6 + 0.36 * len({name for values in losses.values() for name in values})
