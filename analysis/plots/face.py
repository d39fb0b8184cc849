"""The plots of `import mixlab`: each draws a result into axes of the caller's, or into new ones, and returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from matplotlib.axes import Axes

from analysis.backtest.backtest import Backtest
from analysis.plots import style
from analysis.plots.backtest import BACKTEST_SIZE, draw_backtest
from analysis.plots.curve import draw_curve
from analysis.plots.domains import draw_domains
from analysis.plots.domains import height_of as height_of_domains
from analysis.plots.frontier import draw_frontier, size_of
from analysis.plots.isoflop import draw_isoflop
from analysis.plots.mixture import draw_mixture
from analysis.plots.mixture import height_of as height_of_mixture
from analysis.plots.points import STEPS, FrontierPoint, trace_frontier
from analysis.plots.task import TASK_SIZE, draw_task
from analysis.plots.tradeoff import TRADEOFF_SIZE, draw_tradeoff
from mixlab.api.asked import Asking
from mixlab.api.fit import Fit
from mixlab.api.given import Quantity, quantity
from mixlab.api.tasks import TaskPrediction
from mixlab.api.tradeoff import TradeOff
from mixlab.errors import ConfigError, require_kind
from mixlab.objective import eval_of
from mixlab.runs.table import Runs
from mixlab.search.question import BEYOND, Question
from mixlab.search.recommendation import Recommendation
from mixlab.tasks.predict import predict_at
from mixlab.tasks.two_step import TwoStep


def plot_isoflop(result: Fit | Runs, ax: Axes | None = None, *, target: str | None = None) -> Axes:
    """Loss against N at each budget, with the parabolas' optima and, of a fit, the law's lines.

    Args:
        result: a fit, or runs.
        ax: where; absent: new axes.
        target: the loss column; absent: the fit's, else `loss`.
    """
    require_kind("result", result, (Fit, Runs), "what mixlab.fit or mixlab.read_runs gave")
    axes = style.axes_or_new(ax)
    if isinstance(result, Runs):
        draw_isoflop(axes, result, target or "loss")
        return axes
    column = target or _own_column(result)
    own = list(result.surface.objective) == [column] or column == "loss"
    draw_isoflop(axes, result.runs, column, result.surface if own else None)
    return axes


def plot_curve(
    fit: Fit, ax: Axes | None = None, *, recommendation: Recommendation | None = None, target: str | None = None
) -> Axes:
    """Loss against compute: the runs, the best that the law knows at each budget, and a recommendation."""
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    if recommendation is not None:
        _require_recommendation(recommendation)
    axes = style.axes_or_new(ax)
    column = target or _own_column(fit)
    answer = FrontierPoint.of(recommendation) if recommendation is not None else None
    until = recommendation.flops if recommendation is not None else BEYOND * fit.surface.max_flops
    points = trace_frontier(fit, until, recommendation) if fit.surface.sized else []
    draw_curve(axes, fit.runs, column, points, answer, fit.law)
    return axes


def plot_mixture(recommendation: Recommendation, ax: Axes | None = None) -> Axes:
    """The recommended weights with their intervals, beside the baselines."""
    _require_mixture(recommendation)
    axes = style.axes_or_new(ax, height=height_of_mixture(recommendation.mixture))
    draw_mixture(axes, recommendation.mixture, recommendation.mixture_interval, _baselines(recommendation))
    return axes


def plot_domains(fit: Fit, recommendation: Recommendation, ax: Axes | None = None) -> Axes:
    """The predicted loss on each evaluation set: the recommended mixture beside the baselines."""
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    _require_mixture(recommendation)
    if not fit.surface.objective.evals:
        raise ConfigError("the objective has no loss.<eval> columns", "fit several targets, or plot the mixture")
    losses = {}
    for name, weights in {"recommended": recommendation.mixture, **_baselines(recommendation)}.items():
        h = np.array([weights.get(domain, 0.0) for domain in fit.surface.domains])
        predicted = fit.surface.predict_targets(h, recommendation.params, recommendation.tokens)
        losses[name] = {eval_of(column): float(value[0]) for column, value in predicted.items()}
    axes = style.axes_or_new(ax, height=height_of_domains(losses))
    draw_domains(axes, losses, "Predicted loss on each domain")
    return axes


def plot_backtest(backtest: Backtest, ax: Axes | None = None) -> Axes:
    """Predicted against observed losses of the held-out rows."""
    require_kind("backtest", backtest, Backtest, "what mixlab.backtest gave")
    axes = style.axes_or_new(ax, *BACKTEST_SIZE)
    draw_backtest(axes, backtest.predictions, backtest.law)
    return axes


def plot_frontier(
    fit: Fit, axes: Sequence[Axes] | None = None, *, flops: Quantity | None = None, **asking: Unpack[Asking]
) -> Sequence[Axes]:
    """The best N, D, loss and mixture as the budget grows.

    Args:
        fit: a fit whose runs vary N apart from D.
        axes: four with mixtures, else three; absent: new ones.
        flops: where the budgets end; absent: beyond four times the largest run's.
        asking: what is asked at every budget, such as `constraints`; see `mixlab.recommend`.
    """
    require_kind("fit", fit, Fit, "what mixlab.fit gave")
    points = trace_frontier(fit, quantity(flops, "flops") or BEYOND * fit.surface.max_flops, **asking)
    panels = _panels(axes, (2, 2) if points[0].mixture else (1, 3), size_of(points))
    draw_frontier(panels, points, float(fit.runs.flops().max()))
    return panels


def plot_task(prediction: TaskPrediction, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Both steps to one benchmark: loss against compute, and accuracy against loss.

    Raises:
        ConfigError: when the prediction is a mean of several benchmarks, which has no one curve.
    """
    require_kind("prediction", prediction, TaskPrediction, "what mixlab.predict_task gave")
    chain, answer = prediction.chain, prediction.expected
    if not isinstance(chain, TwoStep):
        raise ConfigError("a mean of benchmarks has no one curve to draw", "predict one task")
    mixture = prediction.mixture_of_runs
    budgets = np.geomspace(prediction.runs.flops().min(), 1.5 * max(answer.flops, prediction.runs.flops().max()), STEPS)
    points = [predict_at(chain, Question(float(c), prediction.cost, mixture=mixture)) for c in budgets]
    panels = _panels(axes, (1, 2), TASK_SIZE)
    draw_task(panels, prediction.runs, chain, points, answer)
    return panels


