"""Backtests: fit without some rows, predict them, and stand the result beside the obvious baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.backtest.baselines import baseline_scores
from analysis.backtest.holdout import Holdout
from analysis.backtest.metrics import Scores, score
from analysis.backtest.predictions import Prediction, predict_table
from mixlab.errors import RunTableError
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.predictor import Predictor
from mixlab.runs.table import Runs, matching_columns
from mixlab.tasks import two_step

MEASURED = ("loss", "acc.", "nll.", "bpb.")


@dataclass(frozen=True)
class Backtest:
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

    def to_json(self) -> dict[str, Any]:
        """The keys of `mixlab backtest --json`."""
        names = ("law", "rows_fit", "rows_test", "targets", "baselines", "warnings")
        return {name: getattr(self, name) for name in names}


def default_targets(table: Runs) -> tuple[str, ...]:
    """`loss` where there is one, else every `loss.<eval>`."""
    columns = ("loss",) if table.has("loss") else tuple(f"loss.{name}" for name in table.evals)
    if not columns:
        raise RunTableError("the table has no column `loss` or `loss.<eval>`", "name one with --target")
    return columns


def matching_targets(table: Runs, patterns: Sequence[str]) -> tuple[str, ...]:
    """Columns by name or by pattern, such as `loss.web_*`; each once, in the order asked for.

    Raises:
        RunTableError: when a pattern names no column of losses or accuracies.
    """
    found = [name for pattern in patterns for name in matching_columns(table, pattern, MEASURED)]
    return tuple(dict.fromkeys(found))


def backtest(
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


def _fit(
    table: Runs, target: str, objective: str | Mapping[str, float], law: str, bootstrap: int, seed: int
) -> Predictor:
    """The law fitted to the objective, or the two steps to the one target."""
    if law == two_step.NAME:
        return two_step.fit_two_step(table, target, bootstrap=bootstrap, seed=seed)
    return fit_surface(table, objective, law=law, bootstrap=0, seed=seed)


def _objective(targets: Sequence[str]) -> str | Mapping[str, float]:
    """Equal weights over several `loss.<eval>` columns, or the one column."""
    if len(targets) == 1:
        return targets[0]
    others = [name for name in targets if not name.startswith("loss.")]
    if others or len(set(targets)) < len(targets):
        raise RunTableError(
            f"several targets must be different `loss.<eval>` columns, but got {', '.join(targets)}",
            "backtest the others one at a time",
        )
    return {name.removeprefix("loss."): 1 / len(targets) for name in targets}


def _finite_rows(table: Runs, targets: Sequence[str]) -> tuple[Runs, int]:
    finite = np.all([np.isfinite(table.column(name)) for name in targets], axis=0)
    if not finite.any():
        raise RunTableError(f"no held-out row has a finite {', '.join(targets)}", "choose another --holdout")
    return table.select(finite), int((~finite).sum())
