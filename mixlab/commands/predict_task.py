"""`mixlab predict-task`: how well a model will do on benchmarks."""

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


@click.command("predict-task")
@click.argument("runs", type=click.Path())
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    metavar="T",
    help="Benchmark (column acc.T) or pattern such as 'mmlu_*'; repeat it to average several.",
)
@click.option("--flops", type=QUANTITY, help="The budget C.")
@click.option("--params", type=QUANTITY, help="N (default: compute-optimal by step 1).")
@click.option("--tokens", type=QUANTITY, help="D (default: what C buys at N).")
@click.option(
    "--fixed-mix", multiple=True, metavar="D=W,...", help="The mixture to predict for, where the runs differ in theirs."
)
@click.option("--loss", metavar="COL", help="The loss to go through (default: nll.T, else loss, else all loss.<eval>).")
@law_option()
@click.option("--chance", type=click.FloatRange(0, 1), help="Accuracy of guessing, e.g. 0.25 (default: estimated).")
@click.option(
    "--items", type=click.IntRange(min=1), help="Number of questions in the benchmark; adds their sampling noise."
)
@click.option("--bootstrap", type=click.IntRange(min=20), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the resamples.")
@runs_options
@output_option()
@json_option
def predict_task(
    runs: str,
    tasks: tuple[str, ...],
    flops: float | None,
    params: float | None,
    tokens: float | None,
    fixed_mix: tuple[str, ...],
    loss: str | None,
    law: str,
    chance: float | None,
    items: int | None,
    bootstrap: int,
    seed: int,
    reading: dict[str, Any],
    output: Path | None,
    as_json: bool,
) -> int:
    """Predict the accuracy on a benchmark of a model trained at a budget.

    Step 1 predicts a loss from size, tokens and mixture, step 2 the accuracy from that loss.
    """
    result = mixlab.predict_task(
        runs,
        tasks,
        flops,
        params=params,
        tokens=tokens,
        mix=parse_pairs(fixed_mix, "--fixed-mix") or None,
        loss=loss,
        law=law,
        chance=chance,
        items=items,
        bootstrap=bootstrap,
        seed=seed,
        **reading,
    )
    if output is not None:
        write_json(output, result.to_dict())
    print_result(result, as_json)
    return 0
