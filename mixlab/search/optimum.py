"""The optimum at a budget: mixture and size searched in turn until both stand still (block coordinate descent)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.surface import Draw, Surface
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.runs.cost import Cost
from mixlab.search.mix import minimise_mixture
from mixlab.search.size import bracket, minimise_size, params_for

TURNS = 8
STILL = 1e-3  # in log N, between turns


@dataclass(frozen=True)
class Question:
    """What is fixed, and what is searched.

    Attributes:
        space: the mixtures that may be answered; None for tables without mixtures.
        flops: C.
        cost: what a budget buys at N.
        params: N, or None where it is searched from `low` to `high`.
        tokens: D, or None where it is what C buys at N.
        fixed_mixture: absent: searched in `space`.
        low, high: the bracket of N; both `params` where that is fixed.
        kl: weight of KL(h || prior).
        prior: what that pulls to.
    """

    space: MixtureSpace | None
    flops: float
    cost: Cost
    params: float | None
    tokens: float | None
    fixed_mixture: Mixture | None
    low: float
    high: float
    kl: float
    prior: Mixture | None

    def tokens_at(self, params: float) -> float:
        """D at N."""
        return float(self.each_tokens_at(np.array([params]))[0])

    def each_tokens_at(self, params: Array) -> Array:
        """D at each N, both of shape (M,)."""
        return self.cost.tokens(self.flops, params) if self.tokens is None else np.full(len(params), self.tokens)


@dataclass(frozen=True)
class Optimum:
    """The best point of a draw.

    Attributes:
        mixture: None for tables without mixtures.
        params, tokens: N and D.
        at_edge: whether N lies at an end of its bracket.
    """

    mixture: Mixture | None
    params: float
    tokens: float
    at_edge: bool


def pose(
    surface: Surface,
    space: MixtureSpace | None,
    flops: float,
    cost: Cost,
    *,
    params: float | None,
    tokens: float | None,
    fixed_mixture: Mixture | None,
    kl: float,
    prior: Mixture | None,
) -> tuple[Question, list[str]]:
    """The question at a budget, as its caller fixes N, D or the mixture; and what else is fixed, in words.

    Raises:
        InfeasibleError: when there is too little text for any size.
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    settled, why = _settled_params(surface, space, flops, cost, params, tokens)
    if settled is not None:
        low, high = settled, settled
    else:
        low, high = _sizes(surface, space if fixed_mixture is None else None, flops, cost)
    return Question(space, flops, cost, settled, tokens, fixed_mixture, low, high, kl, prior), why


def find_optimum(
    draw: Draw, question: Question, starts: list[Mixture], seed: int, turns: int = TURNS, explore: bool = True
) -> Optimum:
    """Mixture and size in turn, from the middle of the bracket; the first turn may explore.

    Args:
        draw: what is minimised.
        question: what is searched.
        starts: mixtures to begin from.
        seed: of the random starts.
        turns: at most so many.
        explore: also begin the first turn from random mixtures.

    Raises:
        InfeasibleError: when no mixture keeps bounds and caps.
    """
    n, at_edge = math.sqrt(question.low * question.high), False
    mixture, space = question.fixed_mixture, question.space if question.fixed_mixture is None else None
    for turn in range(turns):
        if space is not None:
            mixture = minimise_mixture(
                draw,
                space,
                params=n,
                tokens=question.tokens_at(n),
                starts=starts if turn == 0 else [mixture] if mixture is not None else [],
                kl=question.kl,
                prior=question.prior,
                explore=explore and turn == 0,
                seed=seed,
            )
        if question.params is not None:
            return Optimum(mixture, question.params, question.tokens_at(question.params), False)
        before = n
        n, at_edge = _best_size(draw, question, mixture)
        if space is None or abs(math.log(n / before)) < STILL:
            break
    return Optimum(mixture, n, question.tokens_at(n), at_edge)


def _settled_params(
    surface: Surface, space: MixtureSpace | None, flops: float, cost: Cost, params: float | None, tokens: float | None
) -> tuple[float | None, list[str]]:
    """N, where it is not searched: as given, as C and D leave it, or that of the largest runs; and why, in words.

    Raises:
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    if params is not None:
        return params, []
    if tokens is not None:
        return params_for(cost, flops, tokens), []
    if surface.sized:
        return None, []
    several = surface.params_range[0] < surface.params_range[1]
    if several and space is None:
        raise FitError(
            "the runs do not vary model size and tokens apart from each other, so they cannot say how to split a "
            "budget between the two",
            "run several sizes at one budget (an isoFLOP design does), or fix the size with --params",
        )
    known = "the runs do not vary N apart from D" if several else f"the law `{surface.law}` knows no model sizes"
    return surface.params_range[1], [f"{known}: N is that of the largest runs"]


def _sizes(surface: Surface, space: MixtureSpace | None, flops: float, cost: Cost) -> tuple[float, float]:
    """The bracket of N: sizes that the runs support and, of the mixtures of a space, the text suffices for.

    Raises:
        InfeasibleError: when even the largest asks for more tokens than there are.
    """
    low, high = bracket(surface.params_range, flops, surface.max_flops)
    most = 0.999999 * space.most_tokens() if space is not None else math.inf  # inside by more than rounding
    if space is None or math.isinf(most):
        return low, high
    space.bounds(float(cost.tokens(flops, high)))
    # At a fixed budget a smaller model asks for more tokens.
    return max(low, min(high, params_for(cost, flops, most))), high


def _best_size(draw: Draw, question: Question, mixture: Mixture | None) -> tuple[float, bool]:
    """N at one mixture, and whether it lies at an end of the bracket."""
    h = mixture.array(draw.domains) if mixture is not None else None
    return minimise_size(
        lambda params: draw.predict(h, params, question.each_tokens_at(params)), question.low, question.high
    )
