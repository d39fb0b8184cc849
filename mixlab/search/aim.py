"""What a question minimises under one draw: the objective or the worst group, the pull to the prior, the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixlab.laws.surface import Draw
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.search.descent.limits import HeldLimit
from mixlab.search.descent.mix import SurfaceLike, minimise_mixture, penalised
from mixlab.search.descent.worst import Worst
from mixlab.search.question import Question


@dataclass(frozen=True)
class Aim:
    """A question's objective, prior and limits under a draw.

    Attributes:
        surface: the objective, or the worst group.
        kl, prior: the pull to the prior.
        limits: the limits under this draw.
    """

    surface: SurfaceLike
    kl: float
    prior: Mixture | None
    limits: tuple[HeldLimit, ...]

    @classmethod
    def of(cls, draw: Draw, question: Question) -> Aim:
        """What `question` asks of `draw`."""
        surface: SurfaceLike = Worst.on(draw, question.measures) if question.measures else draw
        return cls(surface, question.kl, question.prior, tuple(limit.on(draw) for limit in question.limits))

    @property
    def bent(self) -> bool:
        """Whether mixture and size have to be searched together: in turn they would stop at a limit or a kink."""
        return bool(self.limits) or isinstance(self.surface, Worst)

    def best_mixture(
        self, space: MixtureSpace, params: float, tokens: float, starts: Sequence[Mixture], seed: int, explore: bool
    ) -> Mixture:
        """The mixture that is best at (N, D); see `minimise_mixture`."""
        return minimise_mixture(
            self.surface,
            space,
            params=params,
            tokens=tokens,
            starts=starts,
            kl=self.kl,
            prior=self.prior,
            limits=self.limits,
            explore=explore,
            seed=seed,
        )

    def worth(self, space: MixtureSpace, mixture: Mixture, params: float, tokens: float) -> float:
        """What is minimised, at one mixture and size."""
        return penalised(
            self.surface,
            mixture,
            space,
            params=params,
            tokens=tokens,
            kl=self.kl,
            prior=self.prior,
            limits=self.limits,
        )
