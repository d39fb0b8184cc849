"""Many fits at the same points: those of one law that refer to the same rows are evaluated in one call.

A search asks a surface for one point at a time, so that the calls cost more than the arithmetic in them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.points import Points
from mixlab.laws.forms.solver import SMALLEST


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
        groups: dict[Hashable, list[int]] = {}
        for number, fit in enumerate(fits):
            groups.setdefault(fit.function, []).append(number)
        return cls(tuple((fits[g[0]].joined([fits[i] for i in g[1:]]), np.array(g)) for g in groups.values()))

    def logs(self, at: Points) -> Array:
        """Log-loss of each fit at each point, shape (m, M)."""
        found = np.empty((self._count, len(at)))
        for fit, numbers in self.groups:
            found[numbers] = np.log(np.maximum(fit.predict(at), SMALLEST))
        return found

    def logs_and_slopes(self, at: Points) -> tuple[Array, Array]:
        """The same, and its derivative by h, shape (m, M, K)."""
        found, slopes = np.empty((self._count, len(at))), np.empty((self._count, *at.mixture.shape))
        for fit, numbers in self.groups:
            value, slope = fit.value_and_gradient(at)
            value = np.maximum(value, SMALLEST)
            found[numbers], slopes[numbers] = np.log(value), slope / value[:, :, None]
        return found, slopes

    @property
    def _count(self) -> int:
        return sum(len(numbers) for _, numbers in self.groups)
