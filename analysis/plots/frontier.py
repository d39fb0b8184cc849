"""The compute-optimal frontier: size, tokens, loss and mixture against the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.points import FrontierPoint
from mixlab.units import format_flops


def figure_frontier(
    frontier: Sequence[FrontierPoint], largest: float | None = None, colours: Mapping[str, str] | None = None
) -> Figure:
    """A figure of `draw_frontier`."""
    mixed = bool(frontier[0].mixture)
    with style.styled():
        figure = Figure(figsize=size_of(frontier), layout="constrained")
        draw_frontier(figure.subplots(2, 2).ravel() if mixed else figure.subplots(1, 3), frontier, largest, colours)
        if mixed:
            _legend(figure, figure.axes[-1], len(frontier[0].mixture))
        figure.suptitle("What is best as the budget grows (dotted: largest run)", x=0.01, ha="left", fontweight="bold")
    return figure


def draw_frontier(
    panels: Sequence[Axes],
    frontier: Sequence[FrontierPoint],
    largest: float | None = None,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw N*, D* and loss against C, and the weights where there is a mixture.

    Args:
        panels: three axes, or four with mixtures.
        frontier: ascending in FLOPs.
        largest: FLOPs of the largest run, drawn as the edge of what was seen.
        colours: by domain.
    """
    x = [point.flops for point in frontier]
    domains = list(frontier[0].mixture)
    for axes, values, label in (
        (panels[0], [p.params for p in frontier], "best size N*, parameters"),
        (panels[1], [p.tokens for p in frontier], "best tokens D*"),
    ):
        axes.plot(x, values, color=style.ACCENT, linewidth=2)
        style.log_quantities(axes.yaxis, *style.padded(values), unit=label)
    panels[2].plot(x, [p.loss for p in frontier], color=style.ACCENT, linewidth=2)
    panels[2].fill_between(
        x, [p.low for p in frontier], [p.high for p in frontier], color=style.ACCENT, alpha=0.15, linewidth=0
    )
    panels[2].set_ylabel("loss, nats per token")
    if domains:
        palette = colours or style.domain_colours(domains)
        layers = [[100 * p.mixture[name] for p in frontier] for name in domains]
        panels[3].stackplot(
            x, layers, colors=[palette[name] for name in domains], labels=[style.short(n, 18) for n in domains]
        )
        panels[3].set(ylim=(0, 100), ylabel="mixture, % of tokens")
    for axes in panels:
        style.log_quantities(axes.xaxis, x[0] / 1.1, x[-1] * 1.1, unit="compute C, FLOPs", write=format_flops)
        if largest is not None:
            axes.axvline(largest, color=style.MUTED, linewidth=0.9, linestyle=":")


def size_of(frontier: Sequence[FrontierPoint]) -> tuple[float, float]:
    """Inches that the panels take."""
    return (9.0, 6.4) if frontier[0].mixture else (10.5, 3.6)


def _legend(figure: Figure, axes: Axes, domains: int) -> None:
    columns = min(domains, 5)
    # A legend fills its columns one after the other; taken in this order it reads along its rows.
    order = [i for column in range(columns) for i in range(column, domains, columns)]
    handles, labels = axes.get_legend_handles_labels()
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=columns)
