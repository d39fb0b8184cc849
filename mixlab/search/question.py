"""What is asked of a search: the budget, what is fixed, what may be answered."""

from __future__ import annotations

from dataclasses import dataclass

from mixlab.mixture import Mixture, MixtureSpace
from mixlab.runs.cost import Cost
from mixlab.search.descent.limits import Limit

# Times the largest budget that was run, where none is asked for: far enough to be a prediction, near enough to be paid.
BEYOND = 4.0


@dataclass(frozen=True)
class Question:
    """A question about the best mixture, size and tokens.

    Attributes:
        flops: the budget C.
        cost: what a budget buys at N.
        space: the mixtures that may be answered; None for tables without mixtures.
        params: fix N.
        tokens: fix D (with N fixed too, C is not used for the split).
        tokens_per_param: fix D / N.
        mixture: fix the mixture, and search the size alone.
        kl: weight of KL(h || prior), in nats of loss per nat.
        prior: what that pulls to, and a start of the search; absent: the uniform mixture, and none.
        limits: losses that must not be worse than something.
        measures: (column, loss): the largest of these columns' losses, each divided by its measure, is minimised in
            place of the objective.
    """

    flops: float
    cost: Cost
    space: MixtureSpace | None = None
    params: float | None = None
    tokens: float | None = None
    mixture: Mixture | None = None
    kl: float = 0.0
    prior: Mixture | None = None
    limits: tuple[Limit, ...] = ()
    measures: tuple[tuple[str, float], ...] = ()
    tokens_per_param: float | None = None
