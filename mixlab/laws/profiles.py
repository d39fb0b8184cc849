"""isoFLOP profiles: the budgets of a table, and a parabola in log N through the losses of each.

`fit --law isoflop`, `plot isoflop` and the report take them from here. A budget is usable only where five or more sizes
were run, its parabola opens upward and has its lowest point inside those sizes; the others are left out with the
reason. Where mixtures differ, sizes are compared over the mixtures that were run at all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import RunTableError
from mixlab.laws.choice.rows import groups_of_mixtures
from mixlab.runs.table import Runs
from mixlab.units import format_flops

GAP = 0.1  # in log C: runs of two budgets lie further apart than this
WIDEST = float(np.log(1.5))  # in log C, of a budget: published runs, read off figures, scatter by 20% around theirs
MIN_SIZES = 5  # two more than a parabola goes through whatever the losses
COEFFICIENTS = 3  # of a parabola


@dataclass(frozen=True)
class Parabola:
    """loss = lowest + curvature (log N - vertex)^2, opening upward.

    Attributes:
        vertex: log N*.
        lowest: the loss there, nats.
        curvature: positive.
    """

    vertex: float
    lowest: float
    curvature: float

    def __call__(self, params: Array) -> Array:
        """The loss at N, of any shape."""
        return np.asarray(self.lowest + self.curvature * (np.log(params) - self.vertex) ** 2)


@dataclass(frozen=True)
class Profile:
    """The runs of one budget, and the parabola through their losses.

    Attributes:
        flops: C, the median of its runs.
        rows: its runs, as rows of the table, shape (r,).
        shared: those of them whose mixtures were run at all sizes of the profile, shape (s,); all of them in a table
            without mixtures.
        params, loss: the points that the parabola goes through, shape (m,): the runs, or with mixtures the mean over
            those that are shared, by size.
        curve: the parabola; None where it has no lowest point inside the sizes.
        reason: why the budget has no parabola; empty where it has one.
    """

    flops: float
    rows: NDArray[np.int64]
    shared: NDArray[np.int64]
    params: Array
    loss: Array
    curve: Parabola | None
    reason: str

    @property
    def optimum(self) -> float:
        """N*; NaN where there is no parabola."""
        return float(np.exp(self.curve.vertex)) if self.curve is not None else float("nan")

    @property
    def tag(self) -> str:
        """`ok`, or the reason."""
        return self.reason or "ok"

    def to_dict(self) -> dict[str, Any]:
        """For `mixlab fit --json`; the optimum of a budget that is left out is null."""
        best = self.optimum if self.curve is not None else None
        return {"flops": self.flops, "runs": len(self.rows), "optimum": best, "tag": self.tag}


def profiles(table: Runs, target: str = "loss", params_column: str | None = None) -> list[Profile]:
    """The budgets of a table, ascending, each with its profile; rows without the target are left out.

    Raises:
        RunTableError: when the table has no N, no C or no such column, or the column is empty.
    """
    flops, params, loss = table.flops(), table.params(params_column), table.column(target)
    mixture = groups_of_mixtures(table.mixtures()) if table.domains else None
    measured = np.flatnonzero(np.isfinite(loss))
    if not len(measured):
        raise RunTableError(f"no row has a finite `{target}`", "choose another target")
    number = budgets(flops[measured])
    groups = [measured[number == one] for one in range(number.max() + 1)]
    return [_profile(flops, params, loss, mixture, rows) for rows in groups]


def budgets(flops: Array) -> NDArray[np.int64]:
    """The number of each run's budget, ascending in C, shape (n,).

    Budgets are cut at gaps of 10% in C. Where runs lie so densely that a stretch without a gap is wider than a factor
    of 1.5, it is no one budget: the most crowded stretch of that width is taken out as one, again and again.
    """
    order = np.argsort(flops, kind="stable")
    log_c = np.log(flops[order])
    waiting = np.split(np.arange(len(flops)), np.flatnonzero(np.diff(log_c) > GAP) + 1)
    found = []
    while waiting:
        stretch = waiting.pop()
        if not len(stretch):
            continue
        here = log_c[stretch]
        ends = np.searchsorted(here, here + WIDEST, side="right")
        counts = ends - np.arange(len(here))
        # Of stretches with equally many runs the narrowest.
        first = np.lexsort((here[ends - 1] - here, -counts))[0]
        found.append(stretch[first : ends[first]])
        waiting += [stretch[:first], stretch[ends[first] :]]
    label = np.empty(len(flops), dtype=np.int64)
    for number, members in enumerate(sorted(found, key=lambda members: int(members[0]))):
        label[order[members]] = number
    return label


def left_out(found: Sequence[Profile]) -> list[str]:
    """The budgets without a parabola, in words: a line for each reason."""
    by_reason: dict[str, list[Profile]] = {}
    for profile in found:
        if profile.curve is None:
            by_reason.setdefault(profile.reason, []).append(profile)
    lines = []
    for reason, those in by_reason.items():
        ends = [format_flops(one.flops, 2) for one in (those[0], those[-1])]
        which = f"budget {ends[0]} has" if len(those) == 1 else f"{len(those)} budgets ({ends[0]} to {ends[1]}) have"
        lines.append(f"{which} no parabola: {reason}")
    return lines


def _profile(
    flops: Array, params: Array, loss: Array, mixture: NDArray[np.int64] | None, rows: NDArray[np.int64]
) -> Profile:
    """The profile of the runs `rows` of one budget; the others are of all runs of the table, shape (n,)."""
    if mixture is None:
        shared, sizes, losses, few = rows, params[rows], loss[rows], f"fewer than {MIN_SIZES} sizes"
    else:
        shared, sizes, losses = _over_shared_mixtures(params, loss, mixture, rows)
        few = f"no mixture was run at {MIN_SIZES} sizes"
    curve, reason = None, few
    if len(np.unique(sizes)) >= MIN_SIZES:
        found = parabolas(sizes, losses[None])
        if found.usable[0]:
            curve, reason = Parabola(float(found.vertex[0]), float(found.lowest[0]), float(found.curvature[0])), ""
        elif found.curvature[0] <= 0:
            reason = "the losses curve downward"
        else:
            reason = "the lowest point lies outside the sizes that were run"
    return Profile(float(np.median(flops[rows])), rows, shared, sizes, losses, curve, reason)


def _over_shared_mixtures(
    params: Array, loss: Array, mixture: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array, Array]:
    """The runs of mixtures that were run at the same sizes, those sizes, and the mean loss over the mixtures at each.

    The sizes are the most that one mixture was run at. A mean over whatever was run at a size would show the difference
    between mixtures as one between sizes.
    """
    run_at = {g: frozenset(params[rows[mixture[rows] == g]]) for g in np.unique(mixture[rows])}
    sizes = max(run_at.values(), key=lambda s: (len(s), sum(s <= other for other in run_at.values()), sorted(s)))
    complete = [g for g, other in run_at.items() if sizes <= other]
    shared = rows[np.isin(mixture[rows], complete) & np.isin(params[rows], list(sizes))]
    order = np.array(sorted(sizes))
    at_size = [shared[params[shared] == size] for size in order]
    return shared, order, np.array([mean_over_mixtures(loss[rows], mixture[rows]) for rows in at_size])


def mean_over_mixtures(values: Array, mixture: NDArray[np.int64]) -> float:
    """The mean over mixtures of the mean over their runs, of which they may have unequally many: arrays (r,)."""
    return float(np.mean([values[mixture == g].mean() for g in np.unique(mixture)]))


@dataclass(frozen=True)
class Parabolas:
    """B least-squares parabolas through losses at the same sizes.

    Attributes:
        curvature, vertex, lowest: as of `Parabola`, shape (B,).
        usable: whether each opens upward and has its lowest point inside the sizes, shape (B,).
    """

    curvature: Array
    vertex: Array
    lowest: Array
    usable: NDArray[np.bool_]


def parabolas(params: Array, losses: Array) -> Parabolas:
    """Parabolas in log N through losses (B, m) at sizes (m,)."""
    x = np.log(params)
    centre = x.mean()
    a, b, c = np.linalg.lstsq(_design(params), losses.T, rcond=None)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex, lowest = centre - b / (2 * a), c - b**2 / (4 * a)
    return Parabolas(a, vertex, lowest, (a > 0) & (x.min() < vertex) & (vertex < x.max()))


def leverage(params: Array) -> Array:
    """How far a parabola follows each point that it is fitted to, from 0 to 1, shape (m,)."""
    design = _design(params)
    return np.asarray(np.sum(design * np.linalg.pinv(design).T, axis=1))


def _design(params: Array) -> Array:
    """Powers of log N around its mean, in which a parabola is well conditioned, shape (m, 3)."""
    x = np.log(params)
    return np.vander(x - x.mean(), COEFFICIENTS)
