"""The mean accuracy on several benchmarks, each in its own two steps.

A mean of benchmarks that are learnt at different losses is no sigmoid, and a curve fitted to it extrapolates worse than
the mean of the curves (EXPERIMENTS.md). A benchmark that the runs have not begun to learn stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.bootstrap import percentile_interval
from mixlab.laws.surface import Surface
from mixlab.runs.table import Runs
from mixlab.tasks.two_step import DRAWS, TwoStep, fit_step_1, fit_two_step, loss_columns, loss_of

LOWEST = 0.25  # of the rows: those of lowest loss say where an unlearnt benchmark stands


@dataclass(frozen=True)
class Plateau:
    """A benchmark that does not rise with the loss.

    Attributes:
        target: the column.
        accuracy, scatter: mean and standard deviation over the rows of lowest loss.
        reason: why no curve was fitted.
        seed: of the draws.
    """

    target: str
    accuracy: float
    scatter: float
    reason: str
    seed: int

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Shape (M,)."""
        return np.full(np.broadcast(params, tokens).size, self.accuracy)

    def draws(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Shape (DRAWS, M)."""
        luck = np.random.default_rng((self.seed, 17)).standard_normal((2, DRAWS, 1))[1]
        return np.clip(self.predict(mixture, params, tokens) + self.scatter * luck, 0.0, 1.0)

    def interval(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> tuple[Array, Array]:
        """The middle 90% of the draws, each (M,)."""
        low, high = np.quantile(self.draws(mixture, params, tokens), [0.05, 0.95], axis=0)
        return low, high


@dataclass(frozen=True)
class TaskMean:
    """Several benchmarks; `predict` and `interval` are of their mean.

    Attributes:
        parts: by benchmark.
        surfaces: step 1 by the loss columns that it predicts.
        warnings: in words.
    """

    parts: tuple[TwoStep | Plateau, ...]
    surfaces: dict[tuple[str, ...], Surface]
    warnings: list[str]
    chance: None = None

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

    def steps(self) -> dict[str, dict[str, Any]]:
        """Both steps, for JSON."""
        second: dict[str, Any] = {
            part.target.removeprefix("acc."): part.steps()["step_2"]
            if isinstance(part, TwoStep)
            else {"form": "plateau", "params": {"accuracy": part.accuracy}, "reason": part.reason}
            for part in self.parts
        }
        return {"step_1": self.chains[0].steps()["step_1"], "step_2": {"form": "mean of tasks", "tasks": second}}

    @property
    def domains(self) -> tuple[str, ...]:
        return self.chains[0].domains

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Mean accuracy at each point, shape (M,)."""
        return np.mean([part.predict(mixture, params, tokens) for part in self.parts], axis=0)

    def interval(
        self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike, level: float = 0.9
    ) -> tuple[Array, Array]:
        """Prediction interval of the mean, each (M,): benchmarks err together, so their errors do not cancel."""
        draws = np.mean([part.draws(mixture, params, tokens) for part in self.parts], axis=0)
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
            surfaces[key] = fit_step_1(table, weights, **options)
        try:
            chain = fit_two_step(table, target, loss=loss, surface=surfaces[key], **options)
        except FitError as error:
            parts.append(_plateau(table, target, loss_of(table, weights), error.message, seed))
            warnings.append(f"{error.message}: it is counted as {parts[-1].predict(None, 1.0, 1.0)[0]:.3f}")
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
    return Plateau(target, float(accuracy[best].mean()), float(accuracy[best].std()), reason, seed)
