"""`mixlab predict-task`: how well a model will do on benchmarks, by way of a loss, beside what needs no loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from mixlab.commands.fit import show_forms
from mixlab.commands.options import QUANTITY, json_option, parse_pairs, print_json, say
from mixlab.errors import ConfigError
from mixlab.files import write_json
from mixlab.laws.forms.registry import law_choices
from mixlab.runs.cost import Cost, cost_of
from mixlab.runs.read import load_runs
from mixlab.runs.table import Runs, matching_columns
from mixlab.tasks.mean import TaskMean, fit_tasks
from mixlab.tasks.predict import mixture_of, predict_at
from mixlab.tasks.trial import Trial, try_out, without_loss
from mixlab.tasks.two_step import TwoStep, fit_two_step
from mixlab.units import format_flops, format_quantity

ACCURACY = "acc."
MEAN = "acc.mean of tasks"
FEW = 4  # so many are named in a sentence


@click.command("predict-task")
@click.argument("runs", type=click.Path())
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    metavar="T",
    help="Column acc.T, or a pattern such as 'mmlu_*'; of several, their mean.",
)
@click.option("--flops", type=QUANTITY, help="The budget C.")
@click.option("--params", type=QUANTITY, help="N (default: compute-optimal by step 1).")
@click.option("--tokens", type=QUANTITY, help="D (default: what C buys at N).")
@click.option("--fixed-mix", multiple=True, metavar="D=W,...", help="The mixture, where the runs differ in theirs.")
@click.option("--loss", metavar="COL", help="The loss to go through (default: nll.T, else loss, else all loss.<eval>).")
@click.option(
    "--law", type=click.Choice(("auto", *law_choices())), default="auto", show_default=True, help="Of step 1."
)
@click.option("--chance", type=click.FloatRange(0, 1), help="Accuracy of guessing, e.g. 0.25 (default: estimated).")
@click.option("--items", type=click.IntRange(min=1), help="Questions in the benchmark: adds their sampling noise.")
@click.option("--where", metavar="EXPR", help="Use these rows alone.")
@click.option("--bootstrap", type=click.IntRange(min=20), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the JSON here.")
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
    where: str | None,
    bootstrap: int,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> int:
    """The accuracy on a benchmark that RUNS lead to expect of a model trained at a budget.

    Step 1 predicts a loss from size, tokens and mixture, step 2 the accuracy from that loss.
    """
    table = load_runs(runs)
    table = table.where(where) if where else table
    columns = _columns(table, tasks)
    if len(columns) > 1:
        if chance is not None or items is not None:
            raise ConfigError("--chance and --items are of one benchmark, but several are asked for", "leave them out")
        table = Runs(table.frame.assign(**{MEAN: table.frame[columns].mean(axis=1, skipna=False)}), table.notes)
    target = columns[0] if len(columns) == 1 else MEAN
    cost = cost_of(table)
    budget = _budget(cost, flops, params, tokens)
    mixture = mixture_of(table, parse_pairs(fixed_mix, "--fixed-mix"))

    def fit(some: Runs) -> TwoStep | TaskMean:
        if len(columns) > 1:
            return fit_tasks(some, columns, loss=loss, law=law, bootstrap=bootstrap, seed=seed)
        return fit_two_step(
            some, target, loss=loss, law=law, chance=chance, items=items, bootstrap=bootstrap, seed=seed
        )

    chain = fit(table)
    if isinstance(chain, TaskMean) and len(chain.surfaces) > 1 and params is None:
        raise ConfigError(
            "each of these benchmarks goes through a loss of its own, so the budget has no one best N",
            "give --params N, or --loss COL for all",
        )
    answer = predict_at(chain, budget, cost=cost, params=params, tokens=tokens, mixture=mixture)
    trial = try_out(table, target, fit)
    warnings = list(dict.fromkeys([*chain.warnings, *answer.warnings, *_warnings(chain, answer.loss, trial)]))
    data = {
        "task": _title(columns),
        "flops": budget,
        "params": answer.params,
        "tokens": answer.tokens,
        **({"mixture": dict(mixture)} if mixture is not None else {}),
        "loss": answer.loss,
        "accuracy": answer.accuracy,
        **({"tasks": answer.tasks} if answer.tasks else {}),
        **chain.steps(),
        "baselines": {
            name: float(value[0]) for name, value in without_loss(table, target, np.array([budget]), chance).items()
        },
        "backtest": trial.to_json() if trial is not None else None,
        "extrapolation": {**answer.extrapolation, "below_lowest_loss": chain.lowest_loss - answer.loss["mean"]},
        "warnings": warnings,
    }
    if output is not None:
        write_json(output, data)
    print_json(data) if as_json else _show(data)
    return 0


def _columns(table: Runs, tasks: tuple[str, ...]) -> list[str]:
    """The accuracy columns of the benchmarks.

    Raises:
        ConfigError: with the nearest name, or when one stands twice.
    """
    if len(set(tasks)) < len(tasks):
        raise ConfigError("--task names a benchmark twice")
    if not any(str(name).startswith(ACCURACY) for name in table.frame.columns):
        raise ConfigError("the table has no column of a benchmark", "that is `acc.<task>`, accuracies from 0 to 1")
    asked = (ACCURACY + task.removeprefix(ACCURACY) for task in tasks)
    return list(dict.fromkeys(name for pattern in asked for name in matching_columns(table, pattern, (ACCURACY,))))


def _title(columns: list[str]) -> str:
    """The benchmark's name, or what the mean is of."""
    names = [name.removeprefix(ACCURACY) for name in columns]
    if len(names) == 1:
        return names[0]
    return f"mean of {', '.join(names)}" if len(names) <= FEW else f"mean of {len(names)} benchmarks"


