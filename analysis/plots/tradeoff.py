"""Two objectives against each other, along the best mixtures from one to the other."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from mixlab.api.tradeoff import TradeOff, said

TRADEOFF_SIZE = (6.4, 5.2)  # inches
NAMED = 2  # domains of a mixture that are written beside it


def figure_tradeoff(result: TradeOff) -> Figure:
    """A figure of `draw_tradeoff`."""
    with style.styled():
        figure, axes = style.new_figure(*TRADEOFF_SIZE)
        draw_tradeoff(axes, result)
    return figure


def draw_tradeoff(axes: Axes, result: TradeOff) -> None:
    """Draw the second objective against the first, with the largest weights of the mixtures at both ends."""
    x, y = [one.first for one in result.points], [one.second for one in result.points]
    axes.plot(x, y, color=style.ACCENT, linewidth=2, marker="o", markersize=4)
    for point in (result.points[0], result.points[-1]) if result.points[0].mixture else ():
        top = sorted(point.mixture.items(), key=lambda item: -item[1])[:NAMED]
        text = ", ".join(f"{100 * weight:.0f}% {style.short(name, 14)}" for name, weight in top)
        axes.annotate(text, (point.first, point.second), xytext=(6, 6), textcoords="offset points")
    axes.margins(x=0.25)
    axes.set_xlabel(f"{style.short(said(result.first), 48)}, predicted")
    axes.set_ylabel(f"{style.short(said(result.second), 48)}, predicted")
    axes.set_title("What one objective costs the other")
