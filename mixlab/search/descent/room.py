"""One descent over mixtures: SLSQP inside bounds, linear constraints, and smooth curves that must stay below 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from mixlab.arrays import Array
from mixlab.mixture import MixtureSpace

Smooth = Callable[[Array], tuple[float, Array]]  # (K,) -> a value and its gradient (K,)
MOST_STEPS = 200
PRECISION = 1e-9  # of the value, and of what may be missed


@dataclass(frozen=True)
class Room:
    """Where a descent may go at one token count: a space with its caps, as SLSQP takes it."""

    lower: Array
    upper: Array
    A: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, space: MixtureSpace, tokens: float) -> Room:
        """The space at `tokens` training tokens.

        Raises:
            InfeasibleError: when no mixture keeps bounds, caps and constraints.
        """
        return cls(*space.bounds(tokens), *space.linear(tokens))

    def descend(self, value: Smooth, start: Array, below: Sequence[Smooth] = (), parts: Sequence[Smooth] = ()) -> Array:
        """A local minimum from `start` of `value`, plus the largest of `parts` where there are any; nearly in the room.

        Args:
            value: what is minimised.
            start: a mixture, shape (K,).
            below: curves that stay at or under 0.
            parts: their largest is minimised by a variable t of its own that is at or above each (epigraph form).
        """
        K = len(start)
        even = self.low == self.high
        up, down = np.isfinite(self.low) & ~even, np.isfinite(self.high) & ~even
        constraints = [
            _flat("eq", np.concatenate([np.ones((1, K)), self.A[even]]), np.append(1.0, self.low[even]), bool(parts)),
            *(_bent(_widened(curve) if parts else curve, 0.0) for curve in below),
            *(_bent(_widened(curve), 1.0) for curve in parts),
        ]
        if up.any() or down.any():
            G, g = np.concatenate([self.A[up], -self.A[down]]), np.append(self.low[up], -self.high[down])
            constraints.append(_flat("ineq", G, g, bool(parts)))
        bounds = list(zip(self.lower, self.upper, strict=True))
        if parts:
            start = np.append(start, max(curve(start)[0] for curve in parts))
            bounds.append((-np.inf, np.inf))

        def whole(x: Array) -> tuple[float, Array]:
            if not parts:
                return value(x)
            found, slope = value(x[:K])
            return found + float(x[K]), np.append(slope, 1.0)

        found = minimize(
            whole,
            start,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=constraints,
            options={"maxiter": MOST_STEPS, "ftol": PRECISION},
        )
        return np.asarray(found.x[:K])


def _flat(kind: str, A: Array, b: Array, wide: bool) -> dict[str, Any]:
    """A h - b, at 0 or above it; `wide` where t stands behind the weights."""
    J = np.hstack([A, np.zeros((len(A), 1))]) if wide else A
    return {"type": kind, "fun": lambda x: J @ x - b, "jac": lambda x: J}


def _bent(curve: Smooth, share: float) -> dict[str, Any]:
    """A curve at or below `share` times t; SLSQP asks for the value and the slope at one point, which are one call."""
    last: list[tuple[Array, tuple[float, Array]]] = []

    def at(x: Array) -> tuple[float, Array]:
        if not last or not np.array_equal(last[0][0], x):
            last[:] = [(x.copy(), curve(x))]
        return last[0][1]

    def room(x: Array) -> float:
        return (share * float(x[-1]) if share else 0.0) - at(x)[0]

    def slope(x: Array) -> Array:
        found = -at(x)[1]
        if share:
            found[-1] += share
        return found

    return {"type": "ineq", "fun": room, "jac": slope}


def _widened(curve: Smooth) -> Smooth:
    """A curve over weights as one over the weights and t."""

    def wide(x: Array) -> tuple[float, Array]:
        value, slope = curve(x[:-1])
        return value, np.append(slope, 0.0)

    return wide
