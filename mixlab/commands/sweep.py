"""`mixlab sweep`: the proxies of a study, trained."""

from __future__ import annotations

import click

import mixlab
from mixlab.commands.options.common import executor_option, json_option, print_json, print_result, say

SOME_FAILED = 3


@click.command()
@click.argument("directory", type=click.Path())
@executor_option
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: the study's, or one per core).")
@click.option("--storage", metavar="URL", help="An Optuna storage URL, or journal:FILE, in place of optuna.db.")
@click.option("--plan", "only_plan", is_flag=True, help="Print runs, FLOPs and expected time, and start nothing.")
@json_option
def sweep(
    directory: str, executor: str, workers: int | None, storage: str | None, only_plan: bool, as_json: bool
) -> int:
    """Train the proxies of the study in DIRECTORY; the same command continues after an interruption."""
    study = mixlab.open_study(directory)
    if only_plan:
        print_result(study.status(executor=executor, workers=workers), as_json)
        return 0
    result = study.sweep(executor=executor, workers=workers, storage=storage)
    print_json(result.to_dict()) if as_json else say(result.sentence)
    return SOME_FAILED if result.count("failed") else 0
