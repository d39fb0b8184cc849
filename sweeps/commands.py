"""`mixlab sweep`, `mixlab status` and `mixlab verify`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import stdev
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mixlab.commands.options import QUANTITY, json_option, print_json, say
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from mixlab.units import format_flops, format_quantity, format_seconds
from proxies.backend.choice import Backend, choose_backend
from proxies.backend.speed import measure_rate
from proxies.training.checkpoint import kept_bytes
from sweeps.driver import first_specs, open_plan, run_sweep, worker_count
from sweeps.executors.base import Executor
from sweeps.executors.local import LocalExecutor, flops_left
from sweeps.ledger import Ledger
from sweeps.plan import Plan, evaluation_flops
from sweeps.progress import ProgressWatcher
from sweeps.tracking import make_tracker
from sweeps.verify import Verification, plan_proof, run_proof

SOME_FAILED = 3


def _local(folder: StudyFolder, study: Plan, workers: int | None) -> Executor:
    """Worker processes of this machine: one per core, or one on a GPU."""
    backend = choose_backend(study.config.proxies)
    if backend.note:
        say(f"note: {backend.note}")
    count = 1 if backend.device == "cuda" else worker_count(study, workers)
    return LocalExecutor(folder.corpus, count, backend, folder.checkpoints)


EXECUTORS: dict[str, Callable[[StudyFolder, Plan, int | None], Executor]] = {"local": _local}
executor_option = click.option(
    "--executor", type=click.Choice(tuple(EXECUTORS)), default="local", show_default=True, help="Who makes the runs."
)


@click.command()
@click.argument("directory", type=click.Path())
@executor_option
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: the study's, or one per core).")
@click.option("--storage", metavar="URL", help="An Optuna storage URL in place of optuna.db.")
@click.option("--plan", "only_plan", is_flag=True, help="Print runs, FLOPs and expected time, and start nothing.")
@json_option
def sweep(
    directory: str, executor: str, workers: int | None, storage: str | None, only_plan: bool, as_json: bool
) -> int:
    """Train the proxies of the study in DIRECTORY; the same command goes on after an interruption."""
    folder = StudyFolder.open(directory)
    study = open_plan(folder)
    if only_plan:
        plan = _plan(folder, study, worker_count(study, workers))
        print_json(plan) if as_json else _show_plan(study, plan)
        return 0
    tracker = make_tracker(study.config.tracking, study.config.name, folder.root)
    with ProgressWatcher("sweep") as watcher:
        maker = EXECUTORS[executor](folder, study, workers)
        outcome = run_sweep(folder, maker, tracker, watcher, storage=storage)
    counts = {s: sum(r.status == s for r in outcome.records) for s in ("done", "diverged", "failed")}
    points = sum(len(record.points) for record in outcome.records)
    result = {"runs": len(outcome.records), **counts, "points": points, "table": str(folder.runs)}
    if as_json:
        print_json(result)
    else:
        say(
            f"{counts['done']} runs done, {counts['diverged']} diverged, {counts['failed']} failed: "
            f"{points} points in {folder.runs}"
        )
    return SOME_FAILED if counts["failed"] else 0


@click.command()
@click.argument("directory", type=click.Path())
@json_option
def status(directory: str, as_json: bool) -> int:
    """What ran, what failed, what is left of the first round, and what it will cost."""
    folder = StudyFolder.open(directory)
    study = open_plan(folder)
    plan = _plan(folder, study, worker_count(study))
    print_json(plan) if as_json else _show_plan(study, plan)
    for failure in plan["failures"]:
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
        result = run_proof(folder, proof, EXECUTORS[executor](folder, proof.study, workers), tracker, watcher)
    if as_json:
        print_json(result.to_json())
    else:
        _show_verification(result)
    return 0


def _plan(folder: StudyFolder, study: Plan, workers: int) -> dict[str, Any]:
    """The first round's runs, what is done of them, and the cost of the rest on `workers` processes of this machine."""
    specs = first_specs(study)
    ledger = Ledger(folder.ledger)
    records = ledger.records()
    for warning in ledger.warnings:
        say(f"warning: {warning}")
    done = [spec for spec in specs if spec.run_id in records and records[spec.run_id].status != "failed"]
    left = [spec for spec in specs if spec not in done]
    backend = choose_backend(study.config.proxies)
    workers = 1 if backend.device == "cuda" else workers
    flops = {spec: flops_left((spec,), folder.checkpoints) for spec in left}
    seconds = _expected_seconds(study, flops, workers, backend)
    checkpoint_bytes, free = sum(kept_bytes(spec) for spec in left), shutil.disk_usage(folder.root).free
    if checkpoint_bytes > free:
        say(
            f"warning: the trunks and models of these runs take {format_quantity(checkpoint_bytes)}B of disk, "
            f"but {format_quantity(free)}B are free"
        )
    failures = [
        {"run_id": record.run_id, "error": record.error} for record in records.values() if record.status == "failed"
    ]
    return {
        "runs": len(specs),
        "points": sum(len(spec.tokens) for spec in specs),
        "done": len(done),
        "left": len(left),
        "failed": len(failures),
        "diverged": sum(record.status == "diverged" for record in records.values()),
        "flops": sum(spec.flops for spec in specs),
        "flops_left": sum(flops.values()),
        "checkpoint_bytes": checkpoint_bytes,
        "workers": workers,
        "device": backend.device,
        "engine": backend.engine,
        "precision": backend.precision,
        "compile": backend.compile,
        "seconds_left": seconds,
        "later_rounds": study.config.sweep.rounds - 1,
        "failures": failures,
    }


