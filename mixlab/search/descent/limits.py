"""No regression: a predicted loss that must stay at or below that of another mixture, or below a number.

Another mixture's loss is that at the same N and D, so that mixtures are compared and not sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.laws.surface import Draw
from mixlab.mixture import Mixture

LIMIT_KEPT = 1e-6  # nats: a limit that is missed by less is kept
BINDS = 1e-4  # nats: a limit that is nearer holds the answer back
REFERENCES = ("proportional", "uniform", "prior")  # mixtures that a limit may name


@dataclass(frozen=True)
class Limit:
    """`loss.<eval> <= reference`.

    Attributes:
        column: the loss.
        said: how it reads, such as `loss.code <= proportional`.
        most: the largest loss, where it is a number.
        reference: the mixture whose loss it is, where it is none.
        own: who predicts a column that the objective does not have.
    """

    column: str
    said: str
    most: float | None = None
    reference: Mixture | None = None
    own: Draw | None = None

    def on(self, draw: Draw) -> HeldLimit:
        """The limit under a draw of the objective."""
        if self.column in draw.blends:
            return HeldLimit(self, replace(draw, weights={self.column: 1.0}))
        assert self.own is not None, self.said
        return HeldLimit(self, self.own)


@dataclass(frozen=True)
class HeldLimit:
    """A limit, and who predicts its loss."""

    limit: Limit
    draw: Draw

    def most(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The largest loss allowed at each N and D, shape (M,)."""
        if self.limit.most is not None:
            return np.full(np.broadcast_shapes(np.shape(params), np.shape(tokens)), self.limit.most).reshape(-1)
        assert self.limit.reference is not None
        return self.draw.predict(self.limit.reference.array(self.draw.domains), params, tokens)

    def excess(self, mixtures: ArrayLike, params: float, tokens: float) -> Array:
        """Loss above what is allowed, by mixture (M, K): shape (M,)."""
        return self.draw.predict(mixtures, params, tokens) - self.most(params, tokens)


def worst_excess(limits: Sequence[HeldLimit], mixtures: Array, params: float, tokens: float) -> Array:
    """The largest excess over all limits by mixture (M, K), 0 where all are kept: shape (M,)."""
    each = [limit.excess(mixtures, params, tokens) for limit in limits]
    return np.max([np.zeros(len(mixtures)), *each], axis=0)
