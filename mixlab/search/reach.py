"""The least budget at which a loss is reached: the inverse of the best loss as a function of C.

What is least is the cost that the question counts, with `ServedCost` that of training and serving: minimising the cost
at a loss and the loss at a cost have the same optima.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

from mixlab.errors import FitError, InfeasibleError
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.runs.serving import serving_flops
from mixlab.search.optimum import find_optimum, pose
from mixlab.search.question import Question
from mixlab.units import format_flops

STEP = math.log(8)  # of log C, where a budget on the other side of the loss is looked for
LEAST_STEP = 0.02  # of log C, where the text runs out
FARTHEST = math.log(1e9)  # of log C from the largest run: no law means anything there
SAME = 1e-4  # in log C


def least_budget(
    surface: Surface, ask: Callable[[float], Question], loss: float, starts: list[Mixture], seed: int = 0
) -> float:
    """C at which the best predicted loss is `loss`, by bisection in log C.

    Args:
        surface: the fitted objective.
        ask: the question at a budget.
        loss: to be reached.
        starts: mixtures to begin from.
        seed: of the search's random starts.

    Raises:
        FitError: when the law reaches no such loss, or one below it at any budget.
        InfeasibleError: when no mixture keeps bounds, caps and constraints, or the text runs out before.
    """

    def over(x: float) -> float:
        """Loss beyond what is to be reached, at log C."""
        flops = math.exp(x)
        found = find_optimum(surface.point, pose(surface, ask(flops)), starts, seed)
        h = found.mixture.array(surface.domains) if found.mixture is not None else None
        return float(surface.predict(h, found.params, found.tokens)[0]) - loss

    # Where serving counts, the largest run's budget may not pay for it.
    begin = math.log(surface.max_flops + serving_flops(ask(surface.max_flops).cost, surface.params_range[1]))
    first = over(begin)
    step = STEP if first > 0 else -STEP
    edge, there = begin, first
    while True:
        try:
            beyond = over(edge + step)
        except InfeasibleError as error:
            if abs(step) > LEAST_STEP:
                step /= 2
                continue
            if first <= 0:
                return math.exp(edge)  # less does not pay for serving
            raise InfeasibleError(
                f"a loss of {loss:g} is not reached: at {format_flops(math.exp(edge))} FLOPs the law expects "
                f"{loss + there:.4g}, and no budget beyond can be spent: {error.message}",
                error.hint,
            ) from None
        if (beyond > 0) != (first > 0):
            break
        edge, there = edge + step, beyond
        if abs(edge - begin) > FARTHEST:
            raise FitError(
                f"a loss of {loss:g} is {'not reached' if first > 0 else 'passed'} at every budget "
                f"{'up' if first > 0 else 'down'} to {format_flops(math.exp(edge))} FLOPs, where the law expects "
                f"{loss + there:.4g}",
                "ask for another loss; runs of larger models say more about how low it can be",
            )
    return math.exp(brentq(over, *sorted((edge, edge + step)), xtol=SAME))
