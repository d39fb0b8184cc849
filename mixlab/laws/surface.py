"""The objective as a function of (mixture, N, D): a blend of fitted laws per target, combined, with honest intervals.

Every target is fitted by itself and the predictions are combined with the objective's weights. A confidence interval
says where the mean of many runs lies and comes from resampling residuals by run. A prediction interval says where a new
run will lie: how far predictions of unseen rows were off in validation, growing with the distance in compute, and how
far the members of the blend disagree at the point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import block_diag

from mixlab.errors import ConfigError, FitError
from mixlab.laws.base import CONVERGED, ILL_CONDITIONED, Array, Fit, FitResult, Member, Observations, Points
from mixlab.laws.blend import Blend, Recipe, Resamples
from mixlab.laws.bootstrap import bootstrap_losses
from mixlab.laws.parametric import ParametricLaw
from mixlab.laws.select import Candidate, Choice, named, weigh
from mixlab.laws.stack import Stack
from mixlab.laws.support import Data, apart, observe
from mixlab.laws.transfer import TransferError
from mixlab.runs import RunTable

FAR = 0.2  # log-error from which on a row may be far off
FAR_SCATTERS = 10.0  # and so many standard deviations of the others


@dataclass(frozen=True)
class Draw:
    """One bootstrap draw of the objective (or its point fit): deterministic, differentiable."""

    blends: dict[str, Blend]
    weights: dict[str, float]
    domains: tuple[str, ...]
    unique: Array

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective at each point, shape (M,)."""
        return self.predict_at(Points.make(mixture, params, tokens, len(self.domains), self.unique))

    def predict_at(self, at: Points) -> Array:
        """The objective at each point, shape (M,)."""
        return np.asarray(self._weights @ np.exp(self._shares @ self._stack.logs(at)))

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        """The objective at one point, and d objective / d h there, shape (K,)."""
        logs, slopes = self._stack.logs_and_slopes(Points.make(mixture, params, tokens, len(self.domains), self.unique))
        each = self._weights * np.exp(self._shares @ logs[:, 0])
        return float(each.sum()), np.asarray((each @ self._shares) @ slopes[:, 0])

    @cached_property
    def _stack(self) -> Stack:
        """The members of all blends."""
        return Stack.of([fit for name in self.weights for fit in self.blends[name].fits])

    @cached_property
    def _shares(self) -> Array:
        """Weights of the members in each target's mean of logs, shape (targets, members)."""
        return block_diag(*(np.array(self.blends[name].weights) for name in self.weights))

    @cached_property
    def _weights(self) -> Array:
        return np.array(list(self.weights.values()))


