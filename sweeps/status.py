"""What of a sweep's first round ran, what is left, and what that will cost where the chosen executor makes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixlab.errors import FitError
from mixlab.laws.choice.rows import require_support
from mixlab.laws.forms.points import Observations
from mixlab.laws.forms.registry import entries, get_law
from mixlab.runs.specs import RunSpec
from mixlab.search.words import cost_in_words
from mixlab.shown import Shown, table
from mixlab.study.folder import StudyFolder
from mixlab.units import format_flops, format_quantity, format_seconds
from proxies.training.checkpoint import kept_bytes
from sweeps.executors.base import Executor
from sweeps.executors.registry import make_executor
from sweeps.ledger import read_ledger
from sweeps.plan import Plan, evaluation_flops, open_plan
from sweeps.proposals import first_specs
from sweeps.rounds import decided_rounds

if TYPE_CHECKING:
    from rich.console import RenderableType

JOINT = {"params", "tokens", "mixture"}  # what a law of scale and mixture takes


@dataclass(frozen=True, repr=False)
class SweepStatus(Shown):
    """The state of a sweep; nothing was started or changed to find it.

    Attributes:
        runs, points: of the first round.
        done, left: of those runs; a run that failed is left.
        failed, diverged: runs in the ledger, of any round.
        flops, flops_left: training FLOPs of all and of what is left, given the trunks that are kept.
        checkpoint_bytes: disk that trunks and models of the runs left will take.
        workers: jobs at a time.
        device, engine, precision, compile: what a worker trains with.
        seconds_left: for training and evaluation, from a short measurement of each size with all workers.
        later_rounds: how many rounds come after the first at most.
        rounds: those that were decided: number, runs, FLOPs before it, the expected regret of the answer then and the
            noise of one run, nats (None where nobody worked them out), and why the sweep stopped there, if it did.
        failures: run id and error of each failed run.
        warnings: in words.
        plan: the study's facts; not in the JSON.
    """

    runs: int
    points: int
    done: int
    left: int
    failed: int
    diverged: int
    flops: float
    flops_left: float
    checkpoint_bytes: int
    workers: int
    device: str
    engine: str
    precision: str
    compile: bool
    seconds_left: float
    later_rounds: int
    rounds: list[dict[str, Any]]
    failures: list[dict[str, str | None]]
    warnings: list[str]
    plan: Plan

    def __repr__(self) -> str:
        return f"<SweepStatus: {self.done} of {self.runs} runs done, {self.failed} failed, {self.diverged} diverged>"

    @property
    def costs(self) -> dict[str, Any]:
        """All runs and those left in hours and dollars of the target's GPU; empty where study.yaml names none."""
        target = self.plan.config.target
        hardware = target.hardware if target is not None else None
        if hardware is None:
            return {}
        gpu = {"name": hardware.name, "peak": hardware.peak, "mfu": hardware.mfu, "price": hardware.price}
        return {"sweep": hardware.bill(self.flops), "left": hardware.bill(self.flops_left), "gpu": gpu}

    @property
    def notes(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def parts(self) -> Iterator[RenderableType]:
        """The sizes and their tokens by budget, what is done, and what is left."""
        config = self.plan.config
        budgets = sorted(config.sweep.budgets)
        sizes = table(
            f"{config.name}: {self.runs} runs, {self.points} points; tokens by FLOPs",
            ("model", "parameters", *map(format_flops, budgets)),
        )
        for shape, tokens in zip(self.plan.shapes, self.plan.tokens, strict=True):
            skipped = [""] * (len(budgets) - len(tokens))  # too few tokens per parameter
            sizes.add_row(shape.label, format_quantity(shape.params), *skipped, *map(format_quantity, tokens))
        yield sizes
        if any(len(tokens) < len(budgets) for tokens in self.plan.tokens):
            limit = config.proxies.min_tokens_per_param
            yield f"left out: fewer than {limit:g} tokens per parameter (proxies.min_tokens_per_param)"
        yield f"{self.done} done, {self.left} left, {self.failed} failed, {self.diverged} diverged"
        yield (
            f"{format_flops(self.flops_left)} FLOPs left of {format_flops(self.flops)}: about "
            f"{format_seconds(self.seconds_left)} on {self.workers} worker(s), "
            f"{self.device}, {self.engine} engine, {self.precision}"
        )
        if self.costs:
            yield cost_in_words(self.costs)
        if self.left:
            yield f"{format_quantity(self.checkpoint_bytes)}B of disk for their trunks and models"
        if self.rounds:
            rounds = table("rounds", ("round", "runs", "FLOPs before", "expected regret", "noise of a run"))
            for one in self.rounds:
                numbers = [f"{one[name]:.4f}" if one[name] is not None else "" for name in ("regret", "noise")]
                before = format_flops(one["flops"]) if one["flops"] is not None else ""
                rounds.add_row(str(one["round"]), str(one["runs"]), before, *numbers)
            yield rounds
            if "stop" in self.rounds[-1]:
                yield self.rounds[-1]["stop"]
        left = self.later_rounds - len(self.rounds)
        if left > 0 and not (self.rounds and "stop" in self.rounds[-1]):
            cost = config.sweep.proposals * self.plan.cost(
                self.plan.reference, len(self.plan.tokens[self.plan.reference])
            )
            yield f"up to {left} later round(s) of at most {format_flops(cost)} FLOPs each come on top"

    def to_frame(self) -> pd.DataFrame:
        """A row per size and budget: parameters, tokens and FLOPs."""
        budgets = sorted(self.plan.config.sweep.budgets)
        return pd.DataFrame(
            [
                {"model": shape.label, "params": shape.params, "tokens": count, "flops": budget}
                for shape, tokens in zip(self.plan.shapes, self.plan.tokens, strict=True)
                for count, budget in zip(tokens, budgets[len(budgets) - len(tokens) :], strict=True)
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab status --json` and `mixlab sweep --plan --json`."""
        costs = {"costs": self.costs} if self.costs else {}
        return {name: value for name, value in vars(self).items() if name != "plan"} | costs


def sweep_status(folder: StudyFolder, *, executor: str = "local", workers: int | None = None) -> SweepStatus:
    """The state of a prepared study's sweep, and the cost of the rest.

    Args:
        folder: the study.
        executor, workers: as for `driver.sweep`.

    Raises:
        ConfigError: when there is no such executor, or it cannot have so many workers.
        CorpusError: when the study is not prepared.
    """
    plan = open_plan(folder)
    maker = make_executor(executor, folder, workers)
    specs = first_specs(plan)
    reading = read_ledger(folder.ledger)
    records = reading.records
    failures = [record for record in records.values() if record.status == "failed"]
    left = [spec for spec in specs if spec.run_id not in records or records[spec.run_id].status == "failed"]
    flops = {spec: maker.work.flops_left((spec,)) for spec in left}
    disk, free = sum(kept_bytes(spec) for spec in left), shutil.disk_usage(folder.root).free
    backend = maker.work.backend
    return SweepStatus(
        runs=len(specs),
        points=sum(len(spec.tokens) for spec in specs),
        done=len(specs) - len(left),
        left=len(left),
        failed=len(failures),
        diverged=sum(record.status == "diverged" for record in records.values()),
        flops=sum(spec.flops for spec in specs),
        flops_left=sum(flops.values()),
        checkpoint_bytes=disk,
        workers=maker.workers,
        device=backend.device,
        engine=backend.engine,
        precision=backend.precision,
        compile=backend.compile,
        seconds_left=_expected_seconds(plan, flops, maker),
        later_rounds=plan.config.sweep.rounds - 1,
        rounds=[
            {"round": number, "runs": len(one.asks), "flops": one.flops, "regret": one.regret, "noise": one.noise}
            | ({"stop": one.stop} if one.stop else {})
            for number, one in decided_rounds(folder)
        ],
        failures=[{"run_id": record.run_id, "error": record.error} for record in failures],
        warnings=[*reading.warnings, *_disk_warning(disk, free), *_support_warnings(plan, specs)],
        plan=plan,
    )


def _expected_seconds(plan: Plan, flops: Mapping[RunSpec, float], executor: Executor) -> float:
    """Training of so many FLOPs by run, and evaluation, at the executor's own rates."""
    if not flops:
        return 0.0
    examples = {spec.shape: spec for spec in flops}
    rates = dict(zip(examples, executor.rates(list(examples.values())), strict=True))
    domains = len(plan.inventory.domains)
    return sum((train + evaluation_flops(spec, domains)) / rates[spec.shape] for spec, train in flops.items())


def _disk_warning(needed: int, free: int) -> list[str]:
    if needed <= free:
        return []
    return [
        f"the trunks and models of these runs take {format_quantity(needed)}B of disk, "
        f"but {format_quantity(free)}B are free"
    ]


def _support_warnings(plan: Plan, specs: Sequence[RunSpec]) -> list[str]:
    """What is to be said where the first round cannot carry the target's law, or none at all where that is `auto`.

    Args:
        plan: the study's facts.
        specs: runs of the first round.
    """
    rows = _planned(plan, specs)
    target = plan.config.target
    named = target.law if target is not None else "auto"
    later = "later rounds may add what is missing" if plan.config.sweep.rounds > 1 else "a fit will refuse them"
    if named != "auto":
        try:
            require_support(get_law(named), rows)
        except FitError as error:
            return [f"the first round cannot carry target.law: {error.message} ({error.hint}); {later}"]
        return []
    refused: list[FitError] = []
    for entry in entries():
        if entry.law.baseline or not entry.law.takes >= JOINT:
            continue
        try:
            require_support(entry.law, rows)
            return []
        except FitError as error:
            refused.append(error)
    reason = refused[0]
    return [f"the first round can carry no law of N, D and mixture: {reason.message} ({reason.hint}); {later}"]


def _planned(plan: Plan, specs: Sequence[RunSpec]) -> Observations:
    """The rows that a table of these runs will have, their losses aside."""
    names = plan.space.names
    each = [len(spec.tokens) for spec in specs]
    run = np.repeat(np.arange(len(specs)), each)
    return Observations(
        mixture=np.array([spec.mixture.array(names) for spec in specs])[run],
        params=np.array([float(spec.shape.params) for spec in specs])[run],
        tokens=np.concatenate([np.array(spec.tokens, dtype=float) for spec in specs]),
        unique=np.tile(plan.space.unique_tokens, (len(run), 1)),
        loss=np.ones(len(run)),
        domains=names,
        run=run,
    )
