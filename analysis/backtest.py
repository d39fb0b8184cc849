"""Backtests: fit without some rows, predict them, and stand the result beside the obvious baselines.

A run stays whole: rows of a held-out run never enter the fit, unless the caller asks for runs to be continued, and
then the result says so. A metric that is not defined is null, never 0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mixlab.errors import FitError, RunTableError
from mixlab.laws import two_step
from mixlab.laws.chained import without_loss
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.registry import law_names
from mixlab.laws.surface import Surface
from mixlab.laws.two_step import TwoStep, fit_two_step
from mixlab.options import matching_columns
from mixlab.runs import RunTable

Array = NDArray[np.float64]
Fitted = Surface | TwoStep

LEVEL = 0.9
MEASURED = ("loss", "acc.", "nll.", "bpb.")


@dataclass(frozen=True)
class Split:
    """Rows to fit and rows to predict.

    Attributes:
        fit, test: the two sides.
        notes: what was left out to keep runs whole, or that runs stand on both sides.
    """

    fit: RunTable
    test: RunTable
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """One target over the held-out rows, arrays of shape (n,), nats or accuracy, with the 90% prediction interval."""

    observed: Array
    predicted: Array
    low: Array | None = None
    high: Array | None = None


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
    targets: dict[str, dict[str, float | None]]
    baselines: dict[str, dict[str, dict[str, float | None]]]
    predictions: dict[str, Prediction]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The keys of `mixlab backtest --json`."""
        names = ("law", "rows_fit", "rows_test", "targets", "baselines", "warnings")
        return {name: getattr(self, name) for name in names}


def split_rows(table: RunTable, held_out: NDArray[np.bool_], *, continue_runs: bool = False) -> Split:
    """Split by a mask of shape (n,), keeping runs whole.

    Args:
        table: the runs.
        held_out: the rows to predict.
        continue_runs: keep the other rows of a held-out run in the fit. The test is then about the same runs
            trained for longer, which share seed and data order with what was fitted: easier than new runs.

    Raises:
        RunTableError: when one side is empty.
    """
    ids = table.run_ids
    both = np.isin(ids, ids[held_out]) & ~held_out
    notes = []
    fit = ~held_out
    if both.any():
        runs = len(np.unique(ids[both]))
        if continue_runs:
            notes.append(f"{runs} runs stand on both sides: later points of runs that the fit has seen are predicted")
        else:
            fit = fit & ~both
            notes.append(f"{int(both.sum())} rows of {runs} held-out runs are left out of the fit, to keep runs whole")
    if not fit.any() or not held_out.any():
        given = f"{int(fit.sum())} to fit and {int(held_out.sum())} to predict"
        hint = "choose another --holdout"
        if both.any() and held_out.any():
            hint = "all runs have held-out rows: add --continue-runs to predict later points of the same runs"
        raise RunTableError(f"a backtest needs rows on both sides, but there are {given}", hint)
    return Split(table.select(fit), table.select(held_out), tuple(notes))


def split_holdout(table: RunTable, expression: str, *, continue_runs: bool = False) -> Split:
    """Hold out the rows for which a pandas query holds (see `RunTable.where`)."""
    numbered = RunTable(table.frame.assign(_row=np.arange(len(table))), table.notes)
    rows = numbered.where(expression).frame["_row"].to_numpy()
    return split_rows(table, np.isin(np.arange(len(table)), rows), continue_runs=continue_runs)


def split_largest(table: RunTable) -> Split:
    """Hold out the rows of the largest budget; runs are continued where nothing else would be left to fit.

    Raises:
        RunTableError: when all rows have one budget.
    """
    flops = table.flops()
    held_out = flops > flops.max() / 1.25  # budgets of one design differ by a factor of 2 or more
    try:
        whole = split_rows(table, held_out)
    except RunTableError:
        return split_rows(table, held_out, continue_runs=True)
    return whole if 2 * len(whole.fit) >= int((~held_out).sum()) else split_rows(table, held_out, continue_runs=True)


def default_targets(table: RunTable) -> tuple[str, ...]:
    """`loss` where there is one, else every `loss.<eval>`."""
    columns = ("loss",) if table.has("loss") else tuple(f"loss.{name}" for name in table.evals)
    if not columns:
        raise RunTableError("the table has no column `loss` or `loss.<eval>`", "name one with --target")
    return columns


