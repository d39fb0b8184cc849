"""What a law sees: points (h, N, D, U), and the rows of a run table as points with losses.

Shape letters, here and wherever laws are fitted: n rows, K domains, S fits made at once (bootstrap resamples or
validation splits), P parameters of a law, M points to predict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.arrays import Array


@dataclass(frozen=True)
class Points:
    """M points (h, N, D, U) at which a law is evaluated.

    Attributes:
        mixture: h, shape (M, K); K is 0 for tables without mixtures.
        params: N, shape (M,); ones where a table has none.
        tokens: D, shape (M,); ones where a table has none.
        unique: U, unique tokens by domain, shape (M, K), or of all text, shape (M, 1), where K is 0; `inf` where the
            supply is not known, so that nothing is ever repeated.
    """

    mixture: Array
    params: Array
    tokens: Array
    unique: Array

    @classmethod
    def make(
        cls,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        domains: int,
        unique: ArrayLike = math.inf,
    ) -> Points:
        """Broadcast what a caller gives to M points of `domains` domains."""
        h = np.zeros((1, domains)) if mixture is None else np.atleast_2d(np.asarray(mixture, dtype=float))
        n, d = np.atleast_1d(np.asarray(params, dtype=float)), np.atleast_1d(np.asarray(tokens, dtype=float))
        supply = np.atleast_2d(np.asarray(unique, dtype=float))
        M = max(len(h), len(n), len(d), len(supply))
        return cls(
            np.broadcast_to(h, (M, domains)),
            np.broadcast_to(n, (M,)),
            np.broadcast_to(d, (M,)),
            np.broadcast_to(supply, (M, max(1, domains))),
        )

    def __len__(self) -> int:
        return len(self.params)

    @cached_property
    def x(self) -> Array:
        """log N, shape (M,)."""
        return np.log(self.params)

    @cached_property
    def y(self) -> Array:
        """log D, shape (M,)."""
        return np.log(self.tokens)

    @property
    def centre(self) -> tuple[float, float]:
        """Mean log N and log D."""
        return float(np.mean(self.x)), float(np.mean(self.y))

    @property
    def repeated(self) -> Array:
        """The share of each point's tokens that were seen before, shape (M,): the sum of max(h_i D - U_i, 0) / D."""
        shares = self.mixture if self.mixture.shape[1] else np.ones((len(self), 1))
        return np.maximum(shares - self.unique / self.tokens[:, None], 0.0).sum(axis=1)

    @property
    def epochs(self) -> Array:
        """How often each point's text is seen, on average over its unique tokens: D / sum_i min(h_i D, U_i), (M,)."""
        return np.asarray(1 / (1 - self.repeated))

    def relative_to(self, centre: tuple[float, float]) -> Self:
        """N in units of e^centre[0], D and U in units of e^centre[1]: amplitudes are then of the order of the loss."""
        n, d = math.exp(centre[0]), math.exp(centre[1])
        return replace(self, params=self.params / n, tokens=self.tokens / d, unique=self.unique / d)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The points that a mask or an index names; every array attribute follows."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[rows] for name, value in arrays.items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True)
class Observations(Points):
    """Rows of a run table: points and what was measured there.

    Attributes:
        loss: what is fitted, nats, shape (n,), all finite and positive; or (S, n), one table for each of S fits.
        domains: the K names.
        run: index of the run that each row belongs to, shape (n,).
    """

    loss: Array
    domains: tuple[str, ...]
    run: NDArray[np.int64]

    def with_loss(self, loss: Array) -> Observations:
        return replace(self, loss=loss)
