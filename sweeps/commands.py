"""`mixlab sweep`, `mixlab status` and `mixlab verify`."""

from __future__ import annotations

from pathlib import Path

import click

from mixlab.commands.options import QUANTITY, json_option, print_json, print_result, say
from mixlab.study.folder import StudyFolder
from sweeps.driver import sweep as make_sweep
from sweeps.executors.registry import EXECUTORS
from sweeps.progress import ProgressWatcher
from sweeps.proof import MIN_SEEDS, read_mixes
from sweeps.status import sweep_status
from sweeps.verify import verify as make_verification

SOME_FAILED = 3

executor_option = click.option(
    "--executor", type=click.Choice(tuple(EXECUTORS)), default="local", show_default=True, help="Who makes the runs."
)


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
    """Train the proxies of the study in DIRECTORY; the same command goes on after an interruption."""
    folder = StudyFolder.open(directory)
    if only_plan:
        print_result(sweep_status(folder, executor=executor, workers=workers), as_json)
        return 0
    with ProgressWatcher("sweep") as watcher:
        result = make_sweep(folder, executor=executor, workers=workers, storage=storage, watcher=watcher)
    print_json(result.to_dict()) if as_json else say(result.sentence)
    return SOME_FAILED if result.count("failed") else 0


@click.command()
@click.argument("directory", type=click.Path())
@json_option
def status(directory: str, as_json: bool) -> int:
    """What ran, what failed, what is left of the first round, and what it will cost."""
    state = sweep_status(StudyFolder.open(directory))
    print_result(state, as_json)
    for failure in state.failures:
        say(f"failed: {failure['run_id']}: {failure['error']}")
    return 0


@click.command()
@click.argument("directory", type=click.Path())
@click.option(
    "--flops", type=QUANTITY, help="Training FLOPs of each run (default: 4 times the sweep's largest budget)."
)
@click.option("--seeds", type=click.IntRange(min=MIN_SEEDS), default=3, show_default=True, help="Runs per mixture.")
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
    folder = StudyFolder.open(directory)
    own = read_mixes(mixes)
    say("fitting the sweep and naming the candidates")
    with ProgressWatcher("verify") as watcher:
        result = make_verification(
            folder, flops=flops, seeds=seeds, mixes=own, executor=executor, workers=workers, watcher=watcher
        )
    print_result(result, as_json)
    return 0
