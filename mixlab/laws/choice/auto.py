"""`auto`: the mean of the laws that predict best what they have not seen. Never by in-sample error.

Every law that the rows can carry is tried with several recipes. Those whose error on validation splits is within a
factor of two of the best count alike: estimated weights seldom beat equal ones (Stock and Watson 2004 call it the
forecast combination puzzle), the less so where validation cannot show the target's scale.
Baselines are tried beside them and never blended in: what they extrapolate to is an edge or a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.choice.blend import FitRecipe
from mixlab.laws.choice.candidates import candidate_laws
from mixlab.laws.choice.rows import Data, require_support
from mixlab.laws.choice.transfer import TransferError, ValidationSplit, log_errors, measure
from mixlab.laws.choice.validation import Tried, follow_residuals, try_recipes, validation_splits
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.registry import get_law

EMPHASES = (0.0, 0.5, 1.0)
EARLY = 0.25  # of a run's tokens, left out where runs have many evaluations
MANY_EVALUATIONS = 8  # of a run: from here on its early ones are left out
WEIGHED_BY = ("compute", "mixture")  # origins by model size or epochs are for the intervals alone
ADMITTED = 2.0  # times the smallest error on unseen runs: what lies below does about as well


@dataclass(frozen=True)
class Candidate:
    """A recipe that was tried.

    Attributes:
        recipe: what was fitted.
        error: of the objective.
        weight: its mean weight over the targets; 0 for a baseline.
        parameters: of its law.
    """

    recipe: FitRecipe
    error: TransferError
    weight: float
    parameters: int

    @property
    def baseline(self) -> bool:
        """Whether it stands for comparison alone."""
        return self.recipe.form.baseline

    def to_dict(self) -> dict[str, Any]:
        def finite(value: float) -> float | None:
            return float(value) if np.isfinite(value) else None

        return {
            "law": self.recipe.law,
            "emphasis": self.recipe.emphasis,
            "early": self.recipe.early,
            "transfer_error": finite(self.error.score),
            "compute_error": finite(self.error.compute),
            "mixture_error": finite(self.error.mixture),
            "weight": self.weight,
            "parameters": self.parameters,
            "baseline": self.baseline,
        }


@dataclass(frozen=True)
class Choice:
    """What is blended for each target, and how it did on rows it had not seen.

    Attributes:
        members: by target, recipes and their weights.
        transfer: by target, the blend's error.
        objective: the objective's error.
        whole: by target and recipe, the fit to all rows of each that was tried.
        candidates: all that were tried, by weight, then error; empty when the law was named.
    """

    members: dict[str, tuple[tuple[FitRecipe, float], ...]]
    transfer: dict[str, TransferError]
    objective: TransferError
    whole: dict[str, dict[FitRecipe, Fits]]
    candidates: tuple[Candidate, ...] = ()


def named(law: str, data: Data, seed: int) -> Choice:
    """The one law that was asked for, and its error on rows it had not seen.

    Raises:
        FitError: when the rows cannot carry it.
    """
    recipe = FitRecipe(law, early=_early(data))
    for target in data.losses:
        require_support(recipe.form, data.of(target))
    splits = validation_splits(data, recipe.form.free(data.rows), seed)
    tried = try_recipes([recipe], data, splits, seed)
    predicted = tried[0].predicted(data)
    return Choice(
        members=dict.fromkeys(data.losses, ((recipe, 1.0),)),
        transfer={target: measure(splits, predicted[target], data.losses[target]) for target in data.losses},
        objective=measure(splits, data.objective.of(predicted), data.total),
        whole=_whole(tried, data),
    )


def weigh(data: Data, seed: int) -> Choice:
    """The laws that these rows can carry, admitted by their errors on rows that they had not seen.

    Raises:
        FitError: when there is none (see `candidate_laws`).
    """
    names = candidate_laws(data)
    splits = validation_splits(data, min(get_law(name).free(data.rows) for name in names), seed)
    scaled = bool(np.ptp(np.log(data.flops)) > 0)
    recipes = _recipes(names, scaled, _early(data))
    laws_only = np.array([not recipe.form.baseline for recipe in recipes])
    tried = try_recipes(recipes, data, splits, seed)
    judged = predicted = [one.predicted(data) for one in tried]
    if not scaled:
        tried = [follow_residuals(one, data, splits, seed) for one in tried]
        recipes, predicted = [one.recipe for one in tried], [one.predicted(data) for one in tried]
    weights = {
        target: _weights(splits, np.array([one[target] for one in judged]), observed, laws_only)
        for target, observed in data.losses.items()
    }
    blends = {target: _blended(np.array([one[target] for one in predicted]), weights[target]) for target in weights}
    return Choice(
        members={
            target: tuple((r, float(w)) for r, w in zip(recipes, each, strict=True) if w > 0)
            for target, each in weights.items()
        },
        transfer={target: measure(splits, blends[target], observed) for target, observed in data.losses.items()},
        objective=measure(splits, data.objective.of(blends), data.total),
        whole=_whole(tried, data),
        candidates=_ranked(recipes, predicted, np.mean(list(weights.values()), axis=0), splits, data),
    )


def _early(data: Data) -> float:
    """The share of each run's tokens whose evaluations are left out."""
    counts = np.unique(data.rows.run, return_counts=True)[1]
    return EARLY if np.median(counts) >= MANY_EVALUATIONS and np.ptp(data.rows.tokens) > 0 else 0.0