@dataclass(frozen=True)
class Surface:
    """A fitted objective.

    Attributes:
        law: the law's name, or `auto` for a blend.
        objective: weights by column.
        domains: names, in the order of every mixture array; empty where the table has no mixtures.
        fits: by column, the first member as it is printed.
        rows: how many rows were fitted.
        warnings: in words.
        selection: the candidates with weights and transfer errors, best first; empty when the law was named.
        support: distinct mixtures that were run, shape (m, K).
        params_range, tokens_range, max_flops, max_epochs: what was run.
        sized: whether the rows and the law tell how to split a budget between N and D, so that N can be searched.
        unique: U, the supply at which the objective is asked: unique tokens by domain, shape (K,), or of all text,
            shape (1,), without mixtures; `inf` where not known. It may differ by point: (M, K) or (M, 1).
        choice: the members of each target's blend, and their errors on rows that they had not seen.
        point: the fit.
        resamples: by column, `bootstrap` draws.
    """

    law: str
    objective: dict[str, float]
    domains: tuple[str, ...]
    fits: dict[str, FitResult]
    rows: int
    warnings: list[str]
    selection: list[dict[str, Any]]
    support: Array
    params_range: tuple[float, float]
    tokens_range: tuple[float, float]
    max_flops: float
    max_epochs: float
    sized: bool
    unique: Array
    choice: Choice = field(repr=False)
    point: Draw = field(repr=False)
    resamples: dict[str, Resamples] = field(repr=False)
    bootstrap: int = 0
    flops_per_param_token: float = 6.0

    def with_supply(self, unique: Array) -> Surface:
        """The same objective where there is more or less text."""
        return replace(self, unique=unique, point=replace(self.point, unique=unique))

    @property
    def blind_to_repeats(self) -> tuple[str, ...]:
        """The laws among the members that take repeated text for fresh text."""
        recipes = [recipe for members in self.choice.members.values() for recipe, _ in members]
        return tuple(sorted({recipe.law for recipe in recipes if "epochs" not in recipe.form.takes}))

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective at h (M, K) or (K,), N, D: shape (M,)."""
        return self.point.predict(mixture, params, tokens)

    def predict_targets(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> dict[str, Array]:
        """The loss of every target by column, each (M,)."""
        at = self._points(mixture, params, tokens)
        return {name: blend.predict(at) for name, blend in self.point.blends.items()}

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        """The objective at one point, and d objective / d h there, shape (K,)."""
        return self.point.value_and_gradient(mixture, params, tokens)

    def draws(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective under every bootstrap draw, shape (B, M)."""
        at = self._points(mixture, params, tokens)
        if not self.bootstrap:
            return np.zeros((0, len(at)))
        return np.asarray(sum(weight * self.resamples[name].predict(at) for name, weight in self.objective.items()))

    def draw(self, index: int) -> Draw:
        """One bootstrap draw."""
        blends = {name: blend.one(index) for name, blend in self.resamples.items()}
        return Draw(blends, self.objective, self.domains, self.unique)

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = 0.9,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """Low and high at each point, each (M,).

        Args:
            mixture, params, tokens: as for `predict`.
            level: coverage, for instance 0.9.
            kind: `prediction` (a new run) or `confidence` (the mean of many).
            target: a column, or None for the objective.

        Raises:
            ConfigError: on another `kind`, or a target that was not fitted.
        """
        at = self._points(mixture, params, tokens)
        if target is not None and target not in self.point.blends:
            raise ConfigError(f"the surface has no target `{target}`", f"fitted: {', '.join(self.point.blends)}")
        weights = self.objective if target is None else {target: 1.0}
        mean = np.asarray(sum(weight * self.point.blends[name].predict(at) for name, weight in weights.items()))
        if kind == "confidence":
            if not self.bootstrap:
                return mean, mean
            draws = np.asarray(sum(weight * self.resamples[name].predict(at) for name, weight in weights.items()))
            low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
            return low, high
        if kind != "prediction":
            raise ConfigError(f"an interval is `prediction` or `confidence`, but got `{kind}`")
        transfer = self.choice.objective if target is None else self.choice.transfer[target]
        reach = {
            "compute": np.log(self.flops_per_param_token * at.params * at.tokens / self.max_flops),
            "params": np.log(at.params / self.params_range[1]),
            "epochs": np.log(at.epochs / self.max_epochs),
        }
        # The members of all targets err together, so their disagreements add without cancelling.
        apart = sum(
            weight * blend.predict(at) * blend.disagreement(at)
            for name, weight in weights.items()
            for blend in (self.point.blends[name],)
        )
        half = np.hypot(
            transfer.half_width(reach, level),
            stats.norm.ppf(0.5 + level / 2) * np.asarray(apart) / mean,
        )
        return mean * np.exp(-half), mean * np.exp(half)

    def _points(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Points:
        return Points.make(mixture, params, tokens, len(self.domains), self.unique)


def fit_surface(
    table: RunTable,
    objective: str | Mapping[str, float],
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
    weights = {objective: 1.0} if isinstance(objective, str) else {f"loss.{k}": float(v) for k, v in objective.items()}
    data = observe(table, weights, params_column)
    rows, warnings = data.rows, data.warnings
    choice = weigh(data, seed) if law == "auto" else named(law, data, seed)
    blends, resamples, results = {}, {}, {}
    for target, members in choice.members.items():
        observed, flops = data.of(target), data.flops[data.measured(target)]
        kept, fits, passed_over = _converged(members, choice, target)
        warnings += passed_over
        blends[target] = blend = Blend(tuple(fits), tuple(weight for _, weight in kept))
        warnings += _misfits(blend, observed, target)
        if bootstrap:
            resamples[target] = _resampled(kept, blend, observed, flops, bootstrap, seed)
        several = _refitted(kept[0][0], fits[0], observed, flops, parameter_draws, seed) if parameter_draws else None
        results[target] = replace(_result(fits[0], several, observed, target), members=_members(kept, fits, choice))
        if results[target].status == ILL_CONDITIONED:
            warnings.append(
                f"the rows cannot tell all parameters of {target}'s fit apart: trust predictions, not parameters"
            )
    warnings += _dropped(choice, data)
    transfer = choice.objective
    if not transfer.quantile:
        choice = _without_validation(choice, blends, data)
        warnings.append("the runs are too few to validate on: intervals come from in-sample errors and may be narrow")
    elif not transfer.tests.get("compute") and np.ptp(np.log(data.flops)) > 0:
        warnings.append("the runs do not span compute levels enough to test extrapolation: intervals may be narrow")
    warnings += _better_baselines(choice.candidates, transfer)
    top = int(np.argmax(data.flops))
    unique = rows.unique.max(axis=0)
    return Surface(
        law=law,
        objective=weights,
        domains=rows.domains,
        fits=results,
        rows=len(rows),
        warnings=list(dict.fromkeys(warnings)),
        selection=[candidate.to_json() for candidate in choice.candidates],
        support=np.unique(rows.mixture.round(6), axis=0),
        params_range=(float(rows.params.min()), float(rows.params.max())),
        tokens_range=(float(rows.tokens.min()), float(rows.tokens.max())),
        max_flops=float(data.flops.max()),
        max_epochs=float(rows.epochs.max()),
        sized=_knows_sizes(choice, rows),
        unique=unique,
        choice=choice,
        point=Draw(blends, weights, rows.domains, unique),
        resamples=resamples,
        bootstrap=bootstrap,
        flops_per_param_token=float(data.flops[top] / (rows.params[top] * rows.tokens[top])),
    )


def _converged(
    members: Sequence[tuple[Recipe, float]], choice: Choice, target: str
) -> tuple[list[tuple[Recipe, float]], list[Fit], list[str]]:
    """The members whose fit to all rows converges, with weights that sum to 1, their fits, and what is passed over.

    Raises:
        FitError: when there is none: an unconverged fit is not an answer.
    """
    kept: list[tuple[Recipe, float]] = []
    fits, passed_over = [], []
    # Where no member converges, the best of the other candidates that does.
    others = [(one.recipe, 1.0) for one in choice.candidates if not one.baseline and one.recipe not in dict(members)]
    for recipe, weight in (*members, *others):
        if kept and (recipe, weight) not in members:
            break
        fit = choice.whole[target][recipe]
        if fit.status[0] == CONVERGED:
            kept.append((recipe, weight))
            fits.append(fit)
        else:
            passed_over.append(f"the law `{recipe}` is passed over: its fit of {target} ended as {fit.status[0]}")
    if not kept:
        raise FitError(
            "; ".join(passed_over),
            "run a wider range of sizes, tokens or mixtures, leave out rows before the power law with --where, "
            "or name another --law",
        )
    total = sum(weight for _, weight in kept)
    return [(recipe, weight / total) for recipe, weight in kept], fits, passed_over


def _members(kept: Sequence[tuple[Recipe, float]], fits: Sequence[Fit], choice: Choice) -> list[Member]:
    """The members of one target's blend, in their order."""
    errors = {one.recipe: one.error.score for one in choice.candidates}
    return [
        Member(
            recipe.law, recipe.emphasis, recipe.early, weight, errors.get(recipe, choice.objective.score), fit.natural()
        )
        for (recipe, weight), fit in zip(kept, fits, strict=True)
    ]


def _misfits(blend: Blend, rows: Observations, target: str) -> list[str]:
    """Rows that lie far from the fit, in words.

    Raises:
        FitError: when the fit does not follow the rows at all.
    """
    predicted = blend.predict(rows)
    if stats.kendalltau(predicted, rows.loss).statistic <= 0:
        raise FitError(
            f"`{target}` does not follow the laws, in which a loss falls with size and tokens: where they expect less, "
            "it is no lower",
            "check the column: an accuracy is no loss (--law two-step), and runs that diverged belong out (--where)",
        )
    error = np.log(rows.loss / predicted)
    far = np.abs(error) > max(FAR, FAR_SCATTERS * 1.4826 * float(np.median(np.abs(error))))
    if not far.any():
        return []
    worst, count = int(np.argmax(np.abs(error))), np.count_nonzero(far)
    lie = "row lies" if count == 1 else "rows lie"
    return [
        f"{count} {lie} far from the fit of {target} (one is {rows.loss[worst]:.4g} where "
        f"{predicted[worst]:.4g} is expected): if these runs went wrong, leave them out with --where"
    ]


def _resampled(
    members: Sequence[tuple[Recipe, float]], blend: Blend, rows: Observations, flops: Array, count: int, seed: int
) -> Resamples:
    """`count` draws, each of a member fitted to a table that this member could have made; members take turns."""
    turns = min(len(members), count)
    return Resamples(
        tuple(
            _refitted(members[turn][0], blend.fits[turn], rows, flops, count, seed, slice(turn, None, len(members)))
            for turn in range(turns)
        )
    )


def _refitted(
    recipe: Recipe, fit: Fit, rows: Observations, flops: Array, count: int, seed: int, draws: slice = slice(None)
) -> Fit:
    """The recipe fitted to those of `count` tables that its fit could have made."""
    losses = bootstrap_losses(rows.loss, fit.predict(rows)[0], rows.run, recipe.form.free(rows), count, seed)[draws]
    return recipe.fit(rows.with_loss(losses), flops, np.ones(losses.shape), seed, fit.theta[0])


def _dropped(choice: Choice, data: Data) -> list[str]:
    """What a named law's recipe leaves out; a blend's table says it of each member."""
    recipe = next(iter(choice.members.values()))[0][0]
    if choice.candidates or not recipe.early:
        return []
    early = int(np.sum(recipe.weights(data.rows, data.flops, np.ones((1, len(data.rows)))) == 0))
    return [f"{early} rows before the first {100 * recipe.early:.0f}% of their run's tokens are left out as too early"]


def _without_validation(choice: Choice, blends: Mapping[str, Blend], data: Data) -> Choice:
    """Errors in sample, where there are too few rows to keep some out."""

    def error(predicted: Array, observed: Array) -> TransferError:
        here = np.isfinite(observed)
        size = np.abs(np.log(predicted[here]) - np.log(observed[here]))
        return TransferError(float("nan"), float("nan"), {"sample": float(np.quantile(size, 0.9))}, {})

    predicted = {target: blend.predict(data.rows) for target, blend in blends.items()}
    total = np.asarray(sum(weight * predicted[target] for target, weight in data.objective.items()))
    by_target = {target: error(predicted[target], data.losses[target]) for target in blends}
    return replace(choice, transfer=by_target, objective=error(total, data.total))


def _knows_sizes(choice: Choice, rows: Observations) -> bool:
    """Whether N varies apart from D and some member looks at it."""
    forms = [recipe.form for members in choice.members.values() for recipe, _ in members]
    return apart(rows) and any("params" in form.takes or not form.takes for form in forms)


def _better_baselines(candidates: Sequence[Candidate], blend: TransferError) -> list[str]:
    """Baselines that predicted unseen runs better than the blend."""
    return [
        f"the baseline `{one.recipe.law}` predicts unseen runs better than the laws "
        f"({100 * one.error.score:.1f}% against {100 * blend.score:.1f}% error)"
        for one in candidates
        if one.baseline and one.error.score < blend.score
    ]


def _result(fit: Fit, resamples: Fit | None, rows: Observations, target: str) -> FitResult:
    params = fit.natural()
    interval = {}
    if resamples is not None and params:
        table = [resamples.natural(index) for index in range(len(resamples.theta))]
        for name in params:
            values = np.array([row[name] for row in table])
            low, high = np.quantile(values, [0.05, 0.95])
            interval[name] = (float(low), float(high))
    law = fit.law
    status = law.status(fit, rows) if isinstance(law, ParametricLaw) else fit.status[0]
    return FitResult(law.name, target, len(rows), params, interval, float(fit.objective[0]), status)
