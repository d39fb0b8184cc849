"""`auto`: the mean of the laws that predict best what they have not seen. Never by in-sample error.

Every law that the rows can carry is tried with several recipes, and each is refitted to every validation split in the
same solve as to all rows. Those
whose error there is within a factor of two of the best count alike: estimated weights seldom beat equal ones (Stock and
Watson 2004 call it the forecast combination puzzle), the less so where validation cannot show the target's scale.
Baselines are tried beside them and never blended in: what they extrapolate to is an edge or a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import FitError
from mixlab.laws.base import Array, Fit
from mixlab.laws.blend import Recipe
from mixlab.laws.bootstrap import groups_of_mixtures
from mixlab.laws.gp import WithGaussianProcess
from mixlab.laws.registry import get_law
from mixlab.laws.support import SPARE_ROWS, Data, require_support, states_supply, varying
from mixlab.laws.transfer import Split, TransferError, log_errors, make_splits, measure

# By what varies in the rows. Where both vary, what the laws miss about a mixture at one size is largely what they miss
# at the next, so a process follows their residuals. At one scale it learns what larger models may not share, and
# validation at that scale cannot tell: it follows the residuals there and fades elsewhere (`gp.Features.fade`), and the
# laws are admitted by what they predict without it. `power-mix` is `concave-data` with beta at 1.
OF_SCALE = ("additive-data", "effective-data")
OF_MIXTURE = ("loglinear", "effective-data", "concave-data")
OF_BOTH = ("additive-data+gp", "effective-data+gp", "concave-data+gp", "joint+gp", "joint-additive+gp")
# Where unique tokens are stated these stand for the forms that take a repeat for fresh text. Rows that repeat nothing
# cannot tell the two apart, but a larger run of the best mixture may repeat what is scarce.
COUNTING_REPEATS = {
    "additive-data": "repetition",
    "effective-data": "effective-repetition",
    "concave-data": "concave-repetition",
}
BASELINES = ("linear",)
EMPHASES = (0.0, 0.5, 1.0)
EARLY = 0.25  # of a run's tokens, left out where runs have many evaluations
MANY_EVALUATIONS = 8  # of a run: from here on its early ones are left out
MIXTURES_PER_COEFFICIENT = 1  # distinct mixtures that each coefficient of a domain must rest on
WEIGHED_BY = ("compute", "mixture")  # origins by model size or epochs are for the intervals alone
ADMITTED = 2.0  # times the smallest error: candidates up to here are blended


@dataclass(frozen=True)
class Candidate:
    """A recipe that was tried.

    Attributes:
        recipe: what was fitted.
        predicted: by target, of every row by the fit of each split, shape (S, n); NaN where the target is missing.
        error: of the objective.
        weight: its mean weight over the targets; 0 for a baseline.
        parameters: of its law.
    """

    recipe: Recipe
    predicted: dict[str, Array]
    error: TransferError
    weight: float
    parameters: int

    @property
    def baseline(self) -> bool:
        """Whether it stands for comparison alone."""
        return not self.recipe.form.takes

    def to_json(self) -> dict[str, Any]:
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
class _Tried:
    """A recipe's fits.

    Attributes:
        recipe: what was fitted.
        fits: by target, to the rows of each split.
        whole: by target, to all rows.
    """

    recipe: Recipe
    fits: dict[str, Fit]
    whole: dict[str, Fit]

    def predicted(self, data: Data) -> dict[str, Array]:
        """By target, of every row by the fit to each split, shape (S, n); NaN where the target is missing."""
        found = {}
        for target, fit in self.fits.items():
            here = data.measured(target)
            found[target] = np.full((len(fit.theta), len(here)), np.nan)
            if len(fit.theta):
                found[target][:, here] = fit.predict(data.of(target))
        return found


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

    members: dict[str, tuple[tuple[Recipe, float], ...]]
    transfer: dict[str, TransferError]
    objective: TransferError
    whole: dict[str, dict[Recipe, Fit]]
    candidates: tuple[Candidate, ...] = ()


def named(law: str, data: Data, seed: int) -> Choice:
    """The one law that was asked for, and its error on rows it had not seen.

    Raises:
        FitError: when the rows cannot carry it.
    """
    recipe = Recipe(law, early=EARLY if _many_evaluations(data) else 0.0)
    for target in data.losses:
        require_support(recipe.form, data.of(target))
    splits = _splits(data, recipe.form.free(data.rows), seed)
    tried = _tried([recipe], data, splits, seed)
    predicted = tried[0].predicted(data)
    transfer = {target: measure(splits, predicted[target], data.losses[target]) for target in data.losses}
    return Choice(
        dict.fromkeys(data.losses, ((recipe, 1.0),)),
        transfer,
        measure(splits, _combined(predicted, data), data.total),
        _whole(tried, data),
    )


def weigh(data: Data, seed: int) -> Choice:
    """The laws that these rows can carry, admitted by their errors on rows that they had not seen.

    A law is a candidate when all it needs varies in the rows, when nothing that varies is lost on it, and when there
    are enough distinct mixtures for its coefficients: a flexible law can predict the next budget of the mixtures it
    has seen and still be wrong about the ones it has not, where the optimum lies.

    Raises:
        FitError: when there is none, with the reason of the simplest law that fits the table.
    """
    names = _carried(data)
    splits = _splits(data, min(get_law(name).free(data.rows) for name in names), seed)
    scaled = bool(np.ptp(np.log(data.flops)) > 0)
    early = EARLY if _many_evaluations(data) else 0.0
    recipes = [
        Recipe(name, emphasis, early)
        for name in names
        for emphasis in (EMPHASES if scaled and get_law(name).takes else EMPHASES[:1])
    ]
    laws_only = np.array([bool(recipe.form.takes) for recipe in recipes])
    tried = _tried(recipes, data, splits, seed)
    judged = predicted = [one.predicted(data) for one in tried]
    if not scaled:
        tried = [_following(one, data, splits, seed) for one in tried]
        recipes, predicted = [one.recipe for one in tried], [one.predicted(data) for one in tried]
    members, weights, blends, transfer = {}, {}, {}, {}
    for target, observed in data.losses.items():
        weights[target] = _weights(splits, np.array([one[target] for one in judged]), observed, laws_only)
        blends[target] = _blended(np.array([one[target] for one in predicted]), weights[target])
        transfer[target] = measure(splits, blends[target], observed)
        members[target] = tuple((r, float(w)) for r, w in zip(recipes, weights[target], strict=True) if w > 0)
    mean_weight = np.mean(list(weights.values()), axis=0)
    candidates = [
        Candidate(r, one, measure(splits, _combined(one, data), data.total), float(w), r.form.free(data.rows))
        for r, one, w in zip(recipes, predicted, mean_weight, strict=True)
    ]
    ranked = sorted(candidates, key=lambda one: (one.baseline, -one.weight, one.error.score))
    objective = measure(splits, _combined(blends, data), data.total)
    return Choice(members, transfer, objective, _whole(tried, data), tuple(ranked))


def _whole(tried: Sequence[_Tried], data: Data) -> dict[str, dict[Recipe, Fit]]:
    """By target and recipe, the fit to all rows."""
    return {target: {one.recipe: one.whole[target] for one in tried} for target in data.losses}


def _carried(data: Data) -> list[str]:
    """The names of the laws that the rows can carry."""
    present = varying(data.rows)
    mixtures, domains = len(np.unique(groups_of_mixtures(data.rows.mixture))), len(data.rows.domains)
    names: list[str] = []
    refusal: FitError | None = None
    both = "mixture" in present and present & {"params", "tokens"}
    wanted: tuple[str, ...] = OF_BOTH if both else OF_MIXTURE if "mixture" in present else OF_SCALE
    if states_supply(data.rows):
        wanted = tuple(_counting_repeats(name) for name in wanted)
    for name in (*wanted, *BASELINES):
        law = get_law(name)
        if law.takes and (present - law.takes or law.needs - present - {"unique"} or not present):
            continue
        try:
            for target in data.losses:
                require_support(law, data.of(target))
        except FitError as reason:
            refusal = refusal or reason
            continue
        per_domain = law.size(domains) - law.size(0)
        if law.takes and "mixture" in present and mixtures < MIXTURES_PER_COEFFICIENT * per_domain:
            refusal = refusal or FitError(
                f"the law `{name}` has {per_domain} coefficients of domains and needs at least "
                f"{MIXTURES_PER_COEFFICIENT * per_domain} distinct mixtures, but got {mixtures}",
                "add mixtures, or choose the law by name to fit it all the same",
            )
            continue
        names.append(name)
    if not any(get_law(name).takes for name in names):
        raise refusal or FitError(
            "no law fits these rows: nothing varies in them",
            "a fit needs runs that differ in model size, tokens or mixture",
        )
    return names


def _counting_repeats(name: str) -> str:
    """The law that tells repeats from fresh text, else the same."""
    plain, plus, suffix = name.partition("+")
    return COUNTING_REPEATS.get(plain, plain) + plus + suffix


def _splits(data: Data, parameters: int, seed: int) -> list[Split]:
    groups = groups_of_mixtures(data.rows.mixture)
    return make_splits(data.scales, groups, parameters + SPARE_ROWS, seed)


def _many_evaluations(data: Data) -> bool:
    counts = np.unique(data.rows.run, return_counts=True)[1]
    return bool(np.median(counts) >= MANY_EVALUATIONS and np.ptp(data.rows.tokens) > 0)


def _tried(recipes: Sequence[Recipe], data: Data, splits: Sequence[Split], seed: int) -> list[_Tried]:
    """Each recipe's fits to each split and to all rows."""
    found: list[_Tried] = []
    for _, group in groupby(recipes, lambda recipe: recipe.law):  # the recipes of one law are solved together
        together = list(group)
        solved = {target: _solved(together, data, target, splits, seed) for target in data.losses}
        for i, recipe in enumerate(together):
            fits = {target: each[i] for target, each in solved.items()}
            found.append(_Tried(recipe, {t: one[0] for t, one in fits.items()}, {t: one[1] for t, one in fits.items()}))
    return found


