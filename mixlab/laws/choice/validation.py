"""Recipes fitted to the rows of every validation split and to all rows, in one solve for the recipes of a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from mixlab.arrays import Array
from mixlab.laws.choice.blend import FitRecipe
from mixlab.laws.choice.rows import SPARE_ROWS, Data, groups_of_mixtures
from mixlab.laws.choice.transfer import ValidationSplit, make_splits
from mixlab.laws.forms.base import Fits


@dataclass(frozen=True)
class Tried:
    """A recipe that was tried: its fits.

    Attributes:
        recipe: what was fitted.
        fits: by target, to the rows of each split.
        whole: by target, to all rows.
    """

    recipe: FitRecipe
    fits: dict[str, Fits]
    whole: dict[str, Fits]

    def predicted(self, data: Data) -> dict[str, Array]:
        """By target, of every row by the fit to each split, shape (S, n); NaN where the target is missing."""
        found = {}
        for target, fit in self.fits.items():
            here = data.measured(target)
            found[target] = np.full((len(fit), len(here)), np.nan)
            if len(fit):
                found[target][:, here] = fit.predict(data.of(target))
        return found


def validation_splits(data: Data, parameters: int, seed: int) -> list[ValidationSplit]:
    """The splits whose fits leave a law of so many parameters rows to spare; see `make_splits`."""
    groups = groups_of_mixtures(data.rows.mixture)
    return make_splits(data.scales, groups, parameters + SPARE_ROWS, seed)


def try_recipes(recipes: Sequence[FitRecipe], data: Data, splits: Sequence[ValidationSplit], seed: int) -> list[Tried]:
    """Each recipe's fits to each split and to all rows, in the recipes' order, those of one law side by side."""
    found: list[Tried] = []
    for _, group in groupby(recipes, lambda recipe: recipe.law):  # the recipes of one law are solved together
        together = list(group)
        solved = {target: _solved(together, data, target, splits, seed) for target in data.losses}
        for i, recipe in enumerate(together):
            fits = {target: each[i] for target, each in solved.items()}
            found.append(Tried(recipe, {t: one[0] for t, one in fits.items()}, {t: one[1] for t, one in fits.items()}))
    return found


def follow_residuals(tried: Tried, data: Data, splits: Sequence[ValidationSplit], seed: int) -> Tried:
    """The same law with a process that follows the residuals of each fit, with the kernel of all rows."""
    law = tried.recipe.process
    if law is None:
        return tried
    recipe = replace(tried.recipe, law=law.name)
    fits: dict[str, Fits] = {}
    whole: dict[str, Fits] = {}
    for target in data.losses:
        rows, weights = data.of(target), _weights_of(recipe, data, target, splits)
        whole[target] = law.follow(tried.whole[target], rows, weights[-1:], seed)
        fits[target] = law.follow(tried.fits[target], rows, weights[:-1], seed, whole[target].theta[0])
    return Tried(recipe, fits, whole)


def _solved(
    recipes: Sequence[FitRecipe], data: Data, target: str, splits: Sequence[ValidationSplit], seed: int
) -> list[tuple[Fits, Fits]]:
    """For each recipe of one law, its fits to the splits' rows and its fit to all rows of the target."""
    rows = data.of(target)
    law, every = recipes[0].form, np.ones((1, len(rows)))
    # The search begins where the fit to all rows, weighed alike, ends: many starts each would find the same places.
    first = law.fit(rows, every, seed)
    weights = [_weights_of(recipe, data, target, splits) for recipe in recipes]
    together = law.fit(rows, np.concatenate(weights), seed, first.theta[0])
    found, S = [], len(splits)
    for own, each in zip(weights, range(0, len(together), S + 1), strict=True):
        whole = first if np.ptp(own[S]) == 0 else together.one(each + S).refreshed(rows, own[S:], seed)
        found.append((together.some(slice(each, each + S)), whole))
    return found


def _weights_of(recipe: FitRecipe, data: Data, target: str, splits: Sequence[ValidationSplit]) -> Array:
    """Weights of the target's rows in the fit to each split, then in that to all rows, shape (S + 1, n)."""
    here = data.measured(target)
    masks = np.array([*(split.fit[here] for split in splits), np.ones(here.sum())], dtype=float)
    return recipe.weights(data.of(target), data.flops[here], masks)
