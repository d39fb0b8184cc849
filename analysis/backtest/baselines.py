"""What a law's predictions are held against: the other laws, the nearest mixture that was run, and the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.backtest.holdout import SAME_BUDGET
from analysis.backtest.metrics import Scores, score
from analysis.backtest.predictions import Prediction, points_of, predict_table
from mixlab.errors import FitError, RunTableError
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.registry import entries
from mixlab.objective import Objective
from mixlab.runs.table import Runs
from mixlab.tasks import two_step
from mixlab.tasks.trial import without_loss

Predictions = dict[str, dict[str, Prediction]]  # by baseline and target


def baseline_scores(
    fit: Runs, test: Runs, targets: Sequence[str], objective: Objective, law: str, seed: int
) -> dict[str, dict[str, Scores]]:
    """Scores by baseline and target; a baseline that these rows cannot carry is left out.

    Args:
        fit, test: the two sides.
        targets: columns.
        objective: what the laws are fitted to.
        law: what the baselines stand beside.
        seed: of the laws.
    """
    if law == two_step.NAME:  # the other laws are about losses
        found = _without_loss(fit, test, targets[0])
    else:
        found = _other_laws(fit, test, targets, objective, law, seed)
    found |= _without_law(fit, test, targets)
    return {
        name: {target: score(test, target, one) for target, one in predicted.items()}
        for name, predicted in found.items()
        if predicted
    }


def _other_laws(
    fit: Runs, test: Runs, targets: Sequence[str], objective: Objective, law: str, seed: int
) -> Predictions:
    found: Predictions = {}
    for name in (entry.law.name for entry in entries() if entry.compared):
        if name == law:
            continue
        try:
            surface = fit_surface(fit, objective, law=name, bootstrap=0, seed=seed)
            found[name] = predict_table(surface, test, targets, intervals=False)
        except (FitError, RunTableError):  # a law that these rows cannot carry is no baseline
            continue
    return found


def _without_loss(fit: Runs, test: Runs, target: str) -> Predictions:
    """An accuracy without a loss on the way to it."""
    if not fit.has("tokens"):
        return {}
    direct = without_loss(fit, target, test.flops())
    direct.pop("largest-run")  # which is `best-of-largest`
    return {name: {target: Prediction(test.column(target), guess)} for name, guess in direct.items()}


def _without_law(fit: Runs, test: Runs, targets: Sequence[str]) -> Predictions:
    """What somebody says who has no law: what the largest models at hand came to, or the mean."""
    found: Predictions = {"best-of-largest": {}, "mean": {}}
    nearest = _nearest_of_largest(fit, test)
    for target in targets:
        seen = fit.column(target)
        for name, guess in (("best-of-largest", seen[nearest]), ("mean", np.full(len(test), np.nanmean(seen)))):
            if np.isfinite(guess).all():
                found[name][target] = Prediction(test.column(target), guess)
    return found


def _nearest_of_largest(fit: Runs, test: Runs) -> NDArray[np.int64]:
    """Per test row, the row nearest in mixture (L1), then in log N, among the fit's largest budget: shape (n,)."""
    _, params, tokens = points_of((), fit)
    compute = params * tokens
    largest = np.flatnonzero(compute >= compute.max() / SAME_BUDGET)
    distance = np.abs(np.log(points_of((), test)[1])[:, None] - np.log(params[largest])) * 1e-6
    if fit.domains and set(fit.domains) == set(test.domains):
        ours, theirs = points_of(fit.domains, fit)[0], points_of(fit.domains, test)[0]
        assert ours is not None
        assert theirs is not None
        distance = distance + np.abs(theirs[:, None, :] - ours[largest]).sum(axis=-1)
    return largest[distance.argmin(axis=1)]