def _solved(
    recipes: Sequence[Recipe], data: Data, target: str, splits: Sequence[Split], seed: int
) -> list[tuple[Fit, Fit]]:
    """For each recipe of one law, its fits to the splits' rows and its fit to all rows of the target."""
    rows = data.of(target)
    law, every = recipes[0].form, np.ones((1, len(rows)))
    # The search begins where the fit to all rows, weighed alike, ends: many starts each would find the same places.
    first = law.fit(rows, every, seed)
    weights = [_weights_of(recipe, data, target, splits) for recipe in recipes]
    together = law.fit(rows, np.concatenate(weights), seed, first.theta[0])
    found, S = [], len(splits)
    for own, each in zip(weights, range(0, len(together.theta), S + 1), strict=True):
        whole = together.one(each + S)
        if np.ptp(own[S]) == 0:
            whole = first
        elif isinstance(law, WithGaussianProcess):
            whole = law.follow(whole, rows, own[S:], seed)  # a kernel of its own, not that of `first`
        found.append((together.some(slice(each, each + S)), whole))
    return found


def _weights_of(recipe: Recipe, data: Data, target: str, splits: Sequence[Split]) -> Array:
    """Weights of the target's rows in the fit to each split, then in that to all rows, shape (S + 1, n)."""
    here = data.measured(target)
    masks = np.array([*(split.fit[here] for split in splits), np.ones(here.sum())], dtype=float)
    return recipe.weights(data.of(target), data.flops[here], masks)


def _following(tried: _Tried, data: Data, splits: Sequence[Split], seed: int) -> _Tried:
    """The same law with a process that follows the residuals of each fit, with the kernel of all rows."""
    recipe = tried.recipe.with_process()
    if recipe == tried.recipe:
        return tried
    law = recipe.form
    assert isinstance(law, WithGaussianProcess)
    fits, whole = {}, {}
    for target in data.losses:
        rows, weights = data.of(target), _weights_of(recipe, data, target, splits)
        whole[target] = law.follow(tried.whole[target], rows, weights[-1:], seed)
        fits[target] = law.follow(tried.fits[target], rows, weights[:-1], seed, whole[target].theta[0])
    return _Tried(recipe, fits, whole)


def _weights(splits: Sequence[Split], predicted: Array, observed: Array, laws_only: NDArray[np.bool_]) -> Array:
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


def _combined(predicted: dict[str, Array], data: Data) -> Array:
    """The objective's predictions (S, n)."""
    return np.asarray(sum(weight * predicted[target] for target, weight in data.objective.items()))
