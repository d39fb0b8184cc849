"""What a search for parameters came to: where it ended, how it ended, and what that means for whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array


class Status(StrEnum):
    """How a fit ended, by the word that is printed and stored."""

    CONVERGED = "converged"
    MAX_ITER = "max_iter"
    BOUND_HIT = "bound_hit"
    ILL_CONDITIONED = "ill_conditioned"
    TOO_FEW_ROWS = "too_few_rows"

    @property
    def meaning(self) -> str:
        """What it says about the fit."""
        return _MEANING[self]

    @property
    def advice(self) -> str:
        """What may help."""
        return _ADVICE[self]

    @property
    def message(self) -> str:
        """Both, as one sentence."""
        return f"{self.meaning}: {self.advice}"


_MEANING = {
    Status.CONVERGED: "no step from here lowers the objective",
    Status.MAX_ITER: "the objective was still falling when the search stopped",
    Status.BOUND_HIT: "an exponent or a size of a term lies at the edge of what the law allows, so the rows ask for "
    "what the law cannot say",
    Status.ILL_CONDITIONED: "the rows cannot tell all parameters apart",
    Status.TOO_FEW_ROWS: "there are fewer rows than parameters",
}
_ADVICE = {
    Status.CONVERGED: "the parameters may be used",
    Status.MAX_ITER: "you may need runs that differ more in size, tokens or mixture, or a law with fewer parameters",
    Status.BOUND_HIT: "you may need to leave out runs that went wrong or lie before the power law (by `where`), to run "
    "a wider range of sizes, tokens or mixtures, or to name another law",
    Status.ILL_CONDITIONED: "trust predictions, not parameters; you may need runs in which what the parameters stand "
    "for varies by itself",
    Status.TOO_FEW_ROWS: "you need more runs, or a law with fewer parameters",
}


@dataclass(frozen=True)
class Solution:
    """S solved problems.

    Attributes:
        theta: where each ended, shape (S, P).
        objective: what was minimised, there, shape (S,).
        status: of each, length S.
        steps: how many were tried for each, shape (S,); 0 where a formula gives the answer.
    """

    theta: Array
    objective: Array
    status: tuple[Status, ...]
    steps: NDArray[np.int64]

    @classmethod
    def exact(cls, theta: Array, objective: Array) -> Solution:
        """What a formula gives, without a search."""
        count = len(theta)
        return cls(theta, objective, (Status.CONVERGED,) * count, np.zeros(count, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.theta)

    def some(self, these: slice | Sequence[int] | NDArray[np.int64]) -> Solution:
        """Those of the S."""
        index = np.arange(len(self))[these]
        return Solution(
            self.theta[index], self.objective[index], tuple(self.status[i] for i in index), self.steps[index]
        )

    def joined(self, others: Sequence[Solution]) -> Solution:
        """These, then the others'."""
        every = (self, *others)
        return Solution(
            np.concatenate([one.theta for one in every]),
            np.concatenate([one.objective for one in every]),
            tuple(status for one in every for status in one.status),
            np.concatenate([one.steps for one in every]),
        )
