"""One figure of a table or a study, by the name of its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.backtest.backtest import run_backtest
from analysis.backtest.holdout import split_largest
from analysis.plots.backtest import figure_backtest
from analysis.plots.curve import figure_curve
from analysis.plots.domains import figure_domains
from analysis.plots.frontier import figure_frontier
from analysis.plots.isoflop import figure_isoflop
from analysis.plots.mixture import figure_mixture
from analysis.plots.points import STEPS, FrontierPoint
from analysis.plots.style import SUFFIXES, domain_colours, save
from analysis.plots.task import figure_task
from analysis.plots.tradeoff import figure_tradeoff
from analysis.report.build import baseline_mixtures, candidate_losses, write_report
from analysis.report.picture import Picture, gather
from mixlab.api.asked import ASKING
from mixlab.api.fit import fit
from mixlab.api.given import Quantity, Weights, count, quantity
from mixlab.api.tradeoff import trade_off
from mixlab.errors import ConfigError, FitError
from mixlab.runs.cost import cost_of
from mixlab.runs.read import RunsLike, read_runs
from mixlab.runs.table import Runs
from mixlab.search.question import BEYOND, Question
from mixlab.tasks.predict import mixture_of, predict_at
from mixlab.tasks.two_step import fit_two_step

SHOWS = {  # what each shows of a picture
    "isoflop": frozenset[str](),
    "curve": frozenset({"answer", "frontier"}),
    "mixture": frozenset({"answer"}),
    "backtest": frozenset({"test"}),
    "frontier": frozenset({"answer", "frontier"}),
    "domains": frozenset({"answer"}),
    "task": frozenset(),
    "tradeoff": frozenset(),
}


def plot(
    kind: str,
    runs: RunsLike,
    path: str | Path | None = None,
    *,
    target: str | None = None,
    flops: Quantity | None = None,
    law: str | None = None,
    bootstrap: int = 100,
    against: Weights | None = None,
    **options: Any,
) -> tuple[Path, list[str]]:
    """Draw one figure into a file.

    Args:
        kind: `isoflop`, `curve`, `mixture`, `backtest`, `frontier`, `domains`, `task` or `tradeoff`.
        runs: a run table (a path or a frame), or a study folder.
        path: .png, .svg or .pdf; absent: `<kind>.png`.
        target: a loss column (isoflop, curve, backtest), or `acc.<task>` (task).
        flops: the budget of what is recommended or predicted (not isoflop, backtest).
        law: a law's name; absent: the study's choice, else `auto`.
        bootstrap: resamples of a new answer.
        against: the other objective (tradeoff).
        options: keywords of `mixlab.read_runs`, and what is asked of the answer, as in `mixlab.recommend`.

    Returns:
        The file, and what is left out of it and why.

    Raises:
        ConfigError: when the kind does not show what is asked for.
        FitError: when the runs cannot carry it.
    """
    _require_known(plot, options)
    budget, bootstrap = quantity(flops, "flops"), count(bootstrap, "bootstrap")
    if kind not in SHOWS:
        raise ConfigError(f"a plot is one of {', '.join(SHOWS)}, but got `{kind}`")
    if target is not None and kind not in ("isoflop", "curve", "backtest", "task"):
        raise ConfigError(f"`{kind}` shows no single loss column, but got the target {target}", "leave it out")
    if (against is None) is (kind == "tradeoff"):
        said = "needs another objective, but got none" if against is None else "shows one objective, but got `against`"
        raise ConfigError(f"`{kind}` {said}", "name its losses in against" if against is None else "draw tradeoff")
    if flops is not None and "answer" not in SHOWS[kind] and kind not in ("task", "tradeoff"):
        raise ConfigError(f"`{kind}` shows no recommendation, but got `flops`", "leave it out")
    if "answer" not in SHOWS[kind] and kind != "tradeoff" and (asked := sorted(set(options) & set(ASKING))):
        raise ConfigError(f"`{kind}` shows no recommendation, but got `{asked[0]}`", "leave it out")
    file = Path(path) if path is not None else Path(f"{kind}.png")
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"a figure is written as {', '.join(SUFFIXES)}, but got {file.name}")
    if kind == "task":
        figure, notes = _task_figure(read_runs(runs, **options), target, budget, law or "auto", bootstrap)
    elif kind == "tradeoff":
        assert against is not None
        figure, notes = _tradeoff_figure(runs, against, budget, law, options)
    else:
        parts = SHOWS[kind] - {"test"}
        picture = gather(runs, flops=budget, law=law, bootstrap=bootstrap, parts=parts, **options)
        figure, notes = _figure(kind, picture, target), picture.notes
    save(figure, file)
    return file, notes


def report(
    runs: RunsLike,
    path: str | Path | None = None,
    *,
    flops: Quantity | None = None,
    law: str | None = None,
    bootstrap: int = 100,
    **options: Any,
) -> tuple[Path, list[str]]:
    """Write one self-contained HTML page about runs or a study.

    Args:
        runs: a run table (a path or a frame), or a study folder.
        path: absent: report.html, in the study's folder.
        flops: the budget of the recommendation.
        law: a law's name; absent: the study's choice, else `auto`.
        bootstrap: resamples of a new answer.
        options: keywords of `mixlab.read_runs`, and what is asked of the answer, as in `mixlab.recommend`.

    Returns:
        The file, and what is left out of it and why.
    """
    _require_known(report, options)
    budget, bootstrap = quantity(flops, "flops"), count(bootstrap, "bootstrap")
    picture = gather(runs, flops=budget, law=law, bootstrap=bootstrap, **options)
    study = picture.problem.study
    file = Path(path) if path is not None else study.report if study is not None else Path("report.html")
    write_report(picture, file)
    return file, picture.notes


def _require_known(call: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse a keyword that neither `call` nor `read_runs` nor a question has.

    Raises:
        ConfigError: with all that there are.
    """
    ours, theirs = (
        [one.name for one in signature(each).parameters.values() if one.kind is Parameter.KEYWORD_ONLY]
        for each in (call, read_runs)
    )
    for name in options:
        if name not in (*theirs, *ASKING):
            hint = f"it takes {', '.join((*ours, *theirs, *ASKING))}"
            raise ConfigError(f"mixlab.{call.__name__} has no keyword `{name}`", hint)


