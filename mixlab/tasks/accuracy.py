"""Accuracy on a benchmark as a curve in the loss: the second step of `two-step`.

Few rows pin down both ends of a curve, so the ends have normal priors, which weigh as much as the scatter of the rows
lets them: rows without noise leave them no say. All forms are tried on the runs of lowest loss, predicted from the
others. Those cannot show what comes beyond them, so of forms that do about as well there the bounded one is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.choice.auto import ADMITTED
from mixlab.laws.forms.solution import Solution, Status
from mixlab.laws.forms.solver import best_of, levenberg_marquardt
from mixlab.tasks.curves import FORMS, Form

# Rows weigh exp(-LATE u): the fit minds the runs of lowest loss, which are nearest to what it is for.
LATE = 0.5
FIRST_SCATTER = 0.02  # in accuracy, where the search for the scatter of the rows begins
REWEIGHTINGS = 8  # of fit and scatter in turn
KEPT = (0.5, 0.6, 0.7, 0.8, 0.9)  # shares of the runs, from the highest loss down, that validation fits
MIN_FIT = 4  # runs


@dataclass(frozen=True)
class Curve:
    """S fits of one form.

    Attributes:
        form: the form.
        theta: (S, P).
        centre, scale: of the losses that were fitted; u = (L - centre) / scale.
        scatter: standard deviation of the rows around the first fit, in accuracy.
        objective: what was minimised, shape (S,).
        status: of each fit.
    """

    form: Form
    theta: Array
    centre: float
    scale: float
    scatter: float
    objective: Array
    status: tuple[Status, ...]

    @property
    def floor(self) -> float:
        """Accuracy of the first fit at a loss without bound."""
        return float(self.theta[0, 0])

    def predict(self, loss: Array) -> Array:
        """Accuracy of each fit at losses (M,), or at its own (S, M): shape (S, M), within 0 and 1."""
        return np.clip(self.form.evaluate(self.theta, (loss - self.centre) / self.scale)[0], 0.0, 1.0)

    def predict_each(self, losses: Array) -> Array:
        """Accuracy at R rows of losses (R, M), row r by fit r mod S: shape (R, M)."""
        return replace(self, theta=self.theta[np.arange(len(losses)) % len(self.theta)]).predict(losses)

    def natural(self, index: int = 0) -> dict[str, float]:
        """The parameters of fit `index`."""
        return self.form.natural(self.theta[index], self.centre, self.scale)


@dataclass(frozen=True)
class TriedCurve:
    """A form that was tried.

    Attributes:
        curve: its fit to all rows.
        error: mean absolute error of the accuracy of runs that it had not seen; NaN where none could be kept out.
        spread: root mean square of the same errors.
        admitted: whether it does about as well as the best.
    """

    curve: Curve
    error: float
    spread: float
    admitted: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "form": self.curve.form.name,
            "formula": self.curve.form.formula,
            "params": self.curve.natural(),
            "error": self.error if np.isfinite(self.error) else None,
            "admitted": self.admitted,
            "status": self.curve.status[0],
        }


def fit_curve(form: Form, loss: Array, accuracy: Array, chance: float | None = None) -> Curve:
    """One form fitted by weighted least squares in accuracy, from many starts.

    Args:
        form: the form.
        loss, accuracy: of n rows, shape (n,).
        chance: the floor, where it is known.
    """
    centre, scale = float(loss.mean()), float(loss.std())
    problem = _Problem(form, (loss - centre) / scale, accuracy, chance)
    theta, scatter = form.starts(float(accuracy.min())), FIRST_SCATTER
    for _ in range(REWEIGHTINGS):
        solution = best_of(problem.solve(theta, scatter), 1)
        theta, before = solution.theta, scatter
        scatter = problem.scatter(theta[0], scatter)
        if abs(scatter - before) < 1e-3 * before:
            break
    return Curve(form, solution.theta, centre, scale, scatter, solution.objective, solution.status)


def resample_curve(
    curve: Curve,
    loss: Array,
    accuracy: Array,
    run: NDArray[np.int64],
    chance: float | None,
    count: int,
    seed: int,
) -> Curve:
    """`count` fits to tables that the curve could have made: residuals change their sign by run (see `bootstrap`)."""
    problem = _Problem(curve.form, (loss - curve.centre) / curve.scale, accuracy, chance)
    runs, index = np.unique(run, return_inverse=True)
    signs = np.random.default_rng((seed, 13)).choice([-1.0, 1.0], (count, len(runs)))[:, index]
    fitted = curve.predict(loss)[0]
    widened = np.sqrt(len(loss) / max(1, len(loss) - curve.form.size))
    tables = fitted + signs * widened * (accuracy - fitted)
    solution = problem.solve(np.repeat(curve.theta[:1], count, axis=0), curve.scatter, tables)
    return replace(curve, theta=solution.theta, objective=solution.objective, status=solution.status)


def rank_forms(loss: Array, accuracy: Array, run: NDArray[np.int64], chance: float | None = None) -> list[TriedCurve]:
    """Every form whose fit converges: those that do about as well as the best on unseen runs, the bounded first."""
    splits = list(_splits(loss, run))
    found = []
    for form in FORMS:
        curve = fit_curve(form, loss, accuracy, chance)
        if curve.status[0] != Status.CONVERGED:
            continue
        errors = [
            fit_curve(form, loss[fit], accuracy[fit], chance).predict(loss[test])[0] - accuracy[test]
            for fit, test in splits
        ]
        mean = float(np.mean([np.mean(np.abs(one)) for one in errors])) if errors else float("nan")
        square = float(np.mean([np.mean(one**2) for one in errors])) if errors else float("nan")
        found.append(TriedCurve(curve, mean, float(np.sqrt(square)), True))
    least = min((one.error for one in found), default=float("nan"))
    told = [replace(one, admitted=not one.error > ADMITTED * least) for one in found]
    return sorted(told, key=lambda one: not one.admitted)


def _splits(loss: Array, run: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Rows to fit and rows to predict: whole runs of highest loss, and the rows of other runs that lie below them."""
    runs, index = np.unique(run, return_inverse=True)
    lowest = np.full(len(runs), np.inf)
    np.minimum.at(lowest, index, loss)
    rank = np.empty(len(runs), dtype=np.int64)
    rank[np.argsort(-lowest, kind="stable")] = np.arange(len(runs))
    counts = (round(share * len(runs)) for share in KEPT)
    for count in sorted({min(max(count, MIN_FIT), len(runs) - 1) for count in counts}):
        fit = rank[index] < count
        test = ~fit & (loss < loss[fit].min(initial=np.inf))
        if count >= MIN_FIT and test.any():
            yield fit, test


