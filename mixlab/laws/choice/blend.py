"""Recipes and blends: which law is fitted with which rows in mind, and the mean of several such fits.

On tables with few runs the law that seems best by validation is often not the one that extrapolates best, and a mean of
good ones does better than the pick (Bates and Granger 1969). Where the members disagree, the prediction is uncertain,
which `disagreement` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixlab.arrays import Array
from mixlab.laws.choice.stack import FitStack
from mixlab.laws.forms.base import Fits, Law
from mixlab.laws.forms.gp import WithGaussianProcess
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.registry import get_entry, get_law


@dataclass(frozen=True)
class FitRecipe:
    """A law, and how much it listens to which rows.

    Attributes:
        law: its name.
        emphasis: rows weigh C^emphasis: above 0 the fit minds the large runs, which are nearest to what it is for.
        early: rows before this fraction of their run's tokens are left out: early checkpoints lie before the power law.
    """

    law: str
    emphasis: float = 0.0
    early: float = 0.0

    @property
    def form(self) -> Law:
        return get_law(self.law)

    @property
    def process(self) -> WithGaussianProcess | None:
        """The law with a process that follows its residuals; None where it has none, or is one."""
        return get_entry(self.law).process

    def weights(self, rows: Observations, flops: Array, masks: Array) -> Array:
        """Weights of rows in each fit, shape (S, n), of mean 1 over the rows that a fit uses.

        Args:
            rows: n rows.
            flops: C, shape (n,).
            masks: 1 for rows that a fit may use, else 0, shape (S, n).
        """
        late = rows.tokens >= self.early * last_tokens(rows) * (1 - 1e-9)
        weights = masks * late * np.exp(self.emphasis * (np.log(flops) - np.log(flops).max()))
        used = np.count_nonzero(weights, axis=1)[:, None]
        return np.asarray(weights * used / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300))

    def fit(self, rows: Observations, flops: Array, masks: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """S fits, one per row of `masks`."""
        return self.form.fit(rows, self.weights(rows, flops, masks), seed, start)

    def __str__(self) -> str:
        parts = [self.law]
        if self.emphasis:
            parts.append(f"rows weigh C^{self.emphasis:g}")
        if self.early:
            parts.append(f"without the first {100 * self.early:.0f}% of runs")
        return ", ".join(parts)


def last_tokens(rows: Observations) -> Array:
    """The largest token count of each row's run, shape (n,)."""
    runs, index = np.unique(rows.run, return_inverse=True)
    last = np.zeros(len(runs))
    np.maximum.at(last, index, rows.tokens)
    return np.asarray(last[index])


@dataclass(frozen=True)
class Blend:
    """The geometric mean of the predictions of m fits.

    Attributes:
        fits: the members, single fits.
        weights: of the members, shape (m,), summing to 1.
    """

    fits: tuple[Fits, ...]
    weights: tuple[float, ...]

    @cached_property
    def _stack(self) -> FitStack:
        return FitStack.of(self.fits)

    def predict(self, at: Points) -> Array:
        """Shape (M,)."""
        return np.exp(np.array(self.weights) @ self._stack.logs(at))

    def disagreement(self, at: Points) -> Array:
        """Standard deviation of the log-predictions over the members, shape (M,)."""
        weights, each = np.array(self.weights), self._stack.logs(at)
        return np.sqrt(weights @ (each - weights @ each) ** 2)


@dataclass(frozen=True)
class Resamples:
    """B bootstrap draws of a blend: draw b is a resample of member b mod m, so that draws differ as the members do.

    Attributes:
        fits: by member, its draws.
    """

    fits: tuple[Fits, ...]

    def predict(self, at: Points) -> Array:
        """Shape (B, M)."""
        members = len(self.fits)
        found = np.empty((sum(len(fit) for fit in self.fits), len(at)))
        for i, fit in enumerate(self.fits):
            found[i::members] = fit.predict(at)
        return found

    def one(self, draw: int) -> Blend:
        """One draw, as a blend of a single fit."""
        member = draw % len(self.fits)
        return Blend((self.fits[member].one(draw // len(self.fits)),), (1.0,))
