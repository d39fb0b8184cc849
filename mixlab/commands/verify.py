"""`mixlab verify`: the recommendation, proved beyond the sweep."""

from __future__ import annotations

from pathlib import Path

import click

import mixlab
from mixlab.commands.options.common import QUANTITY, executor_option, json_option, print_result, say


@click.command()
@click.argument("directory", type=click.Path())
@click.option(
    "--flops", type=QUANTITY, help="Training FLOPs of each run (default: 4 times the sweep's largest budget)."
)
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True, help="Runs per mixture.")
@click.option(
    "--mix",
    "mixes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A mixture of your own to compare with: a JSON or YAML file of weights by domain, or a recommendation.json.",
)
@executor_option
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes.")
@json_option
def verify(
    directory: str,
    flops: float | None,
    seeds: int,
    mixes: tuple[Path, ...],
    executor: str,
    workers: int | None,
    as_json: bool,
) -> int:
    """Train the recommendation and the baselines beyond the sweep, and compare with what was predicted.

    What is proved is the study's recommendation.json where it is for this budget, else a new recommendation.
    """
    study = mixlab.open_study(directory)
    say("fitting the sweep and choosing the candidates")
    result = study.verify(flops, seeds=seeds, mixes=mixes, executor=executor, workers=workers)
    print_result(result, as_json)
    return 0
