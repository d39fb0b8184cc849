"""`mixlab sweep`, `mixlab status` and `mixlab verify`."""

from __future__ import annotations

from statistics import stdev

import click
from rich.console import Console
from rich.table import Table

from mixlab.commands.options import QUANTITY, json_option, print_json, say
from mixlab.study.folder import StudyFolder
from mixlab.units import format_flops, format_quantity, format_seconds
from sweeps.driver import SweepResult
from sweeps.driver import sweep as make_sweep
from sweeps.executors.registry import EXECUTORS, make_executor
from sweeps.progress import ProgressWatcher
from sweeps.status import SweepStatus, sweep_status
from sweeps.tracking import make_tracker
from sweeps.verify import Verification, plan_proof, run_proof

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
        _show_status(sweep_status(folder, executor=executor, workers=workers), as_json)
        return 0
    with ProgressWatcher("sweep") as watcher:
        result = make_sweep(folder, executor=executor, workers=workers, storage=storage, watcher=watcher)
    print_json(result.to_dict()) if as_json else _show_sweep(result)
    return SOME_FAILED if result.count("failed") else 0


@click.command()
@click.argument("directory", type=click.Path())
@json_option
def status(directory: str, as_json: bool) -> int:
    """What ran, what failed, what is left of the first round, and what it will cost."""
    state = sweep_status(StudyFolder.open(directory))
    _show_status(state, as_json)
    for failure in state.failures:
        say(f"failed: {failure['run_id']}: {failure['error']}")
    return 0


@click.command()
@click.argument("directory", type=click.Path())
@click.option(
    "--flops", type=QUANTITY, help="Training FLOPs of each run (default: 4 times the sweep's largest budget)."
)
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True, help="Runs per mixture.")
@executor_option
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes.")
@json_option
def verify(directory: str, flops: float | None, seeds: int, executor: str, workers: int | None, as_json: bool) -> int:
    """Train the recommendation and the baselines beyond the sweep, and compare with what was predicted."""
    folder = StudyFolder.open(directory)
    say("fitting the sweep and naming the candidates")
    proof = plan_proof(folder, flops, seeds)
    config = proof.study.config
    tracker = make_tracker(config.tracking, config.name, folder.root)
    with ProgressWatcher("verify") as watcher:
        result = run_proof(folder, proof, make_executor(executor, folder, workers), tracker, watcher)
    print_json(result.to_dict()) if as_json else _show_verification(result)
    return 0


def _show_sweep(result: SweepResult) -> None:
    say(
        f"{result.count('done')} runs done, {result.count('diverged')} diverged, {result.count('failed')} failed: "
        f"{result.points} points in {result.table}"
    )


def _show_status(state: SweepStatus, as_json: bool) -> None:
    for warning in state.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(state.to_dict())
        return
    console, config = Console(), state.plan.config
    budgets = sorted(config.sweep.budgets)
    sizes = Table(
        title=f"{config.name}: {state.runs} runs, {state.points} points; tokens by FLOPs", title_justify="left"
    )
    for heading in ("model", "parameters", *map(format_flops, budgets)):
        sizes.add_column(heading, justify="right")
    for shape, tokens in zip(state.plan.shapes, state.plan.tokens, strict=True):
        skipped = [""] * (len(budgets) - len(tokens))  # too few tokens per parameter
        sizes.add_row(shape.label, format_quantity(shape.params), *skipped, *map(format_quantity, tokens))
    console.print(sizes)
    if any(len(tokens) < len(budgets) for tokens in state.plan.tokens):
        limit = config.proxies.min_tokens_per_param
        console.print(f"left out: fewer than {limit:g} tokens per parameter (proxies.min_tokens_per_param)")
    console.print(
        f"{state.done} done, {state.left} left, {state.failed} failed, {state.diverged} diverged\n"
        f"{format_flops(state.flops_left)} FLOPs left of {format_flops(state.flops)}: about "
        f"{format_seconds(state.seconds_left)} on {state.workers} worker(s), "
        f"{state.device}, {state.engine} engine, {state.precision}",
        highlight=False,
    )
    if state.left:
        size = format_quantity(state.checkpoint_bytes)
        console.print(f"{size}B of disk for their trunks and models", highlight=False)
    if state.later_rounds:
        console.print(f"{state.later_rounds} later round(s) of {config.sweep.proposals} mixtures come on top")


def _show_verification(result: Verification) -> None:
    table = Table(
        title=f"{format_flops(result.flops)} FLOPs: {format_quantity(result.params)} parameters, "
        f"{format_quantity(result.tokens)} tokens",
        title_justify="left",
    )
    seeds = len(next(iter(result.candidates.values())).measured)
    for heading in ("mixture", "measured", f"sd of {seeds} seeds", "predicted", "90% interval"):
        table.add_column(heading, justify="left" if heading == "mixture" else "right")
    for name, candidate in sorted(result.candidates.items(), key=lambda item: item[1].mean):
        table.add_row(
            name.replace("_", " "),
            f"{candidate.mean:.4f}",
            f"{stdev(candidate.measured):.4f}",
            f"{candidate.predicted['mean']:.4f}",
            f"{candidate.predicted['low']:.4f} to {candidate.predicted['high']:.4f}",
        )
    console = Console()
    console.print(table)
    console.print(result.verdict, highlight=False)
    for warning in result.warnings:
        say(f"warning: {warning}")