def _figure(kind: str, picture: Picture, target: str | None) -> Figure:
    column = target or picture.target
    table, surface, answer = picture.table, picture.surface, picture.answer
    table.column(column)
    own = column == picture.target  # the law and the frontier are about the objective only
    if kind == "isoflop":
        return figure_isoflop(table, column, surface if own else None)
    if kind == "backtest":
        law = surface.law if surface is not None else "auto"
        result = run_backtest(split_largest(table), [column], law=law, baselines=False)
        return figure_backtest(result.predictions, result.law, "largest budget held out")
    if kind == "curve":
        frontier = picture.frontier if own else []
        star = FrontierPoint.of(answer) if answer is not None and own else None
        return figure_curve(table, column, frontier, star, surface.law if surface is not None else "")
    if answer is None or (kind == "frontier" and not picture.frontier):
        raise FitError(f"`{kind}` needs a recommendation, but there is none: {'; '.join(picture.notes)}")
    colours = domain_colours(table.domains)
    if kind == "frontier":
        return figure_frontier(picture.frontier, float(table.flops().max()), colours)
    if not answer.mixture:
        raise ConfigError(f"`{kind}` needs mixtures, but the table has no mix.<domain> column", "draw isoflop or curve")
    if kind == "mixture":
        return figure_mixture(answer.mixture, answer.mixture_interval, baseline_mixtures(answer), colours)
    losses, title = candidate_losses(picture)
    if not losses:
        raise ConfigError("`domains` needs loss.<eval> columns in the objective", "draw mixture or curve")
    return figure_domains(losses, title)


def _tradeoff_figure(
    runs: RunsLike, against: Weights, flops: float | None, law: str | None, options: dict[str, Any]
) -> tuple[Figure, list[str]]:
    """What one objective costs the other, and what is to be said about it."""
    asking: Any = {name: options.pop(name) for name in ASKING if name in options}
    fitted = fit(runs, law=law, supply=asking.get("supply"), bootstrap=0, **options)
    target = fitted.problem.facts.target
    budget = flops or (target.flops if target is not None else BEYOND * fitted.surface.max_flops)
    result = trade_off(fitted, against, budget, **asking)
    return figure_tradeoff(result), list(result.notes)


def _task_figure(
    table: Runs, target: str | None, flops: float | None, law: str, bootstrap: int
) -> tuple[Figure, list[str]]:
    """Both steps towards a benchmark, and what is to be said about them."""
    if target is None:
        raise ConfigError("`task` needs a benchmark", "name its column, acc.<task>, as `target`")
    try:
        mixture = mixture_of(table, {})
    except ConfigError as error:
        raise ConfigError(error.message, "`task` draws runs of one mixture: give a table of those") from None
    chain, cost = fit_two_step(table, target, law=law, bootstrap=bootstrap), cost_of(table)
    spent = table.flops()
    answer = predict_at(chain, Question(flops or BEYOND * float(spent.max()), cost, mixture=mixture))
    budgets = np.geomspace(spent.min(), 1.5 * max(answer.flops, float(spent.max())), STEPS)
    points = [predict_at(chain, Question(float(budget), cost, mixture=mixture)) for budget in budgets]
    return figure_task(table, chain, points, answer), list(dict.fromkeys([*chain.warnings, *answer.warnings]))