def matching_targets(table: RunTable, patterns: Sequence[str]) -> tuple[str, ...]:
    """Columns by name or by pattern, such as `loss.web_*`; each once, in the order asked for.

    Raises:
        RunTableError: when a pattern names no column of losses or accuracies.
    """
    found = [name for pattern in patterns for name in matching_columns(table, pattern, MEASURED)]
    return tuple(dict.fromkeys(found))


def backtest(
    split: Split,
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
    surface = _fit(split.fit, targets, law, bootstrap, seed)
    test, dropped = _finite_rows(split.test, targets)
    predictions = predict_table(surface, test, targets, intervals=True)
    warnings = [*split.notes, *split.fit.notes, *surface.warnings]
    if dropped:
        warnings.append(f"{dropped} held-out rows without a finite loss are left out")
    result = Backtest(
        law=surface.law,
        rows_fit=surface.rows,
        rows_test=len(test),
        targets={name: _scores(test, name, predictions[name]) for name in targets},
        baselines={},
        predictions=predictions,
        warnings=list(dict.fromkeys(warnings)),
    )
    if baselines:
        result.baselines.update(_baselines(split.fit, test, targets, surface.law, seed))
    return result


def metrics(prediction: Prediction) -> dict[str, float | None]:
    """Errors of one target: mean relative error (%), MAE (nats, or accuracy), R2, Spearman's rho, coverage and median
    width (%, of the prediction) of the interval.

    Whatever is not defined for these rows is None.
    """
    observed, predicted = prediction.observed, prediction.predicted
    error = predicted - observed
    spread = float(np.sum((observed - observed.mean()) ** 2))
    ranked = len(observed) >= 3 and np.ptp(observed) > 0 and np.ptp(predicted) > 1e-12 * np.abs(predicted).max()
    covered, width = None, None
    if prediction.low is not None and prediction.high is not None:
        covered = float(np.mean((prediction.low <= observed) & (observed <= prediction.high)))
        width = float(100 * np.median((prediction.high - prediction.low) / predicted))
    return {
        "mean_relative_error": float(100 * np.mean(np.abs(error) / np.abs(observed)))
        if (observed != 0).all()
        else None,
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - float(np.sum(error**2)) / spread if spread > 0 else None,
        "spearman": float(spearmanr(observed, predicted).statistic) if ranked else None,
        "coverage_90": covered,
        "width_90": width,
    }


def choices(observed: Array, predicted: Array, groups: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """How good decisions by the prediction are among alternatives: regret and pairwise accuracy.

    Rows of one group must be alternatives (same size and tokens, different mixtures). Regret is the mean over groups of
    (the loss of the row predicted best) - (the best loss), nats; accuracy is the share of pairs of a group that the
    prediction orders as they were observed. None without a group of two, or where a prediction makes no choice
    because it is the same for a whole group.
    """
    regrets, right, pairs = [], 0, 0
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) < 2:
            continue
        seen, guess = observed[rows], predicted[rows]
        if np.ptp(guess) <= 1e-12 * np.abs(guess).max():
            return None, None
        regrets.append(float(seen[guess.argmin()] - seen.min()))
        first, second = np.triu_indices(len(rows), 1)
        differ = seen[first] != seen[second]
        right += int(np.sum(differ & ((seen[first] < seen[second]) == (guess[first] < guess[second]))))
        pairs += int(differ.sum())
    return (float(np.mean(regrets)) if regrets else None), (right / pairs if pairs else None)


def predict_table(
    surface: Fitted, table: RunTable, targets: Sequence[str], *, intervals: bool
) -> dict[str, Prediction]:
    """The surface's predictions for the rows of a table, by target."""
    mixture, params, tokens = _points(surface.domains, table)
    surface = surface.with_supply(_supply(surface.domains, table))
    predicted = surface.predict_targets(mixture, params, tokens)
    result = {}
    for name in targets:
        low, high = None, None
        if intervals:
            low, high = surface.interval(mixture, params, tokens, level=LEVEL, kind="prediction", target=name)
        result[name] = Prediction(table.column(name), predicted[name], low, high)
    return result


def _fit(table: RunTable, targets: Sequence[str], law: str, bootstrap: int, seed: int) -> Fitted:
    """The law fitted to what is asked for."""
    objective = _objective(targets)
    if law == two_step.NAME:
        return fit_two_step(table, targets[0], bootstrap=bootstrap, seed=seed)
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


def _points(domains: tuple[str, ...], table: RunTable) -> tuple[Array | None, Array, Array]:
    """h (n, K) in the law's order, N (n,), D (n,); ones stand for a column that the table does not have."""
    count = len(table)
    params = table.params() if table.has("params") or table.has("params_non_embed") else np.ones(count)
    tokens = table.tokens() if table.has("tokens") else np.ones(count)
    if not domains:
        return None, params, tokens
    for first, second, side in ((domains, table.domains, "held-out"), (table.domains, domains, "fitted")):
        missing = [name for name in first if name not in second]
        if missing:
            raise RunTableError(
                f"both tables must have the same domains, but `mix.{missing[0]}` is not among the {side} ones",
                "rename the columns, or add the missing one with weight 0",
            )
    order = [table.domains.index(name) for name in domains]
    return table.mixtures()[:, order], params, tokens


def _supply(domains: tuple[str, ...], table: RunTable) -> Array:
    """Unique tokens of each row in the law's order, shape (n, K), or (n, 1); `inf` where they are not known."""
    return table.unique()[:, [table.domains.index(name) for name in domains]] if domains else table.unique()


def _finite_rows(table: RunTable, targets: Sequence[str]) -> tuple[RunTable, int]:
    finite = np.all([np.isfinite(table.column(name)) for name in targets], axis=0)
    if not finite.any():
        raise RunTableError(f"no held-out row has a finite {', '.join(targets)}", "choose another --holdout")
    return table.select(finite), int((~finite).sum())


def _scores(test: RunTable, target: str, prediction: Prediction) -> dict[str, float | None]:
    scores = metrics(prediction)
    regret, accuracy = None, None
    if test.domains:
        better = -1.0 if target.startswith("acc.") else 1.0  # the smallest loss, the largest accuracy
        regret, accuracy = choices(better * prediction.observed, better * prediction.predicted, _alternatives(test))
    return {**scores, "regret_at_1": regret, "decision_accuracy": accuracy}


def _alternatives(table: RunTable) -> NDArray[np.int64]:
    """Group rows of the same size and tokens (to 1%), shape (n,)."""
    _, params, tokens = _points((), table)
    keys = np.round(np.log(np.column_stack([params, tokens])) / 0.01)
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1]).reshape(-1)


