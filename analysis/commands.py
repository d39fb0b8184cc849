"""`mixlab backtest`, `mixlab plot` and `mixlab report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from analysis.backtest.backtest import Backtest, default_targets, matching_targets
from analysis.backtest.backtest import backtest as run_backtest
from analysis.backtest.holdout import Holdout, split_holdout, split_largest
from analysis.plots.backtest import figure_backtest
from analysis.plots.curve import figure_curve
from analysis.plots.domains import figure_domains
from analysis.plots.frontier import figure_frontier
from analysis.plots.isoflop import figure_isoflop
from analysis.plots.mixture import figure_mixture
from analysis.plots.style import SUFFIXES, domain_colours, save
from analysis.plots.task import figure_task
from analysis.report.build import baseline_mixtures, candidate_losses, write_report
from analysis.report.picture import BEYOND, STEPS, Picture, gather, to_point
from mixlab.commands.options import QUANTITY, json_option, print_json, say
from mixlab.errors import ConfigError, FitError
from mixlab.runs.cost import cost_of
from mixlab.runs.read import load_runs
from mixlab.runs.table import Runs
from mixlab.tasks.predict import mixture_of, predict_at
from mixlab.tasks.two_step import fit_two_step

F = TypeVar("F", bound=Callable[..., Any])

KINDS = {
    "isoflop": frozenset[str](),
    "curve": frozenset({"answer", "frontier"}),
    "mixture": frozenset({"answer"}),
    "backtest": frozenset({"test"}),
    "frontier": frozenset({"answer", "frontier"}),
    "domains": frozenset({"answer"}),
    "task": frozenset(),
}
COLUMNS = {  # heading and decimals; short, so that a table fits into 80 columns
    "mean_relative_error": ("error", 2),
    "mae": ("MAE", 3),
    "r2": ("R2", 2),
    "spearman": ("rho", 3),
    "regret_at_1": ("regret", 3),
    "decision_accuracy": ("pairs", 2),
    "coverage_90": ("held", 2),
    "width_90": ("width", 1),
}
LEGEND = "error: mean relative, %; rho: Spearman; pairs: ranked right; held, width (%): of the 90% interval"


@click.command()
@click.argument("runs", type=click.Path())
@click.option("--holdout", metavar="EXPR", help='Rows to predict, a pandas query such as "flops > 1e18".')
@click.option("--against", type=click.Path(), metavar="RUNS2", help="Predict the rows of another table.")
@click.option("--law", default="auto", show_default=True, help="A law's name, or auto.")
@click.option(
    "--target", "targets", multiple=True, metavar="COL", help="Column or pattern such as 'loss.*' (again for more)."
)
@click.option("--where", metavar="EXPR", help="Use only these rows.")
@click.option("--continue-runs", is_flag=True, help="Let runs stand on both sides: predict their later points.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Resamples of the curve of two-step.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@json_option
def backtest(
    runs: str,
    holdout: str | None,
    against: str | None,
    law: str,
    targets: tuple[str, ...],
    where: str | None,
    continue_runs: bool,
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> int:
    """Fit RUNS without some rows, predict those, and compare with the obvious baselines."""
    if (holdout is None) == (against is None):
        raise ConfigError("a backtest needs one of --holdout and --against", 'for instance --holdout "flops > 1e18"')
    if continue_runs and holdout is None:
        raise ConfigError("--continue-runs goes with --holdout; two tables are two sets of runs")
    table = load_runs(runs)
    table = table.where(where) if where else table
    if holdout is not None:
        split = split_holdout(table, holdout, continue_runs=continue_runs)
    else:
        other = load_runs(str(against))
        split = Holdout(table, other.where(where) if where else other)
    wanted = matching_targets(table, targets) if targets else default_targets(table)
    result = run_backtest(split, wanted, law=law, bootstrap=bootstrap, seed=seed)
    for warning in result.warnings:
        say(f"warning: {warning}")
    print_json(result.to_json()) if as_json else _show(result)
    return 0


def _fit_options(command: F) -> F:
    """Add `--law`, `--where` and `--bootstrap`: what is fitted to which rows, and how often to resamples of them."""
    for option in (
        click.option(
            "--bootstrap",
            type=click.IntRange(min=10),
            default=100,
            show_default=True,
            help="Resamples, of a new answer.",
        ),
        click.option("--where", metavar="EXPR", help="Use only these rows."),
        click.option("--law", help="A law's name, or auto."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("runs", type=click.Path())
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File (.png, .svg or .pdf); default KIND.png.")
@click.option("--target", metavar="COL", help="Loss column (isoflop, curve, backtest), or acc.<task> (task).")
@click.option("--flops", type=QUANTITY, help="Budget of what is recommended or predicted (not isoflop, backtest).")
@_fit_options
@json_option
def plot(
    kind: str,
    runs: str,
    output: Path | None,
    target: str | None,
    flops: float | None,
    law: str | None,
    where: str | None,
    bootstrap: int,
    as_json: bool,
) -> int:
    """Draw one figure of RUNS."""
    if target is not None and kind not in ("isoflop", "curve", "backtest", "task"):
        raise ConfigError(f"`{kind}` shows no single loss column, but got --target {target}", "leave --target out")
    if flops is not None and "answer" not in KINDS[kind] and kind != "task":
        raise ConfigError(f"`{kind}` shows no recommendation, but got --flops", "leave --flops out")
    path = output or Path(f"{kind}.png")
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"a figure is written as {', '.join(SUFFIXES)}, but got {path.name}")
    if kind == "task":
        table = load_runs(runs)
        figure, notes = _task_figure(table.where(where) if where else table, target, flops, law or "auto", bootstrap)
    else:
        picture = gather(runs, flops=flops, law=law, where=where, bootstrap=bootstrap, parts=KINDS[kind] - {"test"})
        figure, notes = _figure(kind, picture, target), picture.notes
    for note in notes:
        say(f"note: {note}")
    save(figure, path)
    print_json({"kind": kind, "file": str(path), "notes": notes}) if as_json else say(f"wrote {path}")
    return 0


@click.command()
@click.argument("runs", type=click.Path())
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: report.html, in the study's folder.")
@click.option("--flops", type=QUANTITY, help="Budget of the recommendation.")
@_fit_options
@json_option
def report(
    runs: str,
    output: Path | None,
    flops: float | None,
    law: str | None,
    where: str | None,
    bootstrap: int,
    as_json: bool,
) -> int:
    """Write one self-contained HTML page about RUNS."""
    path = output or (Path(runs) / "report.html" if Path(runs).is_dir() else Path("report.html"))
    picture = gather(runs, flops=flops, law=law, where=where, bootstrap=bootstrap)
    for note in picture.notes:
        say(f"note: {note}")
    write_report(picture, path)
    print_json({"file": str(path), "notes": picture.notes}) if as_json else say(f"wrote {path}")
    return 0


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
        star = to_point(answer) if answer is not None and own else None
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


def _task_figure(
    table: Runs, target: str | None, flops: float | None, law: str, bootstrap: int
) -> tuple[Figure, list[str]]:
    """Both steps towards a benchmark, and what is to be said about them."""
    if target is None:
        raise ConfigError("`task` needs a benchmark", "name its column with --target acc.<task>")
    try:
        mixture = mixture_of(table, {})
    except ConfigError as error:
        raise ConfigError(error.message, "`task` draws runs of one mixture: give a table of those") from None
    chain, cost = fit_two_step(table, target, law=law, bootstrap=bootstrap), cost_of(table)
    spent = table.flops()
    answer = predict_at(chain, flops or BEYOND * float(spent.max()), cost=cost, mixture=mixture)
    budgets = np.geomspace(spent.min(), 1.5 * max(answer.flops, float(spent.max())), STEPS)
    points = [predict_at(chain, float(budget), cost=cost, mixture=mixture) for budget in budgets]
    return figure_task(table, chain, points, answer), list(dict.fromkeys([*chain.warnings, *answer.warnings]))


def _show(result: Backtest) -> None:
    console = Console()
    console.print(f"{result.law}: fitted {result.rows_fit} rows, predicted {result.rows_test}", highlight=False)
    everything = {result.law: result.targets} | result.baselines
    tables = {target: {name: each[target] for name, each in everything.items()} for target in result.targets}
    if len(tables) > 1:
        mean = {name: _mean(list(each.values())) for name, each in everything.items()}
        tables[f"mean of {len(tables)} targets"] = mean
    for target, scores in tables.items():
        told = [key for key in COLUMNS if any(row[key] is not None for row in scores.values())]
        table = Table(title=target, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("law", no_wrap=True)
        for key in told:
            table.add_column(COLUMNS[key][0], justify="right", no_wrap=True)
        for name, row in scores.items():
            table.add_row(name, *("-" if row[key] is None else f"{row[key]:.{COLUMNS[key][1]}f}" for key in told))
        console.print(table)
    console.print(LEGEND, style="dim", highlight=False)


def _mean(targets: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric over the targets; None where a target lacks it."""
    found: dict[str, float | None] = {}
    for key in COLUMNS:
        values = [one[key] for one in targets]
        told = [value for value in values if value is not None]
        found[key] = sum(told) / len(told) if len(told) == len(values) else None
    return found