@dataclass(frozen=True)
class _Problem:
    """One form and the rows that it is fitted to."""

    form: Form
    u: Array
    accuracy: Array
    chance: float | None

    @property
    def weights(self) -> Array:
        """Of the rows, shape (n,), with mean 1."""
        weights = np.exp(-LATE * (self.u - self.u.min()))
        return weights / weights.mean()

    def box(self) -> tuple[Array, Array]:
        """The form's, with the floor at the chance level, where that is known."""
        lower, upper = self.form.box()
        if self.chance is not None:
            lower[0] = upper[0] = self.chance
        return lower, upper

    def solve(self, theta: Array, scatter: float, tables: Array | None = None) -> Solution:
        """From S starts, each to the observed accuracies or to its own (S, n)."""
        lower, upper = self.box()
        mean, deviation = self.form.prior(float(self.accuracy.min()))
        return levenberg_marquardt(
            lambda at: self.form.evaluate(at, self.u),
            self.accuracy if tables is None else tables,
            np.tile(self.weights, (len(theta), 1)),
            theta,
            delta=1.0,  # no accuracy is off by more: least squares
            lower=lower,
            upper=upper,
            report=np.zeros(self.form.size, dtype=bool),
            prior=(mean, np.broadcast_to((scatter / deviation) ** 2, theta.shape)),
            max_steps=400,
        )

    def scatter(self, theta: Array, assumed: float) -> float:
        """Standard deviation of the residuals, over the degrees of freedom that the prior leaves to the rows."""
        value, jacobian = self.form.evaluate(theta[None], self.u)
        lower, upper = self.box()
        J = jacobian[0][:, (theta > lower) & (theta < upper)]
        prior = (assumed / self.form.prior(0.0)[1][(theta > lower) & (theta < upper)]) ** 2
        normal = J.T @ (self.weights[:, None] * J)
        used = float(np.trace(np.linalg.solve(normal + np.diag(prior + 1e-300), normal)))
        squares = self.weights * (value[0] - self.accuracy) ** 2
        return float(np.sqrt(np.sum(squares) / max(len(self.u) - used, 1.0)))
