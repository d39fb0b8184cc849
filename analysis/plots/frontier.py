"""The compute-optimal frontier: size, tokens, loss and mixture against the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.curve import FrontierPoint
from mixlab.units import format_flops


def figure_frontier(
    frontier: Sequence[FrontierPoint], largest: float | None = None, colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw N*, D* and loss against C, and the weights where there is a mixture.

    Args:
        frontier: ascending in FLOPs.
        largest: FLOPs of the largest run, drawn as the edge of what was seen.
        colours: by domain.
    """
    x = [point.flops for point in frontier]
    domains = list(frontier[0].mixture)
    panels = 4 if domains else 3
    with style.styled():
        figure = Figure(figsize=(9.0, 6.4) if domains else (10.5, 3.6), layout="constrained")
        grid = figure.subplots(2, 2).ravel() if domains else figure.subplots(1, 3)
        for axes, values, label in (
            (grid[0], [p.params for p in frontier], "best size N*, parameters"),
            (grid[1], [p.tokens for p in frontier], "best tokens D*"),
        ):
            axes.plot(x, values, color=style.ACCENT, linewidth=2)
            style.log_quantities(axes.yaxis, *style.padded(values), unit=label)
        grid[2].plot(x, [p.loss for p in frontier], color=style.ACCENT, linewidth=2)
        grid[2].fill_between(
            x, [p.low for p in frontier], [p.high for p in frontier], color=style.ACCENT, alpha=0.15, linewidth=0
        )
        grid[2].set_ylabel("loss, nats per token")
        if domains:
            palette = colours or style.domain_colours(domains)
            layers = [[100 * p.mixture[name] for p in frontier] for name in domains]
            grid[3].stackplot(
                x, layers, colors=[palette[name] for name in domains], labels=[style.short(n, 18) for n in domains]
            )
            grid[3].set(ylim=(0, 100), ylabel="mixture, % of tokens")
            columns = min(len(domains), 5)
            # A legend fills its columns one after the other; taken in this order it reads along its rows.
            order = [i for column in range(columns) for i in range(column, len(domains), columns)]
            handles, labels = grid[3].get_legend_handles_labels()
            figure.legend(
                [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=columns
            )
        for axes in grid[:panels]:
            style.log_quantities(axes.xaxis, x[0] / 1.1, x[-1] * 1.1, unit="compute C, FLOPs", write=format_flops)
            if largest is not None:
                axes.axvline(largest, color=style.MUTED, linewidth=0.9, linestyle=":")
        figure.suptitle("What is best as the budget grows (dotted: largest run)", x=0.01, ha="left", fontweight="bold")
    return figure
