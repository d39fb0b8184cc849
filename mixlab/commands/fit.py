"""`mixlab fit`: a law fitted to a run table, with intervals and a status."""

from __future__ import annotations

from typing import Any

import click

import mixlab
from mixlab.api.keep import keep_in_study
from mixlab.commands.options.common import json_option, law_option, print_result, runs_options
from mixlab.shown import Shown


@click.command()
@click.argument("runs", type=click.Path())
@law_option("isoflop", "two-step")
@click.option("--target", default="loss", show_default=True, help="The column to fit.")
@click.option("--bootstrap", type=click.IntRange(min=0), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the resamples.")
@click.option("--params-column", metavar="COL", help="Which column is N (default: params).")
@runs_options
@json_option
def fit(
    runs: str,
    law: str,
    target: str,
    bootstrap: int,
    seed: int,
    params_column: str | None,
    reading: dict[str, Any],
    as_json: bool,
) -> int:
    """Fit a scaling law to RUNS: a CSV or Parquet table, or a study's folder (whose fit.json is then written)."""
    result: Shown
    if law == "isoflop":
        result = mixlab.fit_isoflop(
            runs, target, bootstrap=bootstrap, params_column=params_column, seed=seed, **reading
        )
    elif law == "two-step":
        result = mixlab.fit_task(runs, target, bootstrap=bootstrap, seed=seed, params_column=params_column, **reading)
    else:
        result = mixlab.fit(
            runs,
            target,
            law=law,
            bootstrap=0,
            parameter_draws=bootstrap,
            seed=seed,
            params_column=params_column,
            **reading,
        )
    keep_in_study(runs, "fit", result)
    print_result(result, as_json)
    return 0
