"""The optimum at a budget: mixture and size searched in turn until both stand still (block coordinate descent)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import minimize_scalar

from mixlab.arrays import Array
from mixlab.errors import FitError, InfeasibleError
from mixlab.laws.surface import Draw, Surface
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.runs.serving import serving_flops
from mixlab.search.aim import Aim
from mixlab.search.question import Question
from mixlab.search.size import bracket, minimise_size, params_at_ratio, params_for
from mixlab.units import format_flops, format_quantity

TURNS = 8
STILL = 1e-3  # in log N, between turns
AROUND = math.log(2)  # in log N, to both sides of an answer nearby
COARSE = 7  # sizes over the bracket, where mixture and size are searched together
FEWEST = 1.0  # tokens of a training: where the budget is for serving as well, large models leave none
FINE = 5e-3  # in log N, of that search: the loss is flat there


@dataclass(frozen=True)
class PosedQuestion:
    """A question with the sizes that a surface lets it search.

    Attributes:
        question: what was asked.
        params: N, where it is settled; else it is searched from `low` to `high`.
        low, high: the bracket of N; both `params` where that is settled.
        why: what is settled that nobody fixed, in words.
    """

    question: Question
    params: float | None
    low: float
    high: float
    why: tuple[str, ...] = ()

    @property
    def searched(self) -> MixtureSpace | None:
        """The space of mixtures that is searched: none where the mixture is fixed."""
        return self.question.space if self.question.mixture is None else None

    def with_mixture(self, mixture: Mixture) -> PosedQuestion:
        """The same at a fixed mixture, whatever it comes to."""
        return replace(self, question=replace(self.question, mixture=mixture, limits=(), measures=()))

    def tokens_at(self, params: float) -> float:
        """D at N."""
        return float(self.each_tokens_at(np.array([params]))[0])

    def each_tokens_at(self, params: Array) -> Array:
        """D at each N, both of shape (M,)."""
        question = self.question
        if question.tokens is not None:
            return np.full(len(params), question.tokens)
        return question.cost.tokens(question.flops, params)


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


def pose(surface: Surface, question: Question) -> PosedQuestion:
    """What of a question is settled on a surface, and what is left to search.

    Raises:
        InfeasibleError: when there is too little text for any size.
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    settled, why = _settled_params(surface, question)
    if settled is not None:
        return PosedQuestion(question, settled, settled, settled, why)
    low, high = _sizes(surface, question)
    return PosedQuestion(question, None, low, high, why)


def find_optimum(
    draw: Draw,
    posed: PosedQuestion,
    starts: list[Mixture],
    seed: int,
    turns: int = TURNS,
    explore: bool = True,
    near: float | None = None,
) -> Optimum:
    """Mixture and size in turn, from the middle of the bracket; the first turn may explore.

    Args:
        draw: what is minimised.
        posed: what is searched.
        starts: mixtures to begin from.
        seed: of the random starts.
        turns: at most so many.
        explore: also begin the first turn from random mixtures.
        near: N of an answer nearby, around which to look where mixture and size are searched together.

    Raises:
        InfeasibleError: when no mixture keeps bounds and caps.
    """
    n, at_edge = math.sqrt(posed.low * posed.high), False
    mixture, space = posed.question.mixture, posed.searched
    aim = Aim.of(draw, posed.question)
    if space is not None and aim.bent and posed.params is None:
        together = _find_together if near is None else partial(_find_near, near=near)
        return together(aim, space, posed, starts, seed, explore)
    for turn in range(turns):
        if space is not None:
            from_here = starts if turn == 0 else [mixture] if mixture is not None else []
            mixture = aim.best_mixture(space, n, posed.tokens_at(n), from_here, seed, explore and turn == 0)
        if posed.params is not None:
            return Optimum(mixture, posed.params, posed.tokens_at(posed.params), False)
        before = n
        n, at_edge = _best_size(draw, posed, mixture)
        if space is None or abs(math.log(n / before)) < STILL:
            break
    return Optimum(mixture, n, posed.tokens_at(n), at_edge)


def worth(draw: Draw, posed: PosedQuestion, best: Optimum) -> float:
    """What the search minimised, at its optimum."""
    if best.mixture is None or posed.question.space is None:
        h = best.mixture.array(draw.domains) if best.mixture is not None else None
        return float(draw.predict(h, best.params, best.tokens)[0])
    return Aim.of(draw, posed.question).worth(posed.question.space, best.mixture, best.params, best.tokens)


