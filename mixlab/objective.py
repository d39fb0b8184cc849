"""The objective: weights over loss columns of a run table, and the one place where losses are summed with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from mixlab.errors import ConfigError

PREFIX = "loss."  # of the columns of evaluation sets
LOSS = "loss"  # the column of a table that has one loss, or that of a study's objective
TYPED = 1e-3  # weights typed by hand are rounded (1/3 as .3333)

T = TypeVar("T")


def eval_of(column: str) -> str:
    """The evaluation set of a loss column: `code` of `loss.code`; another column is itself."""
    return column.removeprefix(PREFIX)


@dataclass(frozen=True)
class Objective(Mapping[str, float]):
    """Weights by loss column, `loss` or `loss.<eval>`.

    Attributes:
        weights: (column, weight), weights positive.
    """

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def column(cls, name: str) -> Objective:
        """One column alone."""
        return cls(((name, 1.0),))

    @classmethod
    def over(cls, evals: Mapping[str, float], said: str = "the objective") -> Objective:
        """Weights over evaluation sets, which sum to 1; those of weight 0 are left out.

        Args:
            evals: weight by evaluation set, named without `loss.`.
            said: what a message calls them.

        Raises:
            ConfigError: on a negative weight, or a sum that is not 1.
        """
        total = math.fsum(evals.values())
        if not abs(total - 1) <= TYPED or min(evals.values()) < 0:
            raise ConfigError(
                f"the weights of {said} must be >= 0 and sum to 1, but sum to {total:.6g}", "rescale them"
            )
        return cls(tuple((PREFIX + name, float(weight)) for name, weight in evals.items() if weight > 0))

    @classmethod
    def equal(cls, columns: Sequence[str]) -> Objective:
        """Equal weights over `loss.<eval>` columns."""
        return cls.over({eval_of(column): 1 / len(columns) for column in columns})

    @classmethod
    def make(cls, given: Objective | str | Mapping[str, float]) -> Objective:
        """What a caller gives: an objective, a column's name, or weights over evaluation sets."""
        if isinstance(given, Objective):
            return given
        return cls.column(given) if isinstance(given, str) else cls.over(given)

    @property
    def evals(self) -> dict[str, float]:
        """Weight by evaluation set, for the columns that are of one."""
        return {eval_of(name): weight for name, weight in self.weights if name.startswith(PREFIX)}

    def of(self, losses: Mapping[str, T]) -> T:
        """The weighted sum of losses by column: numbers, or arrays of one shape."""
        total: Any = sum(weight * np.asarray(losses[name]) for name, weight in self.weights)
        return cast(T, total if total.ndim else float(total))

    def of_evals(self, losses: Mapping[str, T]) -> T:
        """The weighted sum of losses by evaluation set, which are named without `loss.`."""
        return self.of({PREFIX + name: loss for name, loss in losses.items()})

    def __getitem__(self, column: str) -> float:
        return dict(self.weights)[column]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def __str__(self) -> str:
        if len(self.weights) == 1:
            return self.weights[0][0]
        return ", ".join(f"{name}={weight:.3g}" for name, weight in self.weights)
