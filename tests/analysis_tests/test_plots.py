"""Figures: what they compute, and that hostile names and odd tables do not break them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis.backtest.predictions import Prediction
from analysis.plots import style
from analysis.plots.backtest import figure_backtest
from analysis.plots.curve import figure_curve
from analysis.plots.domains import figure_domains
from analysis.plots.frontier import figure_frontier
from analysis.plots.isoflop import figure_isoflop
from analysis.plots.mixture import figure_mixture
from analysis.plots.points import FrontierPoint
from analysis.plots.style import save, to_svg
from mixlab.errors import ConfigError, FitError
from mixlab.laws.isoflop import fit_isoflop
from mixlab.laws.profiles import left_out
from mixlab.runs.table import Runs

HOSTILE = "<script>alert(1)</script> $x_{"


def points() -> list[FrontierPoint]:
    weights = {"web": 0.6, HOSTILE: 0.4}
    return [FrontierPoint(c, c**0.5 / 50, c**0.5 * 8, 3 - 0.1 * i, 2.9 - 0.1 * i, 3.1 - 0.1 * i, weights)
            for i, c in enumerate(np.geomspace(1e15, 1e17, 5))]  # fmt: skip


def isoflop_table(budgets: int, sizes: int = 7) -> Runs:
    """Budgets at sizes around each optimum, and a larger one of a single run."""
    c = np.repeat(1e18 * 2.0 ** np.arange(budgets), sizes)
    n = np.sqrt(c / 6) * np.tile(np.exp(np.linspace(-1, 1, sizes)), budgets)
    c, n = np.append(c, 2 * c[-1]), np.append(n, n[-1])
    loss = 1.7 + 400 * n**-0.3 + 400 * (c / 6 / n) ** -0.3
    return Runs.from_frame(pd.DataFrame({"params": n, "tokens": c / 6 / n, "flops": c, "loss": loss}))


def stars(axes: Axes) -> list[float]:
    """The N of each star that is drawn."""
    found = [line.get_xdata() for line in axes.lines if line.get_marker() == "*"]
    return [float(x[0]) for x in found if len(x)]


@pytest.mark.parametrize(("budgets", "bar"), [(3, False), (12, True)])
def test_isoflop_shows_every_usable_budget_and_names_the_others(budgets: int, bar: bool) -> None:
    table = isoflop_table(budgets)
    _, fitted = fit_isoflop(table, bootstrap=0)
    figure = figure_isoflop(table, "loss")
    axes = figure.axes[0]
    assert stars(axes) == [one.optimum for one in fitted if one.curve is not None]
    assert len(stars(axes)) == budgets
    (note,) = axes.texts
    assert note.get_text() == "\n".join(left_out(fitted))
    assert "have no parabola: fewer than 5 sizes" in note.get_text().replace(" has ", " have ")
    assert len(figure.axes) == 1 + bar
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sum("FLOPs" in text for text in told) == (0 if bar else budgets + 1)
    # The largest budget is drawn in its colour, a single run though it is.
    largest = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() == "o"]
    assert [float(line.get_ydata()[0]) for line in largest] == [table.column("loss")[-1]]
    assert largest[0].get_color() != style.OTHER


def test_isoflop_greys_the_unusable_among_many_budgets() -> None:
    table = isoflop_table(12)
    thin = table.select((table.flops() != 4e18) | (table.params() > np.sqrt(4e18 / 6)))  # three sizes are left
    axes = figure_isoflop(thin, "loss").axes[0]
    assert len(stars(axes)) == 11
    grey = [line for line in axes.lines if line.get_color() == style.OTHER and len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in grey] == [3]
    assert "other budgets" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_isoflop_and_the_fit_agree_that_nothing_is_usable(planted: Runs) -> None:
    axes = figure_isoflop(planted, "loss").axes[0]
    assert stars(axes) == []
    assert "best size" not in [text.get_text() for text in axes.get_legend().get_texts()]
    with pytest.raises(FitError, match="no mixture was run at 5 sizes"):
        fit_isoflop(planted)
    assert axes.texts[0].get_text() == "3 budgets (1e15 to 1.6e16) have no parabola: no mixture was run at 5 sizes"


def test_figures_escape_names(planted: Runs) -> None:
    weights = {"web": 0.6, HOSTILE: 0.4}
    drawn = [
        figure_mixture(weights, {"web": (0.5, 0.7)}, {"uniform": {"web": 0.5, HOSTILE: 0.5}}),
        figure_domains({"recommended": {"web": 2.0, HOSTILE: 3.0}, "uniform": {"web": 2.1}}),
        figure_frontier(points(), 1e16),
        figure_curve(planted, "loss", points(), points()[-1], "joint"),
        figure_isoflop(planted, "loss"),
        figure_backtest({HOSTILE: Prediction(np.array([1.0, 2.0]), np.array([1.1, 2.1]))}, "joint"),
    ]
    for figure in drawn:
        svg = to_svg(figure)
        assert svg.startswith("<svg")
        assert "<script>" not in svg


def test_same_figure_same_bytes() -> None:
    assert to_svg(figure_frontier(points())) == to_svg(figure_frontier(points()))


def test_save_refuses_other_formats(tmp_path: Path) -> None:
    figure = figure_domains({"a": {"web": 1.0}})
    with pytest.raises(ConfigError, match=r"\.png, \.svg"):
        save(figure, tmp_path / "figure.gif")
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
