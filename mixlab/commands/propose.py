"""`mixlab propose`: which runs to make next, or to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import mixlab
from mixlab.commands.options.common import (
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
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="The most runs.")
@click.option("--flops", type=QUANTITY, help="C that is asked about (default: the study's target).")
@click.option("--budget", type=QUANTITY, help="FLOPs for all new runs (default: what so many of RUNS cost on average).")
@click.option("--params", type=QUANTITY, help="Fix N of the question.")
@click.option("--tokens", type=QUANTITY, help="Fix D of the question.")
@click.option("--min", "lower", multiple=True, metavar="D=W,...", help="Smallest weights.")
@click.option("--max", "upper", multiple=True, metavar="D=W,...", help="Largest weights.")
@click.option("--constraint", "constraints", multiple=True, metavar="TEXT", help='On several weights: "a + b >= 0.3".')
@click.option("--max-domains", type=click.IntRange(min=1), help="Most domains with weight.")
@click.option("--unique", multiple=True, metavar="D=TOKENS,...", help="Unique tokens by domain.")
@click.option("--max-epochs", type=click.FloatRange(min=0, min_open=True), help="Most epochs of a domain.")
@click.option("--objective", multiple=True, metavar="EVAL=W,...", help="Weights over evaluation sets.")
@law_option(default=None)
@click.option("--seed", type=int, help="Seed of what is drawn (default: the study's, else 0).")
@runs_options
@output_option()
@json_option
def propose(
    runs: str,
    count: int,
    flops: float | None,
    budget: float | None,
    params: float | None,
    tokens: float | None,
    lower: tuple[str, ...],
    upper: tuple[str, ...],
    constraints: tuple[str, ...],
    max_domains: int | None,
    unique: tuple[str, ...],
    max_epochs: float | None,
    objective: tuple[str, ...],
    law: str | None,
    seed: int | None,
    reading: dict[str, Any],
    output: Path | None,
    as_json: bool,
) -> int:
    """The runs that take most off the doubt about the best mixture at a budget, or the advice to stop.

    RUNS is a CSV or Parquet table, or a study's folder. What can be run are the sizes and tokens at which runs of it
    ended. Stop where the answer is expected to lose less than half the noise of one run.
    """
    found = mixlab.propose(
        runs,
        count,
        flops=flops,
        budget=budget,
        params=params,
        tokens=tokens,
        targets=parse_pairs(objective, "--objective") or None,
        min=parse_pairs(lower, "--min"),
        max=parse_pairs(upper, "--max"),
        constraints=constraints,
        max_domains=max_domains,
        supply=parse_pairs(unique, "--unique"),
        max_epochs=max_epochs,
        law=law,
        seed=seed,
        **reading,
    )
    if output is not None:
        write_json(output, found.to_dict())
    print_result(found, as_json)
    return 0
