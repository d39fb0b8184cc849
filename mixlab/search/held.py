"""What an answer is held to: constraints and limits that bind, and the names of those that cannot be kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mixlab.errors import InfeasibleError
from mixlab.laws.surface import Draw
from mixlab.mixture import Mixture, MixtureSpace, limit_in_words
from mixlab.polytope import smallest
from mixlab.search.descent.limits import BINDS, LIMIT_KEPT, HeldLimit
from mixlab.search.descent.mix import minimise_mixture
from mixlab.search.descent.worst import Worst
from mixlab.search.question import Question
from mixlab.units import format_quantity

AT_ITS_END = 1e-4  # in weight: a constraint that is nearer to its end binds


def held_to(
    draw: Draw, question: Question, mixture: Mapping[str, float], params: float, tokens: float
) -> list[dict[str, Any]]:
    """Constraints and limits with the room that is left: {"said", "room", "binds"}, of a limit also "loss", "most".

    Room is weight, loss or, of a limit on domains, domains.
    """
    found: list[dict[str, Any]] = []
    if question.space is None or not mixture or question.mixture is not None:
        return found
    h = np.array([mixture.get(name, 0.0) for name in question.space.names])
    for constraint in question.space.constraints:
        value = float(constraint.row(question.space.names) @ h)
        room = min(value - constraint.lower, constraint.upper - value)
        found.append({"said": constraint.text, "room": room, "binds": room < AT_ITS_END})
    if (few := question.space.limit) is not None:
        left = few - int(np.sum(h > 0))
        found.append({"said": limit_in_words(few), "room": float(left), "binds": left < 1})
    for limit in question.limits:
        held = limit.on(draw)
        loss, most = float(held.draw.predict(h, params, tokens)[0]), float(held.most(params, tokens)[0])
        found.append(
            {"said": limit.said, "room": most - loss, "binds": most - loss < BINDS, "loss": loss, "most": most}
        )
    return found


def require_limits(draw: Draw, question: Question, mixture: Mixture | None, params: float, tokens: float) -> None:
    """Refuse an answer that misses a limit.

    Raises:
        InfeasibleError: with the names of a smallest set of limits, constraints and bounds that clash.
    """
    space, limits = question.space, [limit.on(draw) for limit in question.limits]
    if space is None or mixture is None or not limits:
        return
    h = mixture.array(space.names)
    missed = [limit for limit in limits if limit.excess(h, params, tokens)[0] > 2 * LIMIT_KEPT]
    if not missed or _least(space, limits, params, tokens) <= 2 * LIMIT_KEPT:
        return
    lower = [f"{name} >= {bound:g}" for name, bound in space.lower.items() if bound > 0]
    upper = [f"{name} <= {bound:g}" for name, bound in space.upper.items() if bound < 1]
    epochs = [f"at most {space.max_epochs:g} epochs"] if np.isfinite(space.max_epochs) else []
    few = [limit_in_words(space.limit)] if space.limit is not None else []
    said = [limit.limit.said for limit in limits]
    names = [*lower, *upper, *epochs, *few, *(one.text for one in space.constraints), *said]

    def clashes(kept: Sequence[str]) -> bool:
        part = replace(
            space,
            lower={name: bound for name, bound in space.lower.items() if f"{name} >= {bound:g}" in kept},
            upper={name: bound for name, bound in space.upper.items() if f"{name} <= {bound:g}" in kept},
            max_epochs=space.max_epochs if set(epochs) & set(kept) else np.inf,
            constraints=tuple(one for one in space.constraints if one.text in kept),
            max_domains=space.max_domains if set(few) & set(kept) else None,
        )
        some = [limit for limit in limits if limit.limit.said in kept]
        return bool(some) and _least(part, some, params, tokens) > 2 * LIMIT_KEPT

    least = _least(space, limits, params, tokens)
    most = {limit.limit.said: float(limit.most(params, tokens)[0]) for limit in limits}
    named = [f"`{one}`" + (f" ({most[one]:.4f})" if one in most else "") for one in smallest(names, clashes)]
    raise InfeasibleError(
        f"no mixture keeps all of these at {format_quantity(params)} parameters and {format_quantity(tokens)} tokens: "
        f"{', '.join(named)}; the mixture that comes nearest misses by {least:.4f}",
        "relax one of them by that much" if len(named) > 1 else "allow that much more loss, or a larger budget",
    )


def _least(space: MixtureSpace, limits: Sequence[HeldLimit], params: float, tokens: float) -> float:
    """The least that the worst of the limits is missed by over all mixtures, nats; negative where all can be kept."""
    most = [float(limit.most(params, tokens)[0]) for limit in limits]
    worst = Worst(tuple(limit.draw for limit in limits), tuple(most))
    found = minimise_mixture(worst, space, params=params, tokens=tokens)
    h = found.array(space.names)
    return max(float(limit.excess(h, params, tokens)[0]) for limit in limits)
