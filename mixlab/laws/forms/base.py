"""What a law must do, and what a fit of one can be asked. Every law meets the rest of the package here.

A law holds no state. What a fit needs in order to predict, its parameters and whatever it remembers of the rows, is
held by the `Fits` that the law returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from mixlab.arrays import Array
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.solution import Solution, Status

SCALE_AND_MIXTURE: frozenset[str] = frozenset({"params", "tokens", "mixture"})


class Law(Protocol):
    """A functional form L(h, N, D, U), or a baseline that predicts a loss without one.

    Attributes:
        name: by which it is asked for.
        needs: of "params", "tokens", "mixture", which must vary in the rows, and "unique", which must be stated there.
        takes: of "params", "tokens", "mixture" and "epochs": what moves its loss. A law is no candidate for rows in
            which anything else varies, since that would be lost on it.
        baseline: whether it is there for comparison. A baseline is never blended into `auto`, and rows on which a law
            would be refused are good enough for it.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def takes(self) -> frozenset[str]: ...

    @property
    def baseline(self) -> bool: ...

    def size(self, domains: int) -> int:
        """P, the number of its parameters for K domains."""
        ...

    def free(self, rows: Observations) -> int:
        """How many parameters these rows are asked to settle: fewer than P where some are pinned."""
        ...

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """S fits at once, one per row of `weights`, as bootstrap resamples and validation splits need.

        Args:
            rows: n rows; losses of shape (S, n) give each fit its own.
            weights: of rows, shape (S, n); a row of weight 0 is left out.
            seed: of random starts.
            start: theta of an earlier fit of this law, shape (P,), to begin from in place of many starts; losses are
                then (n,) or (S, n).
        """
        ...


@dataclass(frozen=True)
class Fits(ABC):
    """S fits of one law to one target.

    Attributes:
        law: the law.
        centre: (log N, log D) at which its internal amplitudes are measured.
        domains: names, for reporting.
        solution: the internal parameters of each fit, and how the search for them ended.
    """

    law: Law
    centre: tuple[float, float]
    domains: tuple[str, ...]
    solution: Solution

    @abstractmethod
    def predict(self, at: Points) -> Array:
        """Loss of each fit at each point, shape (S, M)."""

    @abstractmethod
    def value_and_gradient(self, at: Points) -> tuple[Array, Array]:
        """Loss, shape (S, M), and d loss / d h, shape (S, M, K), for little more than the price of the second."""

    @abstractmethod
    def natural(self, index: int = 0) -> dict[str, float]:
        """The parameters of fit `index` as the papers write them, by name."""

    def gradient(self, at: Points) -> Array:
        """d loss / d h, shape (S, M, K)."""
        return self.value_and_gradient(at)[1]

    def __len__(self) -> int:
        return len(self.solution)

    @property
    def theta(self) -> Array:
        """Internal parameters, shape (S, P); a row of them may start another fit of the same law."""
        return self.solution.theta

    @property
    def objective(self) -> Array:
        """What was minimised, shape (S,)."""
        return self.solution.objective

    @property
    def status(self) -> tuple[Status, ...]:
        """How each search ended, length S."""
        return self.solution.status

    @property
    def function(self) -> Hashable:
        """Equal for fits that are parameters of one function, so that they can be `joined`."""
        return self.law, self.centre, self.theta.shape[1]

    def some(self, these: slice) -> Self:
        """Those fits of the batch as a batch."""
        return replace(self, solution=self.solution.some(these))

    def one(self, index: int) -> Self:
        """Fit `index` of the batch as a batch of one."""
        return self.some(slice(index, index + 1))

    def joined(self, others: Sequence[Self]) -> Self:
        """These fits and others of the same `function` as one batch, to be evaluated in one call."""
        return replace(self, solution=self.solution.joined([other.solution for other in others]))

    def examined(self, rows: Observations) -> Status:
        """How the first fit ended, with what the rows it was fitted to say about its parameters."""
        return self.status[0]

    def refreshed(self, rows: Observations, weights: Array, seed: int) -> Fits:
        """The same fits, with what they took over from their `start` unchanged fitted to these rows as well."""
        return self


class ClosedForm(Law, Protocol):
    """A law that theta alone determines; points are relative to the centre of the fit (`Points.relative_to`)."""

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, P) and M points -> (S, M)."""
        ...

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """Loss (S, M), and d loss / d h (S, M, K)."""
        ...

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """Internal (P,) -> the papers' parameters by name."""
        ...


@dataclass(frozen=True)
class ClosedFormFits(Fits):
    """S parameter vectors of a closed form."""

    law: ClosedForm

    def predict(self, at: Points) -> Array:
        return self.law.predict(self.theta, at.relative_to(self.centre))

    def value_and_gradient(self, at: Points) -> tuple[Array, Array]:
        return self.law.value_and_gradient(self.theta, at.relative_to(self.centre))

    def natural(self, index: int = 0) -> dict[str, float]:
        return self.law.natural(self.theta[index], self.centre, self.domains)
