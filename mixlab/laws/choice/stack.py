"""Many fits at the same points: those of one law that refer to the same rows are evaluated in one call.

A search asks a surface for one point at a time, so that the calls cost more than the arithmetic in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import Fits, Points
from mixlab.laws.forms.gp import WithGaussianProcess


@dataclass(frozen=True)
class FitStack:
    """m single fits.

    Attributes:
        groups: fits that were joined, and the numbers of their parts among the m.
    """

    groups: tuple[tuple[Fits, NDArray[np.int64]], ...]

    @classmethod
    def of(cls, fits: Sequence[Fits]) -> FitStack:
        """Join what can be joined."""
        groups: list[list[int]] = []
        for number, fit in enumerate(fits):
            group = next((group for group in groups if _alike(fits[group[0]], fit)), None)
            if group is None:
                groups.append([number])
            else:
                group.append(number)
        return cls(tuple((_joined([fits[i] for i in group]), np.array(group)) for group in groups))

    def logs(self, at: Points) -> Array:
        """Log-loss of each fit at each point, shape (m, M)."""
        found = np.empty((self._count, len(at)))
        for fit, numbers in self.groups:
            found[numbers] = np.log(np.maximum(fit.predict(at), 1e-300))
        return found

    def logs_and_slopes(self, at: Points) -> tuple[Array, Array]:
        """The same, and its derivative by h, shape (m, M, K)."""
        found, slopes = np.empty((self._count, len(at))), np.empty((self._count, *at.mixture.shape))
        for fit, numbers in self.groups:
            value, slope = fit.value_and_gradient(at)
            value = np.maximum(value, 1e-300)
            found[numbers], slopes[numbers] = np.log(value), slope / value[:, :, None]
        return found, slopes

    @property
    def _count(self) -> int:
        return sum(len(numbers) for _, numbers in self.groups)


def _alike(one: Fits, other: Fits) -> bool:
    """Whether both are parameters of the same function."""
    if one.centre != other.centre or one.theta.shape[1] != other.theta.shape[1]:
        return False
    if isinstance(one.law, WithGaussianProcess) and isinstance(other.law, WithGaussianProcess):
        return one.law.shares_rows(other.law)
    return one.law is other.law


def _joined(fits: Sequence[Fits]) -> Fits:
    return replace(
        fits[0],
        theta=np.concatenate([fit.theta for fit in fits]),
        objective=np.concatenate([fit.objective for fit in fits]),
        status=tuple(status for fit in fits for status in fit.status),
    )
