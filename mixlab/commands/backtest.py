"""`mixlab backtest`: fit without some rows, and predict them."""

from __future__ import annotations

from typing import Any

import click

import mixlab
from mixlab.commands.options.common import json_option, law_option, print_json, runs_options, say


@click.command()
@click.argument("runs", type=click.Path())
@click.option("--holdout", metavar="EXPR", help='Rows to predict, such as "flops > 1e18".')
@click.option("--against", type=click.Path(), metavar="RUNS2", help="Predict the rows of another table.")
@law_option("two-step")
@click.option(
    "--target", "targets", multiple=True, metavar="COL", help="Column or pattern such as 'loss.*' (repeat for more)."
)
@click.option("--continue-runs", is_flag=True, help="Runs may have rows on both sides: predict their later points.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Resamples of the curve of two-step.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the resamples.")
@runs_options
@json_option
def backtest(
    runs: str,
    holdout: str | None,
    against: str | None,
    law: str,
    targets: tuple[str, ...],
    continue_runs: bool,
    bootstrap: int,
    seed: int,
    reading: dict[str, Any],
    as_json: bool,
) -> int:
    """Fit RUNS without some rows, predict those, and compare with the obvious baselines."""
    result = mixlab.backtest(
        runs,
        holdout,
        against=against,
        target=targets,
        law=law,
        continue_runs=continue_runs,
        bootstrap=bootstrap,
        seed=seed,
        **reading,
    )
    for warning in result.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(result.to_dict())
    else:
        from rich.console import Console

        result.show(Console())
    return 0
