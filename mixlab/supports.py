"""At most so many weights above 0: which domains have them, and whether any choice will do.

The points of P (`mixlab.polytope`) that keep such a limit are no convex set but a union of faces of P, one for each set
of domains that may have weight, its support. Within a support all is as in P; supports are compared by swaps, and where
rows tie domains to each other, chosen by a mixed-integer program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab import polytope
from mixlab.arrays import Array
from mixlab.errors import InfeasibleError

Mask = NDArray[np.bool_]

DECIMALS = 9  # weights that differ by less are equal, and names decide
CAPS_SUM = 1e-6  # upper bounds that sum to 1 less this still hold a mixture, as those of a whole space do
EQUAL = 1e-4  # in weight: what a whole turn in the order of the weights counts for in the program
MOST_TRIES = 50  # supports that rounding lets through the program and that hold no mixture after all


@dataclass(frozen=True)
class Faces:
    """P with at most `most` weights above 0.

    Attributes:
        lower, upper: bounds on weights, shape (K,).
        A, low, high: rows, low <= A h <= high, as `polytope.project` takes them.
        most: domains that may have weight.
        rank: by which domains are taken where nothing else tells them apart, shape (K,).
    """

    lower: Array
    upper: Array
    A: Array
    low: Array
    high: Array
    most: int
    rank: NDArray[np.int64]

    @property
    def needed(self) -> Mask:
        """The domains that have weight in any case, shape (K,)."""
        return self.lower > 0

    def fewest(self) -> float:
        """The smallest number of domains with which there is a mixture; infinite where there is none."""
        if not len(self.A):
            caps = np.sort(self.upper[~self.needed])[::-1]
            totals = float(self.upper[self.needed].sum()) + np.concatenate([[0.0], np.cumsum(caps)])
            enough = np.flatnonzero(totals >= 1 - CAPS_SUM)
            return float(self.needed.sum() + enough[0]) if len(enough) else np.inf
        found = self._program(-np.ones(len(self.lower)), len(self.lower))
        return np.inf if found is None else float(found.sum())

    def holds(self, kept: Mask) -> bool:
        """Whether some of the domains `kept`, at most `most`, suffice for a mixture."""
        if (self.needed & ~kept).any():
            return False
        return self._only(kept).fewest() <= self.most

    def project(self, points: Array) -> Array:
        """Points near the given ones, shape (..., K) as given.

        The nearest of P where that keeps the limit, else the nearest with the support of its largest weights, which is
        the nearest of all where no upper bound and no row is in the way (Kyrillidis et al. 2013). Where that support
        holds no mixture, domains are exchanged for as little weight as possible.

        Raises:
            InfeasibleError: when no support holds a mixture.
        """
        near = polytope.project(points, self.lower, self.upper, self.A, self.low, self.high)
        K = len(self.lower)
        flat, found = points.reshape(-1, K), near.reshape(-1, K).copy()
        crowded = np.flatnonzero((found > 0).sum(axis=1) > self.most)
        if not len(crowded):
            return near
        order = self._order(found[crowded], flat[crowded])
        supports = np.zeros((len(crowded), K), dtype=bool)
        np.put_along_axis(supports, order[:, : self.most], True, axis=1)
        inside = self.inside(flat[crowded], supports)
        for place in np.flatnonzero(np.isnan(inside[:, 0])):
            index = crowded[place]
            inside[place] = self._repaired(flat[index], supports[place], found[index], order[place])
        found[crowded] = inside
        return found.reshape(points.shape)

    def inside(self, points: Array, supports: Mask) -> Array:
        """The nearest points of P with weight on their supports alone, both (M, K); nan where a support holds none."""
        upper = np.where(supports, self.upper, 0.0)
        fits = (upper.sum(axis=1) >= 1 - CAPS_SUM) & np.all(self.lower <= upper + CAPS_SUM, axis=1)
        found = np.full(points.shape, np.nan)
        if fits.any():
            found[fits] = polytope.project_on_box(points[fits], self.lower, np.maximum(upper[fits], self.lower))
        if not len(self.A):
            return found
        values = found @ self.A.T
        kept = (values >= self.low - polytope.KEPT_ROW) & (values <= self.high + polytope.KEPT_ROW)
        for index in np.flatnonzero(fits & ~kept.all(axis=1)):
            try:
                found[index] = polytope.onto_rows(
                    points[index], found[index], self.lower, upper[index], self.A, self.low, self.high
                )
            except InfeasibleError:
                found[index] = np.nan
        return found

    def most_scale(self, supply: Array) -> float:
        """The largest D for which some h also has h D <= supply, shape (K,); `inf` where none is bound."""
        K = len(self.lower)
        unit = float(max(supply[np.isfinite(supply)].sum(), 1.0))
        found = self._program(np.zeros(K), self.most, supply / unit)
        if found is None:
            return 0.0
        upper = np.where(found, self.upper, 0.0)
        return polytope.most_scale(self.lower, upper, np.where(found, supply, np.inf), self.A, self.low, self.high)

    def _only(self, kept: Mask) -> Faces:
        """The same where only the domains `kept` may have weight."""
        return Faces(self.lower, np.where(kept, self.upper, 0.0), self.A, self.low, self.high, self.most, self.rank)

    def _order(self, near: Array, points: Array) -> NDArray[np.int64]:
        """Domains in the order in which they get a place in the support of each point, shape (M, K)."""
        keys = [
            np.broadcast_to(self.rank, near.shape),
            -points.round(DECIMALS),
            -near.round(DECIMALS),
            np.broadcast_to(self.upper <= 0, near.shape),
            np.broadcast_to(~self.needed, near.shape),
        ]
        return np.asarray(np.lexsort(keys, axis=-1))

    def _repaired(self, point: Array, support: Mask, near: Array, order: NDArray[np.int64]) -> Array:
        """The nearest point on a support that holds one and has as much of the weights `near` as any."""
        if not len(self.A):
            return self.inside(point[None], self._exchanged(support, near)[None])[0]
        turns = np.empty(len(order))
        turns[order] = np.linspace(1, 0, len(order))
        failed: list[Mask] = []
        while len(failed) < MOST_TRIES:
            found = self._program(near + EQUAL * turns, self.most, failed=failed)
            if found is None:
                break
            inside = self.inside(point[None], found[None])[0]
            if not np.isnan(inside[0]):
                return inside
            failed.append(found)
        raise InfeasibleError(
            f"no mixture of at most {self.most} domains keeps the bounds and constraints: they leave no room but by "
            "rounding"
        )

    def _exchanged(self, support: Mask, near: Array) -> Mask:
        """A support whose upper bounds let weights sum to 1, by swaps that cost as little of `near` as possible."""
        support = support.copy()
        while (missing := 1 - CAPS_SUM - float(self.upper[support].sum())) > 0:
            out, into = np.flatnonzero(support & ~self.needed), np.flatnonzero(~support)
            gain = self.upper[into][None, :] - self.upper[out][:, None]
            if not gain.size or gain.max() <= 0:
                raise InfeasibleError(f"the maxima of no {self.most} domains sum to 1")
            cost = (near[out][:, None] - near[into][None, :]).round(DECIMALS)
            # Of the swaps that are enough the cheapest, else the one that brings most; the last name leaves.
            first = np.where(gain >= missing, -np.inf, -gain.round(DECIMALS))
            last, next_in = np.meshgrid(-self.rank[out], self.rank[into], indexing="ij")
            best = int(np.lexsort((next_in.ravel(), last.ravel(), cost.ravel(), first.ravel()))[0])
            row, column = np.unravel_index(best, gain.shape)
            support[out[row]], support[into[column]] = False, True
        return support

    def _program(
        self, worth: Array, most: int, supply: Array | None = None, failed: Sequence[Mask] = ()
    ) -> Mask | None:
        """The support of the largest total `worth` that holds a mixture, shape (K,); None where there is none.

        Args:
            worth: of a domain in the support, shape (K,).
            most: domains in it.
            supply: where given, h <= s supply with the least s goes before all worth.
            failed: supports that are out of the question, with all that lies within them.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp

        K = len(self.lower)
        eye, none, slack = np.eye(K), np.zeros((K, K)), 2 * polytope.SLACK
        # Variables: weights h, whether each is in the support z, and s.
        rows = [np.concatenate([np.ones(K), np.zeros(K + 1)]), np.concatenate([np.zeros(K), np.ones(K), [0.0]])]
        low, high = [1 - slack, -np.inf], [1 + slack, float(most)]
        for row, least, largest in zip(self.A, self.low, self.high, strict=True):
            length = float(np.linalg.norm(row)) or 1.0
            rows.append(np.concatenate([row / length, np.zeros(K + 1)]))
            low.append(least / length - polytope.SLACK)
            high.append(largest / length + polytope.SLACK)
        for one in failed:
            rows.append(np.concatenate([np.zeros(K), (~one).astype(float), [0.0]]))
            low.append(1.0)
            high.append(np.inf)
        held = np.hstack([eye, -np.diag(self.upper), np.zeros((K, 1))])
        constraints = [LinearConstraint(np.array(rows), low, high), LinearConstraint(held, -np.inf, 0.0)]
        if supply is not None and (known := np.isfinite(supply)).any():
            scarce = np.hstack([eye, none, -np.where(known, supply, 0.0)[:, None]])[known]
            constraints.append(LinearConstraint(scarce, -np.inf, 0.0))
        found = milp(
            np.concatenate([np.zeros(K), -worth, [1.0 if supply is not None else 0.0]]),
            integrality=np.concatenate([np.zeros(K), np.ones(K), [0.0]]),
            bounds=Bounds(
                np.concatenate([np.minimum(self.lower, self.upper), self.needed.astype(float), [0.0]]),
                np.concatenate([self.upper, (self.upper > 0).astype(float), [np.inf]]),
            ),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
        return np.asarray(found.x[K : 2 * K] > 0.5) if found.x is not None else None


def is_empty(rows: Sequence[polytope.Row], K: int, most: int) -> bool:
    """Whether no mixture of K domains with at most `most` weights keeps all rows."""
    lower, upper = np.zeros(K), np.ones(K)
    others = []
    for row in rows:
        one = np.flatnonzero(row.coefficients)
        if len(one) == 1 and row.coefficients[one[0]] > 0:
            index, scale = int(one[0]), float(row.coefficients[one[0]])
            lower[index], upper[index] = max(lower[index], row.low / scale), min(upper[index], row.high / scale)
        else:
            others.append(row)
    if np.any(lower > upper + polytope.SLACK) or polytope.is_empty(rows, K):
        return True
    faces = Faces(
        lower,
        np.maximum(upper, lower),
        np.array([row.coefficients for row in others]).reshape(-1, K),
        np.array([row.low for row in others]),
        np.array([row.high for row in others]),
        most,
        np.arange(K),
    )
    return faces.fewest() > most