def plot_tradeoff(result: TradeOff, ax: Axes | None = None) -> Axes:
    """One objective against the other, along the best mixtures between them."""
    require_kind("result", result, TradeOff, "what mixlab.trade_off gave")
    axes = style.axes_or_new(ax, *TRADEOFF_SIZE)
    draw_tradeoff(axes, result)
    return axes


def _own_column(fit: Fit) -> str:
    """The column that a fit is shown by: its own, or the one that holds the sum of its losses."""
    columns = list(fit.surface.objective)
    return columns[0] if len(columns) == 1 or not fit.runs.has("loss") else "loss"


def _panels(axes: Sequence[Axes] | None, grid: tuple[int, int], size: tuple[float, float]) -> Sequence[Axes]:
    count = grid[0] * grid[1]
    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        for ax in given:
            require_kind("axes", ax, Axes, "Axes of matplotlib", f"plt.subplots({grid[0]}, {grid[1]})")
        if len(given) != count:
            raise ConfigError(
                f"this plot needs {count} axes, but got {len(given)}", f"plt.subplots({grid[0]}, {grid[1]})"
            )
        return given
    import matplotlib.pyplot as plt  # the caller's backend, and only where it is asked for

    with style.styled():
        _, made = plt.subplots(*grid, figsize=size, layout="constrained")
    return list(made.ravel())


def _baselines(recommendation: Recommendation) -> dict[str, dict[str, float]]:
    """Weights of the baselines."""
    return {name: dict(one["mixture"]) for name, one in recommendation.baselines.items()}


def _require_mixture(recommendation: Recommendation) -> None:
    _require_recommendation(recommendation)
    if not recommendation.mixture:
        raise ConfigError("the recommendation has no mixture: the runs have no mix.<domain> columns")


def _require_recommendation(recommendation: Recommendation) -> None:
    require_kind("recommendation", recommendation, Recommendation, "what mixlab.recommend gave")