def _budget(cost: Cost, flops: float | None, params: float | None, tokens: float | None) -> float:
    if params is not None and tokens is not None:
        if flops is not None:
            raise ConfigError("--params and --tokens settle the budget, but --flops is given too", "leave one out")
        return float(cost.flops(params, tokens))
    if flops is None:
        raise ConfigError("a prediction needs a budget", "give --flops C, or the model by --params N --tokens D")
    return flops


def _warnings(chain: TwoStep | TaskMean, loss: dict[str, float], trial: Trial | None) -> list[str]:
    found = []
    if loss["mean"] < chain.lowest_loss:
        found.append(
            f"the predicted loss of {loss['mean']:.3f} lies below the lowest that was seen, {chain.lowest_loss:.3f}: "
            "the curve of step 2 goes beyond its rows"
        )
    if trial is None:
        found.append("the runs are too few to try the two steps on those of most compute")
    else:
        found += [
            f"without a loss, `{name}` predicts held-out runs better ({error:.4f} against {trial.error:.4f})"
            for name, error in trial.baselines.items()
            if error < trial.error
        ]
    return found


def _show(data: dict[str, Any]) -> None:
    console = Console()
    accuracy, loss = data["accuracy"], data["loss"]
    console.print(
        f"At {format_flops(data['flops'])} FLOPs, {format_quantity(data['params'])} parameters on "
        f"{format_quantity(data['tokens'])} tokens: {data['task']} {accuracy['mean']:.3f} "
        f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] by way of a loss of {loss['mean']:.4f} "
        f"[{loss['low']:.4f}, {loss['high']:.4f}] (90% intervals, law {data['step_1']['law']}, "
        f"then {data['step_2']['form']}).",
        highlight=False,
    )
    if "tasks" in data:
        each = Table(title="the benchmarks", title_justify="left")
        for heading in ("benchmark", "accuracy", "90% interval", "step 2"):
            each.add_column(heading, justify="left" if heading in ("benchmark", "step 2") else "right")
        for name, one in data["tasks"].items():
            form = data["step_2"]["tasks"][name]["form"]
            each.add_row(name, f"{one['mean']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", form)
        console.print(each)
    else:
        show_forms(console, data["step_2"])
    trial = data["backtest"]
    title = "without a loss"
    if trial is not None:
        title = f"errors on {trial['rows_test']} held-out rows above {format_flops(trial['flops'])} FLOPs"
    table = Table(title=title, title_justify="left")
    for heading in ("prediction", "here", "mean error", "in 90% interval"):
        table.add_column(heading, justify="left" if heading == "prediction" else "right")
    errors = {"two-step": trial["error"], **trial["baselines"]} if trial is not None else {}
    for name, value in {"two-step": accuracy["mean"], **data["baselines"]}.items():
        error = f"{errors[name]:.4f}" if name in errors else "-"
        covered = f"{trial['coverage_90']:.2f}" if name == "two-step" and trial is not None else "-"
        table.add_row(name.replace("-", " "), f"{value:.3f}", error, covered)
    console.print(table)
    for warning in data["warnings"]:
        say(f"note: {warning}")
