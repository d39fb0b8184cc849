"""Predicted against observed for rows that the law has not seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.backtest.predictions import Prediction
from analysis.plots import style

MAX_TARGETS = 10
BACKTEST_SIZE = (6.4, 5.2)  # inches


def figure_backtest(predictions: Mapping[str, Prediction], law: str, what: str = "held-out runs") -> Figure:
    """A figure of `draw_backtest`."""
    with style.styled():
        figure, axes = style.new_figure(*BACKTEST_SIZE)
        draw_backtest(axes, predictions, law, what)
    return figure


def draw_backtest(axes: Axes, predictions: Mapping[str, Prediction], law: str, what: str = "held-out runs") -> None:
    """Draw one dot per held-out row with its 90% prediction interval; the diagonal is a perfect prediction.

    Args:
        axes: where.
        predictions: by target; the first ten are drawn.
        law: the law's name, for the title.
        what: which rows were held out, in words.
    """
    shown = dict(list(predictions.items())[:MAX_TARGETS])
    values = np.concatenate([np.concatenate([p.observed, p.predicted]) for p in shown.values()])
    margin = 0.05 * float(np.ptp(values)) or 0.1
    limits = (float(values.min()) - margin, float(values.max()) + margin)
    axes.plot(limits, limits, color=style.MUTED, linewidth=1, zorder=1)
    for (name, prediction), colour in zip(shown.items(), style.PALETTE, strict=False):
        if prediction.low is not None and prediction.high is not None:
            axes.vlines(prediction.observed, prediction.low, prediction.high, color=colour, alpha=0.3, linewidth=1.2)
        axes.plot(prediction.observed, prediction.predicted, "o", color=colour, markersize=5, alpha=0.85, label=name)
    axes.set(xlim=limits, ylim=limits, xlabel="observed loss, nats per token", ylabel="predicted loss, nats per token")
    axes.set_aspect("equal")
    axes.set_title(f"{law}: {style.short(what, 40)}")
    if len(shown) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
