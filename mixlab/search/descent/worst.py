"""The worst group: the largest of several losses, each relative to a loss that it is measured by.

It has a kink wherever another group becomes the worst, so it is not descended itself: see `Room.descend` for its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.laws.surface import Draw
from mixlab.search.descent.room import Smooth


@dataclass(frozen=True)
class Worst:
    """max over groups of loss / measure.

    Attributes:
        draws: who predicts each group's loss.
        measures: what each is divided by.
    """

    draws: tuple[Draw, ...]
    measures: tuple[float, ...]

    @classmethod
    def on(cls, draw: Draw, measures: Sequence[tuple[str, float]]) -> Worst:
        """The columns of a draw, each with its measure."""
        return cls(
            tuple(replace(draw, weights={column: 1.0}) for column, _ in measures), tuple(loss for _, loss in measures)
        )

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of every mixture."""
        return self.draws[0].domains

    def each(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """Every group's ratio, shape (groups, M)."""
        losses = [draw.predict(mixture, params, tokens) for draw in self.draws]
        return np.array(losses) / np.array(self.measures)[:, None]

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The largest ratio at each point, shape (M,)."""
        return np.asarray(self.each(mixture, params, tokens).max(axis=0))

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        """The largest ratio at one point, and the slope of that group, shape (K,)."""
        worst = int(np.argmax(self.each(mixture, params, tokens)[:, 0]))
        return self.parts(params, tokens)[worst](np.asarray(mixture))

    def parts(self, params: float, tokens: float) -> list[Smooth]:
        """Each group's ratio as a smooth curve over mixtures."""

        def part(draw: Draw, measure: float) -> Smooth:
            def curve(h: Array) -> tuple[float, Array]:
                value, slope = draw.value_and_gradient(h, params, tokens)
                return value / measure, slope / measure

            return curve

        return [part(draw, measure) for draw, measure in zip(self.draws, self.measures, strict=True)]
