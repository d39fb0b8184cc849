"""From a run table to a `Surface`: the laws chosen, fitted to all rows, resampled, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.bootstrap import parameter_intervals, refit, resample
from mixlab.laws.choice.auto import Choice, named, weigh
from mixlab.laws.choice.blend import Blend, FitRecipe, Resamples
from mixlab.laws.choice.rows import Data, apart, observe
from mixlab.laws.choice.transfer import TransferError
from mixlab.laws.diagnostics import better_baselines, left_out, outliers, require_agreement, untested
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.points import Observations
from mixlab.laws.forms.solution import Status
from mixlab.laws.result import FitResult, Member
from mixlab.laws.surface import Draw, Surface
from mixlab.objective import Objective
from mixlab.runs.table import Runs


def fit_surface(
    table: Runs,
    objective: Objective | str | Mapping[str, float],
    *,
    law: str = "auto",
    bootstrap: int = 200,
    parameter_draws: int = 0,
    seed: int = 0,
    params_column: str | None = None,
) -> Surface:
    """Fit the objective; its supply is the largest that the table states (see `Surface.with_supply`).

    Args:
        table: runs.
        objective: a column (`loss`, `loss.code`), or weights over evaluation sets (`{"code": .5, "web": .5}`).
        law: a name, or `auto` for the laws that transfer best.
        bootstrap: resamples behind the confidence intervals of predictions and of the optimum.
        parameter_draws: resamples behind the intervals of the printed parameters.
        seed: of resamples and folds.
        params_column: which column is N.

    Raises:
        FitError: when the runs cannot carry the law, or its fit does not converge; the hint says
            which runs are missing.
        RunTableError: when a column is missing.
    """
    weights = Objective.make(objective)
    data = observe(table, weights, params_column)
    choice = weigh(data, seed) if law == "auto" else named(law, data, seed)
    fitted = {target: _fit_target(choice, data, target, bootstrap, parameter_draws, seed) for target in choice.members}
    blends = {target: one.blend for target, one in fitted.items()}
    warnings = [
        *data.warnings,
        *(warning for one in fitted.values() for warning in one.warnings),
        *left_out(choice, data),
        *untested(choice.objective, data.flops),
        *better_baselines(choice.candidates, choice.objective),
    ]
    if not choice.objective.quantile:
        choice = _with_errors_in_sample(choice, blends, data)
    rows, unique = data.rows, data.rows.unique.max(axis=0)
    top = int(np.argmax(data.flops))
    return Surface(
        law=law,
        objective=weights,
        domains=rows.domains,
        fits={target: one.result for target, one in fitted.items()},
        rows=len(rows),
        warnings=list(dict.fromkeys(warnings)),
        selection=[candidate.to_dict() for candidate in choice.candidates],
        support=np.unique(rows.mixture.round(6), axis=0),
        params_range=(float(rows.params.min()), float(rows.params.max())),
        tokens_range=(float(rows.tokens.min()), float(rows.tokens.max())),
        max_flops=float(data.flops.max()),
        max_epochs=float(rows.epochs.max()),
        sized=_knows_sizes(choice, rows),
        unique=unique,
        choice=choice,
        point=Draw(blends, weights, rows.domains, unique),
        resamples={target: one.resamples for target, one in fitted.items() if one.resamples is not None},
        bootstrap=bootstrap,
        flops_per_param_token=float(data.flops[top] / (rows.params[top] * rows.tokens[top])),
    )


@dataclass(frozen=True)
class _Fitted:
    """One target.

    Attributes:
        blend: the members' fits to all rows.
        result: the first member, as it is printed.
        resamples: None without bootstrap.
        warnings: in words.
    """

    blend: Blend
    result: FitResult
    resamples: Resamples | None
    warnings: list[str]


def _fit_target(choice: Choice, data: Data, target: str, bootstrap: int, parameter_draws: int, seed: int) -> _Fitted:
    """The target's blend, and draws of it.

    Raises:
        FitError: when no law converges on the rows, or they do not follow the laws.
    """
    rows, flops = data.of(target), data.flops[data.measured(target)]
    kept, fits, warnings = _converged(choice, target)
    blend = Blend(tuple(fits), tuple(weight for _, weight in kept))
    predicted = blend.predict(rows)
    require_agreement(predicted, rows, target)
    warnings += outliers(predicted, rows, target)
    resamples = resample(kept, blend, rows, flops, bootstrap, seed) if bootstrap else None
    several = refit(kept[0][0], fits[0], rows, flops, parameter_draws, seed) if parameter_draws else None
    result = replace(_result(fits[0], several, rows, target), members=_members(kept, fits, choice))
    if result.status == Status.ILL_CONDITIONED:
        warnings.append(f"in the fit of {target} {result.status.message}")
    return _Fitted(blend, result, resamples, warnings)


def _converged(choice: Choice, target: str) -> tuple[list[tuple[FitRecipe, float]], list[Fits], list[str]]:
    """The members whose fit to all rows converges, with weights that sum to 1, their fits, and what is passed over.

    Raises:
        FitError: when there is none: an unconverged fit is not an answer.
    """
    members = choice.members[target]
    kept: list[tuple[FitRecipe, float]] = []
    fits: list[Fits] = []
    passed_over: dict[str, Status] = {}
    # Where no member converges, the best of the other candidates that does.
    others = [(one.recipe, 1.0) for one in choice.candidates if not one.baseline and one.recipe not in dict(members)]
    for recipe, weight in (*members, *others):
        if kept and (recipe, weight) not in members:
            break
        fit = choice.whole[target][recipe]
        if fit.status[0] == Status.CONVERGED:
            kept.append((recipe, weight))
            fits.append(fit)
        else:
            ended = f"ended as {fit.status[0]} after {fit.solution.steps[0]} steps"
            passed_over[f"the law `{recipe}` is skipped: its fit of {target} {ended}"] = fit.status[0]
    if not kept:
        statuses = dict.fromkeys(passed_over.values())
        raise FitError(
            "; ".join([*passed_over, *(f"{status} says that {status.meaning}" for status in statuses)]),
            "; ".join(status.advice for status in statuses),
        )
    total = sum(weight for _, weight in kept)
    return [(recipe, weight / total) for recipe, weight in kept], fits, list(passed_over)


def _members(kept: Sequence[tuple[FitRecipe, float]], fits: Sequence[Fits], choice: Choice) -> list[Member]:
    """The members of one target's blend, in their order."""
    errors = {one.recipe: one.error.score for one in choice.candidates}
    return [
        Member(
            recipe.law, recipe.emphasis, recipe.early, weight, errors.get(recipe, choice.objective.score), fit.natural()
        )
        for (recipe, weight), fit in zip(kept, fits, strict=True)
    ]