def _baselines(
    fit: RunTable, test: RunTable, targets: Sequence[str], used: str, seed: int
) -> dict[str, dict[str, dict[str, float | None]]]:
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for name in law_names() if used != two_step.NAME else ():  # those laws are about losses
        if name == used:
            continue
        try:
            surface = fit_surface(fit, _objective(targets), law=name, bootstrap=0, seed=seed)
            predictions = predict_table(surface, test, targets, intervals=False)
        except (FitError, RunTableError):  # a law that these rows cannot carry is no baseline
            continue
        found[name] = {target: _scores(test, target, predictions[target]) for target in targets}
    if used == two_step.NAME and fit.has("tokens"):
        direct = without_loss(fit, targets[0], test.flops())
        direct.pop("largest-run")  # which is `best-of-largest` below
        for name, guess in direct.items():
            found[name] = {targets[0]: _scores(test, targets[0], Prediction(test.column(targets[0]), guess))}
    nearest = _nearest_of_largest(fit, test)
    for name in ("best-of-largest", "mean"):
        found[name] = {}
        for target in targets:
            seen = fit.column(target)
            guess = seen[nearest] if name == "best-of-largest" else np.full(len(test), np.nanmean(seen))
            if np.isfinite(guess).all():
                found[name][target] = _scores(test, target, Prediction(test.column(target), guess))
    return {name: scores for name, scores in found.items() if scores}


def _nearest_of_largest(fit: RunTable, test: RunTable) -> NDArray[np.int64]:
    """Per test row, the row nearest in mixture (L1), then in log N, among the fit's largest budget: shape (n,).

    What somebody does who has no law: take the ranking of the largest models at hand.
    """
    _, params, tokens = _points((), fit)
    compute = params * tokens
    largest = np.flatnonzero(compute >= compute.max() / 1.25)
    distance = np.abs(np.log(_points((), test)[1])[:, None] - np.log(params[largest])) * 1e-6
    if fit.domains and set(fit.domains) == set(test.domains):
        ours, theirs = _points(fit.domains, fit)[0], _points(fit.domains, test)[0]
        assert ours is not None
        assert theirs is not None
        distance = distance + np.abs(theirs[:, None, :] - ours[largest]).sum(axis=-1)
    return largest[distance.argmin(axis=1)]
