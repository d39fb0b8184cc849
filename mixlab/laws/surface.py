"""The objective as a function of (mixture, N, D): a blend of fitted laws per target, combined, with honest intervals.

Every target is fitted by itself and the predictions are combined with the objective's weights. A confidence interval
says where the mean of many runs lies and comes from resampling residuals by run. A prediction interval says where a new
run will lie: how far predictions of unseen rows were off in validation, growing with the distance in compute, and how
far the members of the blend disagree at the point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import block_diag

from mixlab.arrays import Array
from mixlab.laws.bootstrap import percentile_interval
from mixlab.laws.choice.auto import Choice
from mixlab.laws.choice.blend import Blend, Resamples
from mixlab.laws.choice.stack import FitStack
from mixlab.laws.choice.transfer import TransferError
from mixlab.laws.forms.points import Points
from mixlab.laws.predictor import LEVEL, require_interval
from mixlab.laws.result import FitResult
from mixlab.objective import Objective


@dataclass(frozen=True)
class Draw:
    """One bootstrap draw of the objective (or its point fit): deterministic, differentiable."""

    blends: dict[str, Blend]
    weights: Mapping[str, float]
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
    def _stack(self) -> FitStack:
        """The members of all blends."""
        return FitStack.of([fit for name in self.weights for fit in self.blends[name].fits])

    @cached_property
    def _shares(self) -> Array:
        """Weights of the members in each target's mean of logs, shape (targets, members)."""
        return block_diag(*(np.array(self.blends[name].weights) for name in self.weights))

    @cached_property
    def _weights(self) -> Array:
        return np.array(list(self.weights.values()))


@dataclass(frozen=True)
class Surface:
    """A fitted objective: a `Predictor` of losses.

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
    objective: Objective
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
        return self._draws(at, self.objective) if self.bootstrap else np.zeros((0, len(at)))

    def draw(self, index: int) -> Draw:
        """One bootstrap draw."""
        blends = {name: blend.one(index) for name, blend in self.resamples.items()}
        return Draw(blends, self.objective, self.domains, self.unique)

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = LEVEL,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """See `Predictor.interval`; without bootstrap draws both ends of a confidence interval are the mean."""
        at = self._points(mixture, params, tokens)
        require_interval(kind, target, tuple(self.point.blends))
        weights = self.objective if target is None else Objective.column(target)
        if kind == "prediction":
            transfer = self.choice.objective if target is None else self.choice.transfer[target]
            return self._prediction_interval(at, weights, transfer, level)
        if self.bootstrap:
            return percentile_interval(self._draws(at, weights), level)
        mean = weights.of({name: self.point.blends[name].predict(at) for name in weights})
        return mean, mean

    def _prediction_interval(
        self, at: Points, weights: Objective, transfer: TransferError, level: float
    ) -> tuple[Array, Array]:
        """Where a new run lies, by the errors on unseen rows and the disagreement of the members, each (M,)."""
        blends = {name: self.point.blends[name] for name in weights}
        each = {name: blend.predict(at) for name, blend in blends.items()}
        mean = weights.of(each)
        # The members of all targets err together, so their disagreements add without cancelling.
        apart = weights.of({name: each[name] * blends[name].disagreement(at) for name in weights})
        half = np.hypot(
            transfer.half_width(self._reach(at), level),
            stats.norm.ppf(0.5 + level / 2) * apart / mean,
        )
        return mean * np.exp(-half), mean * np.exp(half)

    def _reach(self, at: Points) -> dict[str, Array]:
        """log(C, N or epochs / the largest that was run) at each point, by kind of transfer, each (M,)."""
        return {
            "compute": np.log(self.flops_per_param_token * at.params * at.tokens / self.max_flops),
            "params": np.log(at.params / self.params_range[1]),
            "epochs": np.log(at.epochs / self.max_epochs),
        }

    def _draws(self, at: Points, weights: Objective) -> Array:
        """The weighted sum of targets under every bootstrap draw, shape (B, M)."""
        return weights.of({name: self.resamples[name].predict(at) for name in weights})

    def _points(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Points:
        return Points.make(mixture, params, tokens, len(self.domains), self.unique)