def _recipes(names: Sequence[str], scaled: bool, early: float) -> list[FitRecipe]:
    """Every law with every emphasis, where budgets differ; a baseline has none."""
    return [
        FitRecipe(name, emphasis, early)
        for name in names
        for emphasis in (EMPHASES if scaled and not get_law(name).baseline else EMPHASES[:1])
    ]


def _whole(tried: Sequence[Tried], data: Data) -> dict[str, dict[FitRecipe, Fits]]:
    """By target and recipe, the fit to all rows."""
    return {target: {one.recipe: one.whole[target] for one in tried} for target in data.losses}


def _ranked(
    recipes: Sequence[FitRecipe],
    predicted: Sequence[dict[str, Array]],
    weights: Array,
    splits: Sequence[ValidationSplit],
    data: Data,
) -> tuple[Candidate, ...]:
    """What was tried, by weight, then error; baselines last."""
    candidates = [
        Candidate(r, measure(splits, data.objective.of(one), data.total), float(w), r.form.free(data.rows))
        for r, one, w in zip(recipes, predicted, weights, strict=True)
    ]
    return tuple(sorted(candidates, key=lambda one: (one.baseline, -one.weight, one.error.score)))


def _weights(
    splits: Sequence[ValidationSplit], predicted: Array, observed: Array, laws_only: NDArray[np.bool_]
) -> Array:
    """Weights of candidates, shape (m,), for predictions (m, S, n): 0 for those not admitted."""
    # A split whose test rows all lack this target says nothing about it.
    told = [i for i, split in enumerate(splits) if split.kind in WEIGHED_BY and np.isfinite(observed[split.test]).any()]
    if not told:
        return laws_only / laws_only.sum()
    splits, predicted = [splits[i] for i in told], predicted[:, told]
    error = np.array([np.nanmean(log_errors(splits, one, observed), axis=1) for one in predicted])
    # Splits differ in how hard they are: each counts relative to its median law.
    ratio = error / np.median(error[laws_only], axis=0)
    kinds = np.array([split.kind for split in splits])
    by_kind = [np.mean(ratio[:, kinds == kind] ** 2, axis=1) for kind in np.unique(kinds)]
    score = np.where(laws_only, np.sqrt(np.mean(by_kind, axis=0)), np.nan)
    admitted = score <= ADMITTED * np.nanmin(score)
    return admitted / admitted.sum()


def _blended(predicted: Array, weights: Array) -> Array:
    """The blend's predictions (S, n) of (m, S, n)."""
    used = weights > 0
    return np.exp(np.einsum("m,msn->sn", weights[used], np.log(np.maximum(predicted[used], 1e-300))))
