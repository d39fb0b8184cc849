"""`two-step`: how well a model will do on a benchmark, by way of a loss (Gadre et al. 2024).

Accuracy jumps, saturates and is noisy where the loss is smooth. So the loss is predicted from (h, N, D) by a `Surface`,
and accuracy from the loss by a curve that the same runs give. The interval goes through both steps: draws of the loss
from its prediction interval, through resampled curves, with the scatter of runs around the curve on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mixlab.arrays import Array
from mixlab.errors import ConfigError, FitError, RunTableError
from mixlab.laws.bootstrap import parameter_intervals, percentile_interval
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.predictor import LEVEL, require_interval
from mixlab.laws.result import FitResult
from mixlab.laws.surface import Surface
from mixlab.objective import Objective
from mixlab.runs.table import Runs
from mixlab.tasks.accuracy import MIN_FIT, Curve, TriedCurve, rank_forms, resample_curve
from mixlab.tasks.rise import binomial, require_rise

NAME = "two-step"
PATHS = 4000  # through both steps, behind an interval


@dataclass(frozen=True)
class TwoStep:
    """A fitted chain: a `Predictor` of its target, as a `Surface` is of losses.

    Attributes:
        target: the accuracy column.
        loss: weights of the loss columns that it goes through.
        surface: step 1.
        curve: step 2.
        resamples: bootstrap draws of every admitted form, or without bootstrap those forms.
        candidates: the forms that were tried for step 2, the chosen one first.
        fits: by target, as they are printed.
        rows: how many rows step 2 was fitted to.
        lowest_loss: of those rows.
        scatter: standard deviation of a run's accuracy around the curve, beyond what `items` explain.
        chance: the accuracy of guessing, where it is known.
        items: how many questions the benchmark has, where that is known.
        warnings: in words.
        seed: of the draws.
    """

    target: str
    loss: Objective
    surface: Surface
    curve: Curve
    resamples: tuple[Curve, ...]
    candidates: tuple[TriedCurve, ...]
    fits: dict[str, FitResult]
    rows: int
    lowest_loss: float
    scatter: float
    chance: float | None
    items: int | None
    warnings: list[str] = field(default_factory=list)
    seed: int = 0
    law: str = NAME

    @property
    def domains(self) -> tuple[str, ...]:
        return self.surface.domains

    def with_supply(self, unique: Array) -> TwoStep:
        """The same, asked at a supply of unique tokens (see `Surface.with_supply`)."""
        return replace(self, surface=self.surface.with_supply(unique))

    def steps(self) -> dict[str, dict[str, Any]]:
        """Both steps, for JSON."""
        return {
            "step_1": {
                "targets": dict(self.loss),
                "law": self.surface.law,
                "fits": {name: fit.to_dict() for name, fit in self.surface.fits.items()},
            },
            "step_2": {
                **self.candidates[0].to_dict(),
                "rows": self.rows,
                "interval": {name: list(bounds) for name, bounds in self.fits[self.target].interval.items()},
                "scatter": self.scatter,
                "chance": self.chance,
                "items": self.items,
                "candidates": [one.to_dict() for one in self.candidates],
            },
        }

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Accuracy at h (M, K) or (K,), N, D: shape (M,)."""
        return self.curve.predict(self.surface.predict(mixture, params, tokens))[0]

    def predict_targets(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> dict[str, Array]:
        """The same, by column."""
        return {self.target: self.predict(mixture, params, tokens)}

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = LEVEL,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """See `Predictor.interval`; both steps err, and a mean of many runs has no scatter around the curve."""
        require_interval(kind, target, (self.target,))
        draws = self.draws(mixture, params, tokens, kind)
        return percentile_interval(draws, level, self.predict(mixture, params, tokens))

    def draws(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike, kind: str = "prediction") -> Array:
        """Accuracies that may come out, shape (PATHS, M); chains of one seed share the luck of each draw."""
        loss = self.surface.predict(mixture, params, tokens)
        low, high = self.surface.interval(mixture, params, tokens, LEVEL, kind)
        # Errors of a predicted loss are symmetric in its logarithm.
        width = np.log(high / low) / (2 * stats.norm.ppf(0.5 + LEVEL / 2))
        of_loss, of_run = luck(self.seed)
        losses = loss * np.exp(width * of_loss)
        accuracy = np.empty_like(losses)
        forms = len(self.resamples)
        for index, curve in enumerate(self.resamples):
            accuracy[index::forms] = curve.predict_each(losses[index::forms])
        if kind == "prediction":
            accuracy += of_run * np.sqrt(self.scatter**2 + binomial(accuracy, self.items))
        return np.clip(accuracy, 0.0, 1.0)


def luck(seed: int) -> Array:
    """What each draw of a loss and of a run's scatter comes to, in standard deviations: shape (2, PATHS, 1)."""
    return np.random.default_rng((seed, 17)).standard_normal((2, PATHS, 1))


def fit_two_step(
    table: Runs,
    target: str,
    *,
    loss: str | None = None,
    law: str = "auto",
    chance: float | None = None,
    items: int | None = None,
    bootstrap: int = 200,
    seed: int = 0,
    params_column: str | None = None,
    surface: Surface | None = None,
) -> TwoStep:
    """Fit both steps.

    Args:
        table: runs.
        target: the accuracy column, `acc.<task>`.
        loss: the column to go through; absent: `nll.<task>`, else `loss`, else the mean of all `loss.<eval>`.
        law: of step 1, a name or `auto`.
        chance: the accuracy of guessing; absent: the floor is estimated.
        items: how many questions the benchmark has.
        bootstrap: resamples of each step.
        seed: of resamples and folds.
        params_column: which column is N.
        surface: step 1, where it has been fitted already.

    Raises:
        ConfigError: when the target is no accuracy.
        RunTableError: when a column is missing or holds what cannot be an accuracy.
        FitError: when accuracy does not rise as the loss falls, or the runs cannot carry step 1.
    """
    weights = loss_columns(table, target, loss)
    accuracy, losses = _accuracies(table, target), table.objective(weights)
    here = np.isfinite(accuracy) & np.isfinite(losses)
    accuracy, losses = accuracy[here], losses[here]
    run = np.unique(table.run_ids[here].astype(str), return_inverse=True)[1].astype(np.int64)
    if len(np.unique(run)) <= MIN_FIT:
        run = np.arange(len(run))  # too few runs to keep whole
    require_rise(losses, accuracy, target, chance, items)
    if surface is None:
        surface = fit_surface(table, weights, law=law, bootstrap=bootstrap, seed=seed, params_column=params_column)
    candidates = rank_forms(losses, accuracy, run, chance)
    if not candidates:
        raise FitError(
            f"no curve from the loss to `{target}` converges on {len(losses)} rows",
            f"predict `{next(iter(weights))}` instead, or add runs of lower loss",
        )
    best = candidates[0]
    admitted = [one.curve for one in candidates if one.admitted]
    draws = [resample_curve(one, losses, accuracy, run, chance, bootstrap, seed) for one in admitted if bootstrap]
    warnings = list(surface.warnings)
    if chance is None:
        warnings.append(f"the accuracy of guessing is not given: the floor is estimated at {best.curve.floor:.3f}")
    if not np.isfinite(best.error):
        warnings.append("the runs are too few to choose the curve of step 2 by unseen runs: the first form is taken")
    # What validation missed by, or where it could not be tried the scatter in sample; less what guessing explains.
    spread = np.fmax(best.curve.scatter, best.spread)
    explained = float(np.mean(binomial(accuracy, items)))
    return TwoStep(
        target=target,
        loss=weights,
        surface=surface,
        curve=best.curve,
        resamples=tuple(draws or admitted),
        candidates=tuple(candidates),
        fits={target: _result(target, best.curve, draws[0] if draws else None, len(losses))},
        rows=len(losses),
        lowest_loss=float(losses.min()),
        scatter=float(np.sqrt(max(0.0, spread**2 - explained))),
        chance=chance,
        items=items,
        warnings=list(dict.fromkeys(warnings)),
        seed=seed,
    )


def loss_columns(table: Runs, target: str, loss: str | None = None) -> Objective:
    """Weights of the loss columns that a task is predicted through.

    Raises:
        ConfigError: when the target is not called `acc.<task>`.
        RunTableError: when the table has no loss.
    """
    if not target.startswith("acc."):
        tasks = [name for name in map(str, table.frame.columns) if name.startswith("acc.")]
        raise ConfigError(
            f"`{NAME}` predicts an accuracy `acc.<task>`, but got `{target}`",
            f"name one as target, such as {tasks[0]}" if tasks else "the table has no column acc.<task>: add one",
        )
    own = f"nll.{target.removeprefix('acc.')}"
    if loss is not None:
        table.column(loss)
        return Objective.column(loss)
    for name in (own, "loss"):
        if table.has(name):
            return Objective.column(name)
    if not table.evals:
        raise RunTableError(
            f"the table has no loss to predict `{target}` through: `{own}`, `loss` or `loss.<eval>`",
            "add the loss of the correct answers, or a validation loss",
        )
    return Objective.equal(table.evals)


def _accuracies(table: Runs, target: str) -> Array:
    accuracy = table.column(target)
    bad = (accuracy < 0) | (accuracy > 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RunTableError(
            f"an accuracy must lie between 0 and 1, but row {row + 1} has `{target}` {accuracy[row]:g}",
            "divide percentages by 100",
        )
    return accuracy


def _result(target: str, curve: Curve, resamples: Curve | None, rows: int) -> FitResult:
    draws = [resamples.natural(index) for index in range(len(resamples.theta))] if resamples is not None else []
    return FitResult(
        NAME, target, rows, curve.natural(), parameter_intervals(draws), float(curve.objective[0]), curve.status[0]
    )