def _result(fit: Fits, resamples: Fits | None, rows: Observations, target: str) -> FitResult:
    draws = [resamples.natural(index) for index in range(len(resamples))] if resamples is not None else []
    return FitResult(
        law=fit.law.name,
        target=target,
        rows=len(rows),
        params=fit.natural(),
        interval=parameter_intervals(draws),
        objective=float(fit.objective[0]),
        status=fit.examined(rows),
        draws=draws,
    )


def _with_errors_in_sample(choice: Choice, blends: Mapping[str, Blend], data: Data) -> Choice:
    """Errors in sample, where there are too few rows to keep some out."""

    def error(predicted: Array, observed: Array) -> TransferError:
        here = np.isfinite(observed)
        size = np.abs(np.log(predicted[here]) - np.log(observed[here]))
        return TransferError(float("nan"), float("nan"), {"sample": float(np.quantile(size, 0.9))}, {})

    predicted = {target: blend.predict(data.rows) for target, blend in blends.items()}
    total = data.objective.of(predicted)
    by_target = {target: error(predicted[target], data.losses[target]) for target in blends}
    return replace(choice, transfer=by_target, objective=error(total, data.total))


def _knows_sizes(choice: Choice, rows: Observations) -> bool:
    """Whether N varies apart from D and some member looks at it."""
    forms = [recipe.form for members in choice.members.values() for recipe, _ in members]
    return apart(rows) and any("params" in form.takes for form in forms)
