"""Backtests: fit without some rows, predict them, and stand the result beside the obvious baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.text import Text

from analysis.backtest.baselines import baseline_scores
from analysis.backtest.holdout import Holdout
from analysis.backtest.metrics import Scores, score
from analysis.backtest.predictions import Prediction, predict_table
from mixlab.errors import RunTableError, argument
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.predictor import Predictor
from mixlab.objective import Objective
from mixlab.runs.table import Runs, matching_columns
from mixlab.shown import Shown, table
from mixlab.tasks import two_step
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

PREDICTABLE = ("loss", "acc.", "nll.", "bpb.")


COLUMNS = {  # heading and decimals; short, so that a table fits into 80 columns
    "mean_relative_error": ("error", 2),
    "mae": ("MAE", 3),
    "r2": ("R2", 2),
    "spearman": ("rho", 3),
    "regret_at_1": ("regret", 3),
    "decision_accuracy": ("pairs", 2),
    "coverage_90": ("held", 2),
    "width_90": ("width", 1),
}
LEGEND = "error: mean relative, %; rho: Spearman; pairs: share ranked correctly; held, width (%): of the 90% interval"


@dataclass(frozen=True, repr=False)
class Backtest(Shown):
    """What a backtest came to.

    Attributes:
        law: the law that was used.
        rows_fit, rows_test: counts.
        targets: metrics by column.
        baselines: metrics by baseline and column.
        predictions: the law's predictions by column, for plotting.
        warnings: in words.
    """

    law: str
    rows_fit: int
    rows_test: int
    targets: dict[str, Scores]
    baselines: dict[str, dict[str, Scores]]
    predictions: dict[str, Prediction]
    warnings: list[str] = field(default_factory=list)

    @property
    def notes(self) -> Sequence[str]:
        return self.warnings

    @property
    def _scores(self) -> dict[str, dict[str, Scores]]:
        """By target and by who predicts; of several targets, their mean last."""
        everyone = {self.law: self.targets} | self.baselines
        found = {target: {name: each[target] for name, each in everyone.items()} for target in self.targets}
        if len(found) > 1:
            found[f"mean of {len(found)} targets"] = {
                name: _mean(list(each.values())) for name, each in everyone.items()
            }
        return found

    def __repr__(self) -> str:
        error = [scores["mean_relative_error"] for scores in self.targets.values()]
        told = [f"{value:.2f}%" for value in error if value is not None]
        rows = f"fitted {self.rows_fit} rows, predicted {self.rows_test}"
        return f"<Backtest of {self.law}: {rows}; error {', '.join(told)}>"

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab backtest --json`."""
        names = ("law", "rows_fit", "rows_test", "targets", "baselines", "warnings")
        return {name: getattr(self, name) for name in names}

    def to_frame(self) -> pd.DataFrame:
        """A row per target and who predicts: the law first, then the baselines."""
        return pd.DataFrame(
            [
                {"target": target, "who": who, **scores}
                for target, each in self._scores.items()
                for who, scores in each.items()
            ]
        )

    def parts(self) -> Iterator[RenderableType]:
        """What was fitted and predicted, and a table per target."""
        yield f"{self.law}: fitted {self.rows_fit} rows, predicted {self.rows_test}"
        for target, scores in self._scores.items():
            told = [key for key in COLUMNS if any(row[key] is not None for row in scores.values())]
            found = table(target, (), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
            found.add_column("law", no_wrap=True)
            for key in told:
                found.add_column(COLUMNS[key][0], justify="right", no_wrap=True)
            for name, row in scores.items():
                found.add_row(name, *("-" if row[key] is None else f"{row[key]:.{COLUMNS[key][1]}f}" for key in told))
            yield found
        yield Text(LEGEND, style="dim")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Predicted against observed; see `mixlab.plot_backtest`."""
        axes: Axes = resolve("analysis.plots.face:plot_backtest")(self, ax)
        return axes


def default_targets(table: Runs) -> tuple[str, ...]:
    """`loss` where there is one, else every `loss.<eval>`."""
    columns = ("loss",) if table.has("loss") else tuple(f"loss.{name}" for name in table.evals)
    if not columns:
        raise RunTableError(
            "the table has no column `loss` or `loss.<eval>`",
            f"name one as `target`, or map one by {argument('columns', '--map loss=NAME')}",
        )
    return columns


def matching_targets(table: Runs, patterns: Sequence[str]) -> tuple[str, ...]:
    """Columns by name or by pattern, such as `loss.web_*`; each once, in the order asked for.

    Raises:
        RunTableError: when a pattern names no column of losses or accuracies.
    """
    found = [name for pattern in patterns for name in matching_columns(table, pattern, PREDICTABLE)]
    return tuple(dict.fromkeys(found))


def run_backtest(
    split: Holdout,
    targets: Sequence[str],
    *,
    law: str = "auto",
    bootstrap: int = 200,
    seed: int = 0,
    baselines: bool = True,
) -> Backtest:
    """Fit one side and predict the other.

    Args:
        split: the two sides.
        targets: columns to predict.
        law: a law's name, `auto`, or `two-step` for an accuracy.
        bootstrap: resamples of the curve of `two-step`.
        seed: of the resamples.
        baselines: also try the other laws, the nearest mixture at the fit's largest budget, and the mean.

    Raises:
        FitError: when the rows cannot carry the law.
        RunTableError: when a column is missing or the sides have different domains.
    """
    objective = _objective(targets)
    fitted = _fit(split.fit, targets[0], objective, law, bootstrap, seed)
    test, dropped = _finite_rows(split.test, targets)
    predictions = predict_table(fitted, test, targets, intervals=True)
    warnings = [*split.notes, *split.fit.notes, *fitted.warnings]
    if dropped:
        warnings.append(f"{dropped} held-out rows without a finite loss are left out")
    return Backtest(
        law=fitted.law,
        rows_fit=fitted.rows,
        rows_test=len(test),
        targets={name: score(test, name, predictions[name]) for name in targets},
        baselines=baseline_scores(split.fit, test, targets, objective, fitted.law, seed) if baselines else {},
        predictions=predictions,
        warnings=list(dict.fromkeys(warnings)),
    )


def _fit(table: Runs, target: str, objective: Objective, law: str, bootstrap: int, seed: int) -> Predictor:
    """The law fitted to the objective, or the two steps to the one target."""
    if law == two_step.NAME:
        return two_step.fit_two_step(table, target, bootstrap=bootstrap, seed=seed)
    return fit_surface(table, objective, law=law, bootstrap=0, seed=seed)


def _objective(targets: Sequence[str]) -> Objective:
    """Equal weights over several `loss.<eval>` columns, or the one column."""
    if len(targets) == 1:
        return Objective.column(targets[0])
    others = [name for name in targets if not name.startswith("loss.")]
    if others or len(set(targets)) < len(targets):
        raise RunTableError(
            f"several targets must be different `loss.<eval>` columns, but got {', '.join(targets)}",
            "backtest the others one at a time",
        )
    return Objective.equal(targets)


def _mean(targets: list[Scores]) -> Scores:
    """The mean of each metric over the targets; None where a target lacks it."""
    found: Scores = {}
    for key in COLUMNS:
        values = [one[key] for one in targets]
        told = [value for value in values if value is not None]
        found[key] = sum(told) / len(told) if len(told) == len(values) else None
    return found


def _finite_rows(table: Runs, targets: Sequence[str]) -> tuple[Runs, int]:
    finite = np.all([np.isfinite(table.column(name)) for name in targets], axis=0)
    if not finite.any():
        raise RunTableError(f"no held-out row has a finite {', '.join(targets)}", "choose another `holdout`")
    return table.select(finite), int((~finite).sum())
