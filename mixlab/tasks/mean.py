"""The mean accuracy on several benchmarks, each in its own two steps.

A mean of benchmarks that are learnt at different losses is no sigmoid, and a curve fitted to it extrapolates worse than
the mean of the curves (EXPERIMENTS.md). A benchmark that the runs have not begun to learn stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.bootstrap import percentile_interval
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.points import Points
from mixlab.laws.predictor import LEVEL, require_interval
from mixlab.laws.surface import Surface
from mixlab.runs.table import Runs
from mixlab.tasks.two_step import NAME, TwoStep, fit_two_step, loss_columns, luck

LOWEST = 0.25  # of the rows: those of lowest loss say where an unlearnt benchmark stands


@dataclass(frozen=True)
class Plateau:
    """A benchmark that does not rise with the loss: a `Predictor` that answers the same at every point.

    Attributes:
        target: the column.
        accuracy, scatter: mean and standard deviation over the rows of lowest loss.
        domains: names, in the order of every mixture array.
        rows: how many rows have both the accuracy and its loss.
        reason: why no curve was fitted.
        seed: of the draws.
        law: its name.
    """

    target: str
    accuracy: float
    scatter: float
    domains: tuple[str, ...]
    rows: int
    reason: str
    seed: int
    law: str = "plateau"

    @property
    def warnings(self) -> list[str]:
        """Why it is none that rises, and what it is counted as."""
        return [f"{self.reason}: it is counted as {self.accuracy:.3f}"]

    def with_supply(self, unique: Array) -> Plateau:
        """The same: it does not depend on the supply."""
        return self

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Shape (M,)."""
        return np.full(len(Points.make(mixture, params, tokens, len(self.domains))), self.accuracy)

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
        """See `Predictor.interval`; a confidence interval has both ends at the mean of the rows."""
        require_interval(kind, target, (self.target,))
        return percentile_interval(self.draws(mixture, params, tokens, kind), level)

    def draws(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike, kind: str = "prediction") -> Array:
        """Accuracies that may come out, shape (DRAWS, M)."""
        scatter = self.scatter if kind == "prediction" else 0.0
        return np.clip(self.predict(mixture, params, tokens) + scatter * luck(self.seed)[1], 0.0, 1.0)


@dataclass(frozen=True)
class TaskMean:
    """Several benchmarks: a `Predictor` of each, and of their mean.

    Attributes:
        parts: by benchmark.
        surfaces: step 1 by the loss columns that it predicts.
        warnings: in words.
        law: its name.
    """

    parts: tuple[TwoStep | Plateau, ...]
    surfaces: dict[tuple[str, ...], Surface]
    warnings: list[str]
    law: str = NAME

    @property
    def chains(self) -> tuple[TwoStep, ...]:
        """The benchmarks that rise."""
        return tuple(part for part in self.parts if isinstance(part, TwoStep))

    @property
    def surface(self) -> Surface:
        """Step 1 of the first of them."""
        return self.chains[0].surface

    @property
    def lowest_loss(self) -> float:
        """Of the rows of the first of them."""
        return self.chains[0].lowest_loss

    @property
    def domains(self) -> tuple[str, ...]:
        return self.chains[0].domains

    @property
    def rows(self) -> int:
        """Of the benchmark that was measured in the fewest rows."""
        return min(part.rows for part in self.parts)

    def with_supply(self, unique: Array) -> TaskMean:
        """The same, asked at a supply of unique tokens (see `Surface.with_supply`)."""
        surfaces = {key: surface.with_supply(unique) for key, surface in self.surfaces.items()}
        return replace(self, parts=tuple(part.with_supply(unique) for part in self.parts), surfaces=surfaces)

    def steps(self) -> dict[str, dict[str, Any]]:
        """Both steps, for JSON."""
        second: dict[str, Any] = {
            part.target.removeprefix("acc."): part.steps()["step_2"]
            if isinstance(part, TwoStep)
            else {"form": "plateau", "params": {"accuracy": part.accuracy}, "reason": part.reason}
            for part in self.parts
        }
        return {"step_1": self.chains[0].steps()["step_1"], "step_2": {"form": "mean of tasks", "tasks": second}}

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Mean accuracy at each point, shape (M,)."""
        return np.mean([part.predict(mixture, params, tokens) for part in self.parts], axis=0)

    def predict_targets(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> dict[str, Array]:
        """The accuracy on each benchmark by column, each (M,)."""
        return {part.target: part.predict(mixture, params, tokens) for part in self.parts}

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = LEVEL,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """See `Predictor.interval`; benchmarks err together, so that their errors do not cancel in the mean."""
        require_interval(kind, target, tuple(part.target for part in self.parts))
        for part in self.parts:
            if part.target == target:
                return part.interval(mixture, params, tokens, level, kind)
        draws = np.mean([part.draws(mixture, params, tokens, kind) for part in self.parts], axis=0)
        return percentile_interval(draws, level, self.predict(mixture, params, tokens))


def fit_tasks(
    table: Runs,
    targets: Sequence[str],
    *,
    loss: str | None = None,
    law: str = "auto",
    bootstrap: int = 200,
    seed: int = 0,
) -> TaskMean:
    """Fit each benchmark; step 1 is shared by those that go through the same loss.

    Args:
        table: runs.
        targets: the columns `acc.<task>`.
        loss, law, bootstrap, seed: as for `fit_two_step`.

    Raises:
        FitError: when no benchmark rises as its loss falls, or the runs cannot carry step 1.
    """
    surfaces: dict[tuple[str, ...], Surface] = {}
    parts: list[TwoStep | Plateau] = []
    warnings: list[str] = []
    options: dict[str, Any] = {"law": law, "bootstrap": bootstrap, "seed": seed}
    for target in targets:
        weights = loss_columns(table, target, loss)
        key = tuple(weights)
        if key not in surfaces:
            surfaces[key] = fit_surface(table, weights, **options)
        try:
            chain = fit_two_step(table, target, loss=loss, surface=surfaces[key], **options)
        except FitError as error:
            parts.append(_plateau(table, target, table.objective(weights), error.message, seed))
            warnings += parts[-1].warnings
            continue
        parts.append(chain)
        warnings += chain.surface.warnings
    if not any(isinstance(part, TwoStep) for part in parts):
        raise FitError(
            f"none of {len(parts)} benchmarks rises as the loss falls", "predict a loss, or add runs of lower loss"
        )
    return TaskMean(tuple(parts), surfaces, list(dict.fromkeys(warnings)))


def _plateau(table: Runs, target: str, loss: Array, reason: str, seed: int) -> Plateau:
    accuracy = table.column(target)
    here = np.flatnonzero(np.isfinite(loss) & np.isfinite(accuracy))
    best = here[np.argsort(loss[here])][: max(1, round(LOWEST * len(here)))]
    if not len(best):
        raise FitError(f"no row has both `{target}` and its loss", "leave the benchmark out")
    return Plateau(
        target=target,
        accuracy=float(accuracy[best].mean()),
        scatter=float(accuracy[best].std()),
        domains=table.domains,
        rows=len(here),
        reason=reason,
        seed=seed,
    )
