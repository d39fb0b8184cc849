"""`mixlab recommend`: what to train at a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import mixlab
from mixlab.api.keep import keep_in_study
from mixlab.commands.options import (
    QUANTITY,
    json_option,
    law_option,
    output_option,
    parse_pairs,
    print_result,
    runs_options,
)
from mixlab.files import write_json


@click.command()
@click.argument("runs", type=click.Path())
@click.option("--flops", type=QUANTITY, help="The budget C (default: the study's target).")
@click.option("--objective", multiple=True, metavar="EVAL=W,...", help="Weights over evaluation sets.")
@click.option(
    "--unique", multiple=True, metavar="D=TOKENS,...", help="Unique tokens by domain (tokens=N without mixtures)."
)
@click.option("--max-epochs", type=click.FloatRange(min=0, min_open=True), help="Most epochs of a domain.")
@click.option("--min", "lower", multiple=True, metavar="D=W,...", help="Smallest weights.")
@click.option("--max", "upper", multiple=True, metavar="D=W,...", help="Largest weights.")
@law_option(default=None)
@click.option("--fixed-mix", multiple=True, metavar="D=W,...", help="Keep this mixture and search only the size.")
@click.option("--params", type=QUANTITY, help="Fix N.")
@click.option("--tokens", type=QUANTITY, help="Fix D.")
@click.option("--kl", type=click.FloatRange(min=0), default=0.0, help="Weight of KL(mixture || prior).")
@click.option("--bootstrap", type=click.IntRange(min=20), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, help="Seed of resamples and starts (default: the study's, else 0).")
@runs_options
@output_option()
@json_option
def recommend(
    runs: str,
    flops: float | None,
    objective: tuple[str, ...],
    unique: tuple[str, ...],
    max_epochs: float | None,
    lower: tuple[str, ...],
    upper: tuple[str, ...],
    law: str | None,
    fixed_mix: tuple[str, ...],
    params: float | None,
    tokens: float | None,
    kl: float,
    bootstrap: int,
    seed: int | None,
    reading: dict[str, Any],
    output: Path | None,
    as_json: bool,
) -> int:
    """The mixture, model size and tokens that are best at a budget, by the law that transfers best on RUNS.

    RUNS is a CSV or Parquet table, or a study's folder, whose recommendation.json is then written.
    """
    fitted = mixlab.fit(
        runs,
        targets=parse_pairs(objective, "--objective") or None,
        law=law,
        supply=parse_pairs(unique, "--unique"),
        min=parse_pairs(lower, "--min"),
        max=parse_pairs(upper, "--max"),
        max_epochs=max_epochs,
        bootstrap=bootstrap,
        parameter_draws=0,
        seed=seed,
        **reading,
    )
    mix = parse_pairs(fixed_mix, "--fixed-mix") or None
    answer = mixlab.recommend(fitted, flops, params=params, tokens=tokens, mix=mix, kl=kl)
    keep_in_study(runs, "recommendation", answer)
    if output is not None:
        write_json(output, answer.to_dict())
    print_result(answer, as_json)
    return 0
