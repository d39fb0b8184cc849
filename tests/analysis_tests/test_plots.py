"""Figures: what they compute, and that hostile names and odd tables do not break them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.backtest.predictions import Prediction
from analysis.plots.backtest import figure_backtest
from analysis.plots.curve import figure_curve
from analysis.plots.domains import figure_domains
from analysis.plots.frontier import figure_frontier
from analysis.plots.isoflop import figure_isoflop, group_budgets, parabola, shared_mixtures
from analysis.plots.mixture import figure_mixture
from analysis.plots.points import FrontierPoint
from analysis.plots.style import save, to_svg
from mixlab.errors import ConfigError
from mixlab.runs.table import Runs

HOSTILE = "<script>alert(1)</script> $x_{"


def points() -> list[FrontierPoint]:
    weights = {"web": 0.6, HOSTILE: 0.4}
    return [FrontierPoint(c, c**0.5 / 50, c**0.5 * 8, 3 - 0.1 * i, 2.9 - 0.1 * i, 3.1 - 0.1 * i, weights)
            for i, c in enumerate(np.geomspace(1e15, 1e17, 5))]  # fmt: skip


def test_parabola_finds_a_planted_optimum() -> None:
    sizes = np.geomspace(1e6, 1e8, 5)
    found = parabola(sizes, 2 + 0.1 * (np.log(sizes) - np.log(7e6)) ** 2)
    assert found is not None
    assert found[1] == pytest.approx(7e6, rel=1e-6)
    concave = parabola(sizes, 2 - 0.1 * (np.log(sizes) - np.log(7e6)) ** 2)
    assert concave is not None
    assert concave[1] is None
    assert parabola(sizes[:2], sizes[:2]) is None


def test_only_mixtures_run_at_every_size_are_averaged() -> None:
    mixtures = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    params = np.array([1e6, 3e6, 3e6, 1e6, 3e6])
    profile = np.ones(5, dtype=bool)
    assert shared_mixtures(mixtures, params, profile).tolist() == [True, True, False, True, True]
    apart = np.array([[0.5, 0.5], [0.9, 0.1]])
    assert shared_mixtures(apart, np.array([1e6, 3e6]), np.ones(2, dtype=bool)).all()


def test_budgets_that_nearly_agree_are_one_profile() -> None:
    groups = group_budgets(np.array([1e18, 3.1e18, 1.02e18, 3e18]))
    assert [rows.tolist() for rows in groups] == [[True, False, True, False], [False, True, False, True]]


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
