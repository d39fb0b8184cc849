"""isoFLOP profiles: loss against model size, a colour for each budget, with the parabolas and their lowest points."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.plots import style
from mixlab.laws.profiles import Profile, left_out, profiles
from mixlab.laws.surface import Surface
from mixlab.runs.table import Runs
from mixlab.units import format_flops

MOST_IN_LEGEND = 8  # budgets with an entry each; more have a colour bar
SHADES = (0.18, 0.95)  # of the colour map: its ends are too light to read, and too dark to tell apart
NOTE_WIDTH = 105  # characters of the note below the axes


def figure_isoflop(table: Runs, target: str, surface: Surface | None = None) -> Figure:
    """A figure of its own; see `draw_isoflop`."""
    with style.styled():
        figure, axes = style.new_figure()
        draw_isoflop(axes, table, target, surface)
    return figure


def draw_isoflop(axes: Axes, table: Runs, target: str, surface: Surface | None = None) -> None:
    """Draw loss against N per budget, as `mixlab.laws.profiles` tells budgets apart and fits their parabolas.

    A dot is a run; where mixtures differ, a full dot is the mean over the mixtures that were run at every size. The
    parabola of a usable budget goes through the full dots, and a star marks its lowest point. Budgets without a
    parabola are named below the axes with the reason; among many budgets their runs are grey, but for the largest. The
    dashed line is the law's, averaged over the same mixtures.

    Args:
        axes: where to draw.
        table: the runs.
        target: the loss column.
        surface: the fitted law, for its dashed lines.
    """
    found = profiles(table, target)
    shown = [one for one in found if one.curve is not None or one is found[-1] or len(found) <= MOST_IN_LEGEND]
    params, loss = table.params(), table.column(target)
    norm, colours = _shades(shown)
    grey = [row for one in found if one not in shown for row in one.rows]
    if grey:
        axes.plot(params[grey], loss[grey], "o", color=style.OTHER, markersize=3, markerfacecolor="none", zorder=1)
    for profile in shown:
        colour = colours(norm(profile.flops))
        means = len(profile.params) < len(profile.shared) or len(profile.shared) < len(profile.rows)
        axes.plot(
            params[profile.rows], loss[profile.rows], "o", color=colour, alpha=0.25 if means else 0.75,
            markersize=3.5, markeredgewidth=0,
        )  # fmt: skip
        if means:
            axes.plot(profile.params, profile.loss, "o", color=colour, markersize=6)
        _draw_parabola(axes, profile, colour)
        if surface is not None and len(profile.params) > 1:
            _draw_law(axes, surface, table, profile, colour)
    style.log_quantities(axes.xaxis, *style.padded(params), unit="model size N, parameters")
    axes.set_ylabel("loss, nats per token")
    axes.set_title("Loss against model size at each budget")
    _explain(axes, found, shown, surface, norm, colours)


def _draw_parabola(axes: Axes, profile: Profile, colour: object) -> None:
    if profile.curve is None:
        return
    grid = np.geomspace(profile.params.min(), profile.params.max(), 60)
    axes.plot(grid, profile.curve(grid), color=colour, linewidth=1.6)
    axes.plot(
        [profile.optimum], [profile.curve.lowest], "*", color=colour, markersize=14, markeredgecolor="white", zorder=5
    )


def _draw_law(axes: Axes, surface: Surface, table: Runs, profile: Profile, colour: object) -> None:
    """The law's mean over the profile's mixtures, along N at what the budget buys in tokens."""
    order = [table.domains.index(name) for name in surface.domains]
    mixtures = np.unique(table.mixtures()[profile.shared][:, order].round(4), axis=0) if order else np.zeros((1, 0))
    n, d, c = (values[profile.shared] for values in (table.params(), table.tokens(), table.flops()))
    sizes, where = np.unique(n, return_inverse=True)
    # FLOPs per parameter and token differ a little between sizes.
    log_cost = np.bincount(where, np.log(c / (n * d))) / np.bincount(where)
    grid = np.geomspace(sizes[0], sizes[-1], 40)
    tokens = profile.flops / (grid * np.exp(np.interp(np.log(grid), np.log(sizes), log_cost)))
    predicted = surface.predict(
        np.repeat(mixtures, len(grid), axis=0), np.tile(grid, len(mixtures)), np.tile(tokens, len(mixtures))
    )
    means = predicted.reshape(len(mixtures), len(grid)).mean(axis=0)
    axes.plot(grid, means, "--", color=colour, linewidth=1.2, alpha=0.8)


def _shades(shown: Sequence[Profile]) -> tuple[LogNorm, ListedColormap]:
    """Colours by log C, ordered by lightness and readable without hue: small budgets light, large ones dark."""
    low, high = shown[0].flops, shown[-1].flops
    return LogNorm(low if low < high else low / 2, high), ListedColormap(
        colormaps["viridis_r"](np.linspace(*SHADES, 256))
    )


def _explain(
    axes: Axes,
    found: Sequence[Profile],
    shown: Sequence[Profile],
    surface: Surface | None,
    norm: LogNorm,
    colours: ListedColormap,
) -> None:
    """The legend, or with many budgets a colour bar beside it, and a note on those without a parabola."""
    many = len(shown) > MOST_IN_LEGEND
    if many:
        ticks = np.geomspace(shown[0].flops, shown[-1].flops, 6).tolist()
        bar = axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes, label="budget C, FLOPs")
        bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_flops(value, 2)))
        bar.outline.set_visible(False)
    else:
        for profile in shown:
            label = f"{format_flops(profile.flops, 2)} FLOPs"
            axes.plot([], [], "o", color=colours(norm(profile.flops)), markersize=6, label=label)
    if any(profile.curve is not None for profile in shown):
        axes.plot([], [], "*", color=style.INK, markersize=11, label="best size")
    if surface is not None:
        axes.plot([], [], "--", color=style.MUTED, linewidth=1.2, label=f"law: {surface.law}")
    if len(shown) < len(found):
        axes.plot([], [], "o", color=style.OTHER, markersize=3, markerfacecolor="none", label="other budgets")
    axes.legend(**({"loc": "best"} if many else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}))
    note = "\n".join(line for text in left_out(found) for line in textwrap.wrap(text, NOTE_WIDTH))
    axes.annotate(
        note, (0, 0), xycoords="axes fraction", xytext=(0, -42), textcoords="offset points", va="top", fontsize=8.5,
        color=style.MUTED,
    )  # fmt: skip
