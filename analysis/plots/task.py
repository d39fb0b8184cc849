"""A benchmark in two steps: loss against compute, and accuracy against loss, with the prediction in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from mixlab.runs.table import Runs
from mixlab.tasks.predict import ExpectedAccuracy
from mixlab.tasks.two_step import TwoStep
from mixlab.units import format_flops, format_quantity

STAR = "#D55E00"
TASK_SIZE = (10.4, 4.5)  # inches


def figure_task(table: Runs, chain: TwoStep, frontier: Sequence[ExpectedAccuracy], answer: ExpectedAccuracy) -> Figure:
    """A figure of `draw_task`."""
    with style.styled():
        figure = Figure(figsize=TASK_SIZE, layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_task((left, right), table, chain, frontier, answer)
    return figure


def draw_task(
    panels: Sequence[Axes],
    table: Runs,
    chain: TwoStep,
    frontier: Sequence[ExpectedAccuracy],
    answer: ExpectedAccuracy,
) -> None:
    """Draw both steps side by side; the loss axes point the same way, from bad to good.

    Args:
        panels: two axes.
        table: the runs.
        chain: both steps, fitted to them.
        frontier: predictions of compute-optimal models, ascending in FLOPs.
        answer: the prediction that is asked for, a star in both panels.
    """
    left, right = panels
    flops, loss, accuracy = table.flops(), table.objective(chain.loss), table.column(chain.target)
    here = np.isfinite(loss) & np.isfinite(accuracy)
    _draw_losses(left, flops[here], loss[here], frontier, answer)
    _draw_accuracies(right, loss[here], accuracy[here], chain, answer)
    name = next(iter(chain.loss)) if len(chain.loss) == 1 else "mean loss"
    left.set_ylabel(style.short(name, 40))
    right.set_xlabel(style.short(name, 40))
    left.set_title("Step 1: loss against compute")
    right.set_title(f"Step 2: {style.short(chain.target.removeprefix('acc.'))} against loss")


def _draw_losses(
    axes: Axes, flops: np.ndarray, loss: np.ndarray, frontier: Sequence[ExpectedAccuracy], answer: ExpectedAccuracy
) -> None:
    x = [point.flops for point in frontier]
    low, mean, high = ([point.loss[key] for point in frontier] for key in ("low", "mean", "high"))
    axes.fill_between(x, low, high, color=style.ACCENT, alpha=0.15, linewidth=0)
    axes.plot(x, mean, color=style.ACCENT, linewidth=2, label="best model at each C")
    axes.plot(flops, loss, "o", color=style.INK, alpha=0.55, markersize=4.5, markeredgewidth=0, label="runs")
    _star(axes, answer.flops, answer.loss["mean"], y=answer.loss)
    axes.annotate(
        f"{format_quantity(answer.params)} on {format_quantity(answer.tokens)} tokens ",
        (answer.flops, answer.loss["low"]), xytext=(0, -16), textcoords="offset points", ha="right", fontsize=9,
        color=STAR,
    )  # fmt: skip
    axes.set_ylim(bottom=answer.loss["low"] - 0.1 * (float(loss.max()) - answer.loss["low"]))
    style.log_quantities(
        axes.xaxis, *style.padded([*flops, *x, answer.flops]), unit="training compute C, FLOPs", write=format_flops
    )
    axes.legend(loc="upper right")


def _draw_accuracies(
    axes: Axes, loss: np.ndarray, accuracy: np.ndarray, chain: TwoStep, answer: ExpectedAccuracy
) -> None:
    end = min(float(loss.min()), answer.loss["low"])
    margin = 0.04 * (float(loss.max()) - end)
    x = np.linspace(end - margin, float(loss.max()) + margin, 300)
    for number, one in enumerate(chain.candidates):
        used = number == 0
        role = "" if used else ", in the interval alone" if one.admitted else ", ruled out"
        axes.plot(
            x, one.curve.predict(x)[0], color=style.ACCENT if used else style.OTHER, linewidth=2 if used else 1.2,
            linestyle="-" if used else "--", label=one.curve.form.name + role,
        )  # fmt: skip
    if len(chain.resamples[0].theta) > 1:
        band = np.quantile(np.concatenate([curve.predict(x) for curve in chain.resamples]), [0.05, 0.95], axis=0)
        axes.fill_between(x, *band, color=style.ACCENT, alpha=0.15, linewidth=0)
    floor = chain.curve.floor
    axes.axhline(floor, color=style.MUTED, linewidth=0.9, linestyle=":")
    axes.annotate(
        f"floor {floor:.2f}{'' if chain.chance is None else ' (guessing)'}", (1.0, floor), xytext=(-2, -3),
        xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="top", fontsize=8.5,
        color=style.MUTED,
    )  # fmt: skip
    axes.plot(loss, accuracy, "o", color=style.INK, alpha=0.55, markersize=4.5, markeredgewidth=0)
    _star(axes, answer.loss["mean"], answer.accuracy["mean"], x=answer.loss, y=answer.accuracy)
    axes.annotate(
        f"{answer.accuracy['mean']:.3f}  [{answer.accuracy['low']:.3f}, {answer.accuracy['high']:.3f}]",
        (answer.loss["mean"], answer.accuracy["high"]), xytext=(0, 6), textcoords="offset points", ha="right",
        fontsize=9, color=STAR,
    )  # fmt: skip
    axes.set(xlim=(x[-1], x[0]), ylabel="accuracy")
    axes.set_ylim(
        min(float(accuracy.min()), floor) - 0.05, min(1.05, max(answer.accuracy["high"], accuracy.max()) + 0.1)
    )
    axes.legend(loc="upper left")


def _star(
    axes: Axes, at: float, value: float, x: dict[str, float] | None = None, y: dict[str, float] | None = None
) -> None:
    """The prediction, with its 90% intervals."""

    def reach(one: dict[str, float] | None) -> np.ndarray | None:
        return None if one is None else np.array([[one["mean"] - one["low"]], [one["high"] - one["mean"]]])

    axes.errorbar(
        [at], [value], xerr=reach(x), yerr=reach(y), fmt="*", color=STAR, markersize=15, capsize=4,
        markeredgecolor="white", zorder=5, label="prediction, 90% interval" if x is None else None,
    )  # fmt: skip
