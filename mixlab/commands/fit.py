"""`mixlab fit`: a law fitted to a run table, with intervals and a status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mixlab.commands.options import json_option, print_json, say
from mixlab.files import write_json
from mixlab.laws.choice.blend import FitRecipe
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.base import FitResult, Member
from mixlab.laws.forms.chinchilla import optimum
from mixlab.laws.forms.registry import law_choices
from mixlab.laws.isoflop import Profile, fit_isoflop
from mixlab.runs.read import load_runs
from mixlab.tasks.two_step import NAME as TWO_STEP
from mixlab.tasks.two_step import fit_two_step
from mixlab.units import format_flops, format_quantity

LAWS = ("auto", "isoflop", TWO_STEP, *law_choices())


@click.command()
@click.argument("runs", type=click.Path())
@click.option("--law", type=click.Choice(LAWS), default="auto", show_default=True, help="The functional form.")
@click.option("--target", default="loss", show_default=True, help="The column to fit.")
@click.option("--where", metavar="EXPR", help='Keep these rows, e.g. "params > 1e8".')
@click.option("--bootstrap", type=click.IntRange(min=0), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("--params-column", metavar="COL", help="Which column is N (default: params).")
@json_option
def fit(
    runs: str,
    law: str,
    target: str,
    where: str | None,
    bootstrap: int,
    seed: int,
    params_column: str | None,
    as_json: bool,
) -> int:
    """Fit a scaling law to RUNS: a CSV or Parquet table, or a study's folder (whose fit.json is then written)."""
    table = load_runs(runs)
    if where:
        table = table.where(where)
    selection: list[dict[str, Any]] = []
    profiles: list[Profile] = []
    steps: dict[str, dict[str, Any]] = {}
    if law == "isoflop":
        result, profiles = fit_isoflop(table, target, bootstrap, seed)
    elif law == TWO_STEP:
        chain = fit_two_step(table, target, bootstrap=bootstrap, seed=seed, params_column=params_column)
        result = FitResult(**{**vars(chain.fits[target]), "warnings": chain.warnings})
        selection, steps = chain.surface.selection, chain.steps()
    else:
        surface = fit_surface(
            table, target, law=law, bootstrap=0, parameter_draws=bootstrap, seed=seed, params_column=params_column
        )
        fitted = surface.fits[target]
        result = FitResult(**{**vars(fitted), "warnings": [*surface.warnings, *fitted.warnings]})
        selection = surface.selection
    data = {**result.to_json(), "selection": selection, **steps}
    if law == "isoflop":
        data["budgets"] = [profile.to_json() for profile in profiles]

    if Path(runs).is_dir():
        write_json(Path(runs) / "fit.json", data)
    if as_json:
        print_json(data)
    else:
        _show(result, selection, profiles)
        if steps:
            show_forms(Console(), steps["step_2"])
        for warning in result.warnings:
            say(f"note: {warning}")
    return 0


def show_forms(console: Console, step_2: dict[str, Any]) -> None:
    """The curves from loss to accuracy that were tried, the chosen one first."""
    table = Table(title="accuracy from loss L, by the error on runs of lower loss", title_justify="left")
    for heading in ("form", "error", "parameters", "role"):
        table.add_column(heading, justify="right" if heading == "error" else "left")
    for number, row in enumerate(step_2["candidates"]):
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row["params"].items())
        role = "predicts" if number == 0 else "in the interval" if row["admitted"] else "ruled out"
        table.add_row(row["formula"], "-" if row["error"] is None else f"{row['error']:.4f}", numbers, role)
    console.print(table)


def _show(result: FitResult, selection: list[dict[str, Any]], profiles: list[Profile]) -> None:
    console = Console()
    if profiles:
        budgets = Table(title="budgets", title_justify="left")
        for heading in ("C", "runs", "N*", "profile"):
            budgets.add_column(heading, justify="left" if heading == "profile" else "right")
        for profile in profiles:
            at = format_quantity(profile.optimum) if profile.tag == "ok" else "-"
            budgets.add_row(format_flops(profile.flops, 2), str(len(profile.params)), at, profile.tag)
        console.print(budgets)
    if selection:
        chosen = Table(
            title="laws by their error on runs they had not seen; those with a weight are blended", title_justify="left"
        )
        for heading in ("law", "parameters", "more compute", "new mixtures", "weight"):
            chosen.add_column(heading, justify="left" if heading == "law" else "right")
        for row in selection:
            chosen.add_row(
                str(FitRecipe(row["law"], row["emphasis"], row["early"])),
                str(row["parameters"]),
                _percent(row["compute_error"]),
                _percent(row["mixture_error"]),
                f"{row['weight']:.2f}" if row["weight"] else "baseline" if row["baseline"] else "-",
            )
        console.print(chosen)
    if len(result.members) > 1:
        console.print(_members(result.members))
    table = Table(
        title=f"{result.law} fitted to {result.target}: {result.rows} rows, {result.status}", title_justify="left"
    )
    for heading in ("parameter", "value", "90% confidence interval"):
        table.add_column(heading, justify="left" if heading == "parameter" else "right")
    for name, value in result.params.items():
        low, high = result.interval.get(name, (float("nan"), float("nan")))
        table.add_row(name, f"{value:.5g}", f"{low:.5g} to {high:.5g}" if low == low else "")
    console.print(table)
    if result.law == "chinchilla":
        best = optimum(result.params)
        console.print(
            f"compute-optimal at C = 6ND: N* = {best.G:.4g} (C/6)^{best.a:.3f}, D* = (C/6)^{best.b:.3f} / {best.G:.4g}",
            highlight=False,
        )
    console.print(f"objective {result.objective:.6g}", highlight=False)


def _members(members: list[Member]) -> Table:
    """Every member's parameters; they wrap, so that the table fits into any terminal."""
    table = Table(title="members of the blend", title_justify="left")
    table.add_column("law", max_width=22)
    table.add_column("weight", justify="right")
    table.add_column("error", justify="right")
    table.add_column("parameters")
    for one in members:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in one.params.items())
        error = _percent(one.transfer_error if one.transfer_error == one.transfer_error else None)
        table.add_row(str(FitRecipe(one.law, one.emphasis, one.early)), f"{one.weight:.2f}", error, numbers)
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"