def _expected_seconds(study: Plan, flops: Mapping[RunSpec, float], workers: int, backend: Backend) -> float:
    """Training of so many FLOPs, and evaluation, from a short measurement of each shape with all workers."""
    if not flops:
        return 0.0
    examples = {spec.shape: spec for spec in flops}
    # Processes that share caches and memory are slower than one alone.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tried = {
            shape: [pool.submit(measure_rate, spec, backend) for _ in range(workers)]
            for shape, spec in examples.items()
        }
        rates = {shape: sum(future.result() for future in futures) for shape, futures in tried.items()}
    domains = len(study.inventory.domains)
    return sum((train + evaluation_flops(spec, domains)) / rates[spec.shape] for spec, train in flops.items())


def _show_plan(study: Plan, plan: dict[str, Any]) -> None:
    console = Console()
    budgets = sorted(study.config.sweep.budgets)
    sizes = Table(
        title=f"{study.config.name}: {plan['runs']} runs, {plan['points']} points; tokens by FLOPs",
        title_justify="left",
    )
    for heading in ("model", "parameters", *map(format_flops, budgets)):
        sizes.add_column(heading, justify="right")
    for shape, tokens in zip(study.shapes, study.tokens, strict=True):
        skipped = [""] * (len(budgets) - len(tokens))  # too few tokens per parameter
        sizes.add_row(shape.label, format_quantity(shape.params), *skipped, *map(format_quantity, tokens))
    console.print(sizes)
    if any(len(tokens) < len(budgets) for tokens in study.tokens):
        limit = study.config.proxies.min_tokens_per_param
        console.print(f"left out: fewer than {limit:g} tokens per parameter (proxies.min_tokens_per_param)")
    console.print(
        f"{plan['done']} done, {plan['left']} left, {plan['failed']} failed, {plan['diverged']} diverged\n"
        f"{format_flops(plan['flops_left'])} FLOPs left of {format_flops(plan['flops'])}: about "
        f"{format_seconds(plan['seconds_left'])} on {plan['workers']} worker(s), "
        f"{plan['device']}, {plan['engine']} engine, {plan['precision']}",
        highlight=False,
    )
    if plan["left"]:
        size = format_quantity(plan["checkpoint_bytes"])
        console.print(f"{size}B of disk for their trunks and models", highlight=False)
    if plan["later_rounds"]:
        console.print(f"{plan['later_rounds']} later round(s) of {study.config.sweep.proposals} mixtures come on top")


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
