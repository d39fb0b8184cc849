"""The simplex cut by boxes and linear rows: the nearest point, or what clashes where there is none.

P = {h: lower <= h <= upper, sum(h) = 1, low <= A h <= high}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import InfeasibleError

SLACK = 5e-7  # how far a row, scaled to length 1, may be missed; linear programs are solved to a fifth of that
KEPT_ROW = 1e-12  # a row that is missed by less is kept
LET_GO = (0.0, 1e-9, 1e-7, 2 * SLACK)  # by how much rows are let go, where rounding leaves no point that keeps them

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """`low <= coefficients . h <= high`, and what it is called in messages."""

    said: str
    coefficients: Array
    low: float
    high: float


def project_on_box(points: Array, lower: Array, upper: Array) -> Array:
    """The nearest points between `lower` and `upper` that sum to 1, shape (..., K) as given.

    Solves for the shift s with sum(clip(x - s, lower, upper)) = 1 by bisection.
    """
    low = np.min(points - upper, axis=-1)
    high = np.max(points - lower, axis=-1)
    for _ in range(100):
        middle = (low + high) / 2
        over = np.clip(points - middle[..., None], lower, upper).sum(axis=-1) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    inside = np.clip(points - ((low + high) / 2)[..., None], lower, upper)
    return np.asarray(inside / inside.sum(axis=-1, keepdims=True))


def project(points: Array, lower: Array, upper: Array, A: Array, low: Array, high: Array) -> Array:
    """The nearest points of P, shape (..., K) as given.

    Where the nearest point of the box keeps the rows it is the answer. The others are least-distance problems, min |z|
    with G z >= g, each solved exactly by non-negative least squares (Lawson and Hanson 1974, chapter 23).
    """
    near = project_on_box(points, lower, upper)
    return onto_rows(points, near, lower, upper, A, low, high) if len(A) else near


def onto_rows(points: Array, near: Array, lower: Array, upper: Array, A: Array, low: Array, high: Array) -> Array:
    """The nearest points of P, where the nearest of the box, `near`, are known; shape (..., K) as given."""
    flat, found = points.reshape(-1, points.shape[-1]), near.reshape(-1, points.shape[-1]).copy()
    values = found @ A.T
    missed = np.flatnonzero(((values < low - KEPT_ROW) | (values > high + KEPT_ROW)).any(axis=-1))
    if not len(missed):
        return near
    K = len(lower)
    G = np.concatenate([np.eye(K), -np.eye(K), np.ones((1, K)), -np.ones((1, K)), A, -A])
    g = np.concatenate([lower, -upper, [1.0, -1.0], low, -high])
    G, g = G[np.isfinite(g)], g[np.isfinite(g)]
    lengths = np.linalg.norm(G, axis=1)
    G, g = G / lengths[:, None], g / lengths
    for index in missed:
        found[index] = _nearest(flat[index], G, g)
    found = np.clip(found, lower, upper)
    return (found / found.sum(axis=-1, keepdims=True)).reshape(points.shape)


def _nearest(point: Array, G: Array, g: Array) -> Array:
    """The nearest h with G h >= g; where rounding leaves none, rows are let go by as little as gives one."""
    from scipy.optimize import nnls  # workers count weights too and have no use for it

    target = np.zeros(len(point) + 1)
    target[-1] = 1.0
    for slack in LET_GO:
        matrix = np.vstack([G.T, g - slack - G @ point])
        residual = matrix @ nnls(matrix, target)[0] - target
        if residual[-1] < 0:
            found = point - residual[:-1] / residual[-1]
            if np.all(G @ found >= g - slack - LET_GO[1]):
                return np.asarray(found)
    raise InfeasibleError("no mixture keeps the bounds and constraints: they leave no room but by rounding")


def is_empty(rows: Sequence[Row], K: int) -> bool:
    """Whether no mixture of K domains keeps all rows within `SLACK`."""
    from scipy.optimize import linprog

    kept = [row for row in rows if np.any(row.coefficients)]
    lengths = [float(np.linalg.norm(row.coefficients)) for row in kept]
    # Minimise the largest miss t >= 0 over (h, t).
    sides = [
        (sign * np.append(row.coefficients / length, 0.0) - np.eye(K + 1)[K], sign * bound / length)
        for row, length in zip(kept, lengths, strict=True)
        for sign, bound in ((1.0, row.high), (-1.0, row.low))
        if np.isfinite(bound)
    ]
    if not sides:
        return False
    found = linprog(
        np.eye(K + 1)[K],
        A_ub=np.array([side for side, _ in sides]),
        b_ub=np.array([bound for _, bound in sides]),
        A_eq=np.append(np.ones(K), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * (K + 1),
    )
    return bool(found.status != 0 or found.fun > SLACK)


def clash(rows: Sequence[Row], K: int) -> list[Row]:
    """A smallest set of rows that no mixture keeps: without any one of them there is one."""
    return smallest(rows, lambda some: is_empty(some, K))


def smallest(items: Sequence[T], clashes: Callable[[Sequence[T]], bool]) -> list[T]:
    """Of items that clash, some that do, and would not without any one of them (deletion filter).

    Chinneck and Dravnieks (1991): an item is left out for good where the others still clash, the first items first.
    """
    kept = list(items)
    for item in items:
        others = [one for one in kept if one is not item]
        if clashes(others):
            kept = others
    return kept


def most_scale(lower: Array, upper: Array, supply: Array, A: Array, low: Array, high: Array) -> float:
    """The largest D for which some h of P also has h D <= supply; `inf` where none is bound.

    A linear program in h and s = 1 / D: minimise s with h <= supply s.
    """
    from scipy.optimize import linprog

    known = np.flatnonzero(np.isfinite(supply))
    K, unit = len(lower), float(max(supply[known].sum(), 1.0)) if len(known) else 1.0
    eye = np.eye(K + 1)
    rows = [eye[k] - supply[k] / unit * eye[K] for k in known]
    sides = [0.0] * len(known)
    for row, least, most in zip(A, low, high, strict=True):
        length = float(np.linalg.norm(row))
        for sign, bound in ((1.0, most), (-1.0, least)):
            if np.isfinite(bound):
                rows.append(np.append(sign * row / length, 0.0))
                sides.append(sign * bound / length)
    found = linprog(
        eye[K],
        A_ub=np.array(rows) if rows else None,
        b_ub=np.array(sides) if rows else None,
        A_eq=np.append(np.ones(K), 0.0)[None],
        b_eq=[1.0],
        bounds=[*zip(lower, upper, strict=True), (0, None)],
    )
    least = float(found.x[K]) if found.status == 0 else 0.0
    return unit / least if least > 0 else np.inf