def _find_together(
    aim: Aim, space: MixtureSpace, posed: PosedQuestion, starts: list[Mixture], seed: int, explore: bool
) -> Optimum:
    """Mixture and size at once: a bracketed search (Brent) for the size, over the best mixture at each."""
    seen: dict[float, tuple[float, Mixture]] = {}

    def value(x: float) -> float:
        if x not in seen:
            n, nearest = math.exp(x), min(seen, key=lambda other: abs(other - x), default=None)
            from_here = [*starts, seen[nearest][1]] if nearest is not None else starts
            mixture = aim.best_mixture(space, n, posed.tokens_at(n), from_here, seed, explore and nearest is None)
            seen[x] = (aim.worth(space, mixture, n, posed.tokens_at(n)), mixture)
        return seen[x][0]

    low, high = math.log(posed.low), math.log(posed.high)
    grid = [float(x) for x in np.linspace(low, high, COARSE)]
    for x in sorted(grid, key=lambda one: abs(one - (low + high) / 2)):
        value(x)
    best = min(range(COARSE), key=lambda k: value(grid[k]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, COARSE - 1)])
    minimize_scalar(value, bounds=around, method="bounded", options={"xatol": FINE})
    x = min(seen, key=lambda one: seen[one][0])
    n = math.exp(x)
    return Optimum(seen[x][1], n, posed.tokens_at(n), bool(x - low < 2 * FINE or high - x < 2 * FINE))


def _find_near(
    aim: Aim, space: MixtureSpace, posed: PosedQuestion, starts: list[Mixture], seed: int, explore: bool, near: float
) -> Optimum:
    """The same around a known N: the best of a parabola through three sizes."""
    middle = min(max(math.log(near), math.log(posed.low)), math.log(posed.high))
    ends = (max(middle - AROUND, math.log(posed.low)), min(middle + AROUND, math.log(posed.high)))
    seen: list[tuple[float, float, Mixture]] = []

    def look(x: float) -> None:
        n, from_here = math.exp(x), [*starts, *(mixture for _, _, mixture in seen[-1:])]
        mixture = aim.best_mixture(space, n, posed.tokens_at(n), from_here, seed, explore and not seen)
        seen.append((aim.worth(space, mixture, n, posed.tokens_at(n)), x, mixture))

    for x in dict.fromkeys((middle, *ends)):
        look(x)
    if len(seen) == 3:
        bend, slope, _ = np.polyfit([x - middle for _, x, _ in seen], [value for value, _, _ in seen], 2)
        if bend > 0:
            look(float(np.clip(middle - slope / (2 * bend), *ends)))
    _, x, mixture = min(seen, key=lambda one: one[0])
    n = math.exp(x)
    return Optimum(mixture, n, posed.tokens_at(n), False)


def _settled_params(surface: Surface, question: Question) -> tuple[float | None, tuple[str, ...]]:
    """N, where it is not searched: as given, as C and D leave it, or that of the largest runs; and why, in words.

    Raises:
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    if question.params is not None:
        return question.params, ()
    if question.tokens is not None:
        return params_for(question.cost, question.flops, question.tokens), ()
    if question.tokens_per_param is not None:
        return params_at_ratio(question.cost, question.flops, question.tokens_per_param), ()
    if surface.sized:
        return None, ()
    several = surface.params_range[0] < surface.params_range[1]
    if several and question.space is None:
        raise FitError(
            "the runs do not vary model size and tokens apart from each other, so they cannot say how to split a "
            "budget between the two",
            "run several sizes at one budget (an isoFLOP design does), or fix the size by `params`",
        )
    known = "the runs do not vary N apart from D" if several else f"the law `{surface.law}` knows no model sizes"
    return surface.params_range[1], (f"{known}: N is that of the largest runs",)


def _sizes(surface: Surface, question: Question) -> tuple[float, float]:
    """The bracket of N: sizes that the runs support and, of the mixtures of a space, the text suffices for.

    Raises:
        InfeasibleError: when even the largest asks for more tokens than there are.
    """
    low, high = bracket(surface.params_range, question.flops, surface.max_flops)
    largest = params_for(question.cost, question.flops, FEWEST)
    if largest < low:
        raise InfeasibleError(
            f"{format_flops(question.flops)} FLOPs must pay for training and serving a model of "
            f"{format_quantity(low)} parameters, the smallest that the runs support, but serving alone takes "
            f"{format_flops(serving_flops(question.cost, low))}",
            "raise the budget, serve fewer tokens, or run smaller models",
        )
    high = min(high, largest)
    space = question.space if question.mixture is None else None
    most = 0.999999 * space.most_tokens() if space is not None else math.inf  # inside by more than rounding
    if space is None or math.isinf(most):
        return low, high
    space.bounds(float(question.cost.tokens(question.flops, high)))
    # At a fixed budget a smaller model asks for more tokens.
    return max(low, min(high, params_for(question.cost, question.flops, most))), high


def _best_size(draw: Draw, posed: PosedQuestion, mixture: Mixture | None) -> tuple[float, bool]:
    """N at one mixture, and whether it lies at an end of the bracket."""
    h = mixture.array(draw.domains) if mixture is not None else None
    return minimise_size(lambda params: draw.predict(h, params, posed.each_tokens_at(params)), posed.low, posed.high)
