"""isoFLOP profiles: loss against model size, one colour per budget, with parabolas and their optima."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.plots import style
from mixlab.arrays import Array
from mixlab.laws.choice.rows import groups_of_mixtures
from mixlab.laws.surface import Surface
from mixlab.runs.table import Runs
from mixlab.units import format_flops

SAME_BUDGET = 1.25  # budgets closer than this factor are one profile
MAX_PROFILES = 8


def figure_isoflop(table: Runs, target: str, surface: Surface | None = None) -> Figure:
    """A figure of `draw_isoflop`."""
    with style.styled():
        figure, axes = style.new_figure()
        draw_isoflop(axes, table, target, surface)
    return figure


def draw_isoflop(axes: Axes, table: Runs, target: str, surface: Surface | None = None) -> None:
    """Draw loss against N per budget.

    A faint dot is a run, a full dot the mean over the mixtures that were run at every size. The parabola in log N goes
    through the full dots where there are three sizes; its minimum is marked only when it is a minimum and lies between
    the sizes (Hoffmann et al. 2022, approach 2). The dashed line is the law's, averaged over the same mixtures.
    """
    params, flops, loss = table.params(), table.flops(), table.column(target)
    groups = group_budgets(flops)
    colours = _shades(len(groups))
    for colour, rows in zip(colours, groups, strict=True):
        label = f"{format_flops(float(np.median(flops[rows])), 2)} FLOPs"
        axes.plot(params[rows], loss[rows], "o", color=colour, alpha=0.25, markersize=3.5, markeredgewidth=0)
        shared = rows & shared_mixtures(table.mixtures(), params, rows)
        sizes, means = size_means(params[shared], loss[shared])
        axes.plot(sizes, means, "o", color=colour, markersize=6, label=label)
        _draw_parabola(axes, sizes, means, colour)
        if surface is not None:
            _draw_law(axes, surface, table.select(shared), sizes, colour)
    style.log_quantities(axes.xaxis, *style.padded(params), unit="model size N, parameters")
    axes.set_ylabel("loss, nats per token")
    axes.set_title("Loss against model size at each budget")
    axes.plot([], [], "*", color=style.INK, markersize=11, label="best size")
    if surface is not None:
        axes.plot([], [], "--", color=style.MUTED, linewidth=1.2, label=f"law: {surface.law}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def group_budgets(flops: Array) -> list[NDArray[np.bool_]]:
    """Masks of rows of one budget, ascending; of more than `MAX_PROFILES` the largest groups."""
    order = np.argsort(flops)
    jump = np.diff(np.log(flops[order]), prepend=-np.inf) > np.log(SAME_BUDGET)
    labels = np.empty(len(flops), dtype=int)
    labels[order] = np.cumsum(jump)
    groups = [labels == label for label in np.unique(labels)]
    kept = sorted(groups, key=lambda rows: -int(rows.sum()))[:MAX_PROFILES]
    return sorted(kept, key=lambda rows: float(flops[rows].min()))


def shared_mixtures(mixtures: Array, params: Array, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows whose mixture was run at every size of the profile `rows`; all rows where no mixture was.

    A mean over whatever was run at a size would show the difference between mixtures as one between sizes.
    """
    group = groups_of_mixtures(mixtures)
    sizes = len(np.unique(params[rows]))
    complete = [g for g in np.unique(group[rows]) if len(np.unique(params[rows & (group == g)])) == sizes]
    return np.isin(group, complete) if complete else np.ones(len(params), dtype=bool)


def size_means(params: Array, loss: Array) -> tuple[Array, Array]:
    """Distinct N and the mean loss at each, both of shape (sizes,)."""
    finite = np.isfinite(loss)
    sizes, where = np.unique(params[finite], return_inverse=True)
    return sizes, np.bincount(where, loss[finite]) / np.bincount(where)


def parabola(sizes: Array, means: Array) -> tuple[Array, float | None] | None:
    """Coefficients of the parabola in log N, and the N of its minimum when that lies inside; None below three sizes."""
    if len(sizes) < 3:
        return None
    centre = float(np.log(sizes).mean())
    coefficients = np.polyfit(np.log(sizes) - centre, means, 2)
    if coefficients[0] <= 0:
        return coefficients, None
    best = float(np.exp(centre - coefficients[1] / (2 * coefficients[0])))
    return coefficients, best if sizes[0] <= best <= sizes[-1] else None


def _draw_parabola(axes: Axes, sizes: Array, means: Array, colour: str) -> None:
    found = parabola(sizes, means)
    if found is None:
        return
    coefficients, best = found
    centre = float(np.log(sizes).mean())
    grid = np.linspace(np.log(sizes[0]), np.log(sizes[-1]), 60)
    axes.plot(np.exp(grid), np.polyval(coefficients, grid - centre), color=colour, linewidth=1.6)
    if best is not None:
        height = float(np.polyval(coefficients, np.log(best) - centre))
        axes.plot([best], [height], "*", color=colour, markersize=14, markeredgecolor="white", zorder=5)


def _draw_law(axes: Axes, surface: Surface, rows: Runs, sizes: Array, colour: str) -> None:
    """The law's mean over the profile's mixtures, along N at this budget's tokens."""
    order = [rows.domains.index(name) for name in surface.domains]
    mixtures = np.unique(rows.mixtures()[:, order].round(4), axis=0) if order else np.zeros((1, 0))
    _, log_tokens = size_means(rows.params(), np.log(rows.tokens()))
    grid = np.geomspace(sizes[0], sizes[-1], 40)
    tokens = np.exp(np.interp(np.log(grid), np.log(np.unique(rows.params())), log_tokens))
    every = np.repeat(mixtures, len(grid), axis=0)
    predicted = surface.predict(every, np.tile(grid, len(mixtures)), np.tile(tokens, len(mixtures)))
    means = predicted.reshape(len(mixtures), len(grid)).mean(axis=0)
    axes.plot(grid, means, "--", color=colour, linewidth=1.2, alpha=0.8)


def _shades(count: int) -> list[str]:
    """Colours ordered by lightness, readable without hue: small budgets light, large ones dark."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis_r"](value)) for value in np.linspace(0.18, 0.95, count)]
