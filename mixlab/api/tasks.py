"""`mixlab.predict_task`: how well a model will do on benchmarks, by way of a loss, beside what needs no loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixlab.api import given
from mixlab.api.fit_tables import forms_table
from mixlab.errors import ConfigError, require_kind
from mixlab.mixture import Mixture
from mixlab.runs.cost import Cost, cost_of
from mixlab.runs.read import ColumnMap, RunsLike, read_runs
from mixlab.runs.table import Runs, matching_columns
from mixlab.search.question import Question
from mixlab.shown import Shown, table
from mixlab.tasks.mean import TaskMean, fit_tasks
from mixlab.tasks.predict import ACCURACY, ExpectedAccuracy, mixture_of, predict_at
from mixlab.tasks.trial import Trial, try_out, without_loss
from mixlab.tasks.two_step import TwoStep, fit_two_step
from mixlab.units import format_flops, format_quantity
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

MEAN = "acc.mean of tasks"
FEW = 4  # so many benchmarks are named in a sentence


@dataclass(frozen=True, repr=False)
class TaskPrediction(Shown):
    """What is expected of a benchmark, or of the mean of several, at one budget.

    Attributes:
        task: the benchmark's name, or what the mean is of.
        expected: accuracy and loss with their intervals, N and D.
        mixture: by domain, where the runs have mixtures.
        chain: both steps, as they were fitted.
        baselines: accuracies without a loss, by name.
        trial: the two steps tried on the runs of most compute; None where they are too few.
        runs: the rows.
        cost: what a budget buys at N.
        warnings: in words.
    """

    task: str
    expected: ExpectedAccuracy
    mixture: dict[str, float] | None
    chain: TwoStep | TaskMean
    baselines: dict[str, float]
    trial: Trial | None
    runs: Runs
    cost: Cost
    warnings: list[str]

    @property
    def mixture_of_runs(self) -> Mixture | None:
        """The mixture as a point of the simplex."""
        return Mixture(self.mixture) if self.mixture is not None else None

    @property
    def accuracy(self) -> dict[str, float]:
        """Mean and 90% prediction interval, keys mean, low, high."""
        return self.expected.accuracy

    @property
    def notes(self) -> Sequence[str]:
        return self.warnings

    def __repr__(self) -> str:
        low, high = self.accuracy["low"], self.accuracy["high"]
        return (
            f"<TaskPrediction: {self.task} {self.accuracy['mean']:.3f} [{low:.3f}, {high:.3f}] "
            f"at {format_flops(self.expected.flops)} FLOPs>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab predict-task --json`."""
        expected = self.expected
        below = self.chain.lowest_loss - expected.loss["mean"]
        return {
            "task": self.task,
            "flops": expected.flops,
            "params": expected.params,
            "tokens": expected.tokens,
            **({"mixture": self.mixture} if self.mixture is not None else {}),
            "loss": expected.loss,
            "accuracy": expected.accuracy,
            **({"tasks": expected.tasks} if expected.tasks else {}),
            **self.chain.steps(),
            "baselines": self.baselines,
            "backtest": self.trial.to_dict() if self.trial is not None else None,
            "extrapolation": {**expected.extrapolation, "below_lowest_loss": below},
            "warnings": self.warnings,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row per benchmark: accuracy and its 90% interval; of several, their mean last."""
        rows = {**self.expected.tasks, self.task: self.accuracy}
        return pd.DataFrame([{"task": name, "accuracy": one["mean"], **_ends(one)} for name, one in rows.items()])

    def parts(self) -> Iterator[RenderableType]:
        """The prediction in a sentence, the curves or benchmarks behind it, and what needs no loss."""
        data, expected = self.to_dict(), self.expected
        accuracy, loss = expected.accuracy, expected.loss
        yield (
            f"At {format_flops(expected.flops)} FLOPs, {format_quantity(expected.params)} parameters on "
            f"{format_quantity(expected.tokens)} tokens: {self.task} {accuracy['mean']:.3f} "
            f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] by way of a loss of {loss['mean']:.4f} "
            f"[{loss['low']:.4f}, {loss['high']:.4f}] (90% intervals, law {data['step_1']['law']}, "
            f"then {data['step_2']['form']})."
        )
        if expected.tasks:
            each = table("the benchmarks", ("benchmark", "accuracy", "90% interval", "step 2"), left=("step 2",))
            for name, one in expected.tasks.items():
                form = data["step_2"]["tasks"][name]["form"]
                each.add_row(name, f"{one['mean']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", form)
            yield each
        else:
            yield forms_table(data["step_2"])
        yield self._baseline_table()

    def _baseline_table(self) -> RenderableType:
        trial, title = self.trial, "without a loss"
        if trial is not None:
            title = f"errors on {trial.rows_test} held-out rows above {format_flops(trial.flops)} FLOPs"
        found = table(title, ("prediction", "here", "mean error", "in 90% interval"))
        errors = {"two-step": trial.error, **trial.baselines} if trial is not None else {}
        for name, value in {"two-step": self.accuracy["mean"], **self.baselines}.items():
            error = f"{errors[name]:.4f}" if name in errors else "-"
            covered = f"{trial.coverage_90:.2f}" if name == "two-step" and trial is not None else "-"
            found.add_row(name.replace("-", " "), f"{value:.3f}", error, covered)
        return found

    def plot(self, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
        """Draw both steps, in two axes."""
        drawn: Sequence[Axes] = resolve("analysis.plots.face:plot_task")(self, axes)
        return drawn


def predict_task(
    runs: RunsLike,
    task: str | Sequence[str],
    flops: given.Quantity | None = None,
    *,
    params: given.Quantity | None = None,
    tokens: given.Quantity | None = None,
    mix: given.Weights | None = None,
    loss: str | None = None,
    law: str = "auto",
    chance: float | None = None,
    items: int | None = None,
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    bootstrap: int = 200,
    seed: int = 0,
) -> TaskPrediction:
    """The accuracy on a benchmark that runs lead to expect of a model trained at a budget.

    Args:
        runs, where, columns, scale, mixture: see `mixlab.read_runs`.
        task: the benchmark, `hellaswag` or its column; a pattern such as `mmlu_*`, or several: their mean.
        flops: the budget C.
        params, tokens: N (absent: compute-optimal by step 1) and D (absent: what C buys at N).
        mix: the mixture, where the runs differ in theirs.
        loss: the loss to go through; absent: `nll.<task>`, else `loss`, else the mean of all `loss.<eval>`.
        law: of step 1.
        chance: the accuracy of guessing; absent: estimated.
        items: how many questions the benchmark has.
        bootstrap: resamples of both steps.
        seed: of the resamples.

    Raises:
        ConfigError: without a budget, or where something given cannot be meant.
        FitError: when the accuracy does not rise as the loss falls, or the runs cannot carry step 1.
    """
    found = read_runs(runs, columns=columns, scale=scale, mixture=mixture, where=where)
    require_kind("task", task, (str, Sequence), "a benchmark's name, or several")
    chance, items, bootstrap, seed = given.of_benchmark(chance, items, bootstrap, seed)
    names = _columns(found, [task] if isinstance(task, str) else list(task))
    if len(names) > 1:
        if chance is not None or items is not None:
            raise ConfigError("`chance` and `items` describe one benchmark, but several were given", "leave them out")
        found = Runs(found.frame.assign(**{MEAN: found.frame[names].mean(axis=1, skipna=False)}), found.notes)
    target = names[0] if len(names) == 1 else MEAN
    cost = cost_of(found)
    n, d = given.quantity(params, "params"), given.quantity(tokens, "tokens")
    budget = _budget(cost, given.quantity(flops, "flops"), n, d)
    chosen = mixture_of(found, given.weights(mix, "mix") or {})

    def fit(some: Runs) -> TwoStep | TaskMean:
        if len(names) > 1:
            return fit_tasks(some, names, loss=loss, law=law, bootstrap=bootstrap, seed=seed)
        return fit_two_step(
            some, target, loss=loss, law=law, chance=chance, items=items, bootstrap=bootstrap, seed=seed
        )

    chain = fit(found)
    if isinstance(chain, TaskMean) and len(chain.surfaces) > 1 and n is None:
        raise ConfigError(
            "each of these benchmarks goes through a loss of its own, so the budget has no one best N",
            "give `params`, or one `loss` for all",
        )
    expected = predict_at(chain, Question(budget, cost, params=n, tokens=d, mixture=chosen))
    trial = try_out(found, target, fit, chance)
    direct = without_loss(found, target, np.array([budget]), chance)
    return TaskPrediction(
        task=_title(names),
        expected=expected,
        mixture=dict(chosen) if chosen is not None else None,
        chain=chain,
        baselines={name: float(value[0]) for name, value in direct.items()},
        trial=trial,
        runs=found,
        cost=cost,
        warnings=list(dict.fromkeys([*chain.warnings, *expected.warnings, *_warnings(chain, expected.loss, trial)])),
    )


def _columns(runs: Runs, tasks: Sequence[str]) -> list[str]:
    """The accuracy columns of the benchmarks.

    Raises:
        ConfigError: with the nearest name, or when one is named twice.
    """
    if not tasks:
        raise ConfigError("a prediction needs a benchmark, but got none", "name one or more")
    for task in tasks:
        require_kind("task", task, str, "a benchmark's name")
    if len(set(tasks)) < len(tasks):
        raise ConfigError("a benchmark is named twice", "name each once")
    if not any(str(name).startswith(ACCURACY) for name in runs.frame.columns):
        raise ConfigError("the table has no column of a benchmark", "add `acc.<task>`, accuracies from 0 to 1")
    asked = (ACCURACY + task.removeprefix(ACCURACY) for task in tasks)
    return list(dict.fromkeys(name for pattern in asked for name in matching_columns(runs, pattern, (ACCURACY,))))


def _title(columns: list[str]) -> str:
    """The benchmark's name, or what the mean is of."""
    names = [name.removeprefix(ACCURACY) for name in columns]
    if len(names) == 1:
        return names[0]
    return f"mean of {', '.join(names)}" if len(names) <= FEW else f"mean of {len(names)} benchmarks"


def _budget(cost: Cost, flops: float | None, params: float | None, tokens: float | None) -> float:
    if params is not None and tokens is not None:
        if flops is not None:
            raise ConfigError("`params` and `tokens` fix the budget, but `flops` was given too", "leave one out")
        return float(cost.flops(params, tokens))
    if flops is None:
        raise ConfigError("a prediction needs a budget", "give `flops`, or the model by `params` and `tokens`")
    return flops


def _warnings(chain: TwoStep | TaskMean, loss: dict[str, float], trial: Trial | None) -> list[str]:
    found = []
    if loss["mean"] < chain.lowest_loss:
        found.append(
            f"the predicted loss of {loss['mean']:.3f} lies below the lowest that was seen, {chain.lowest_loss:.3f}: "
            "the curve of step 2 goes beyond its rows"
        )
    if trial is None:
        found.append("there are too few runs to test the two steps on those of most compute")
    else:
        found += [
            f"without a loss, `{name}` predicts held-out runs better ({error:.4f} against {trial.error:.4f})"
            for name, error in trial.baselines.items()
            if error < trial.error
        ]
    return found


def _ends(interval: Mapping[str, float]) -> dict[str, float]:
    return {"low": interval["low"], "high": interval["high"]}
