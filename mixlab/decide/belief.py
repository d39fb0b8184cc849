"""What the runs say of the objective over mixtures at any (N, D): a process per target, and their weighted sum.

The targets' processes are independent, each with a kernel of its own, so that a mean of thirteen losses is known from
what each of them depends on. All is at the question's scale: what small runs say of it is what the process carries
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky

from mixlab.arrays import Array
from mixlab.decide.process import RETUNED, Process, Rows
from mixlab.laws.choice.rows import groups_of_mixtures
from mixlab.laws.forms.points import Observations

MOST_SEEN = 1200  # rows: a belief costs their cube
LONG_ENOUGH = 0.36  # of the largest D at the same N: the largest budget and the one before it, where budgets double
WORTH_HEARING = 1.25  # times the error that going without them has to cost, for shorter rows to be heard
LEAST_MIXTURES = 12  # among the longest rows, to judge that
SAFE = 1e-8  # added to a covariance's diagonal, as a share of its largest entry, before it is factored


@dataclass(frozen=True)
class Belief:
    """A posterior of the objective.

    Attributes:
        weights: of the objective by target.
        processes: by target.
        reference: log N and log D that scales are relative to: the largest runs'.
        reach: least and largest of both, relative to that, in the runs.
        late: whether only rows of nearly the largest D at their N were heard (see `of`).
        longest: the largest D of each N.
        told: rows there were when `late` was judged.
    """

    weights: Mapping[str, float]
    processes: Mapping[str, Process]
    reference: tuple[float, float]
    reach: tuple[Array, Array]
    late: bool
    longest: Mapping[float, float]
    told: int

    @classmethod
    def of(
        cls,
        rows: Observations,
        losses: Mapping[str, Array],
        weights: Mapping[str, float],
        before: Belief | None = None,
        seed: int = 0,
    ) -> Belief:
        """What n rows say.

        Early in a run mixtures rank by what is learnt first, and a trend over that which goes on beyond the runs leads
        astray. So rows far from the largest D at their N are heard only where that makes predictions of the longest
        rows clearly better.

        Args:
            rows: of a run table; their own `loss` is not read.
            losses: by target, nats, (n,); NaN where it was not measured.
            weights: of the objective by target.
            before: a belief from some of these rows, whose kernels tuning starts from.
            seed: of the choice of rows to tune on.
        """
        top = int(np.argmax(rows.x + rows.y))
        reference = (float(rows.x[top]), float(rows.y[top])) if before is None else before.reference
        scale = np.column_stack([rows.x - reference[0], rows.y - reference[1]])
        latest = _latest(rows.run, rows.y, MOST_SEEN)
        late = _late(rows.x, rows.y)
        longest = {float(n): float(rows.tokens[rows.params == n].max()) for n in np.unique(rows.params)}

        def heard(only_late: bool, before: Belief | None) -> Belief:
            kept = latest & late if only_late else latest
            processes = {}
            for name in weights:
                told = kept & np.isfinite(losses[name])
                old = before.processes[name] if before is not None else None
                seen = Rows(np.sqrt(np.maximum(rows.mixture, 0.0)), scale, scale, rows.run).some(told)
                processes[name] = Process.of(seen, losses[name][told], old, seed)
            reach = (scale[kept].min(axis=0), scale[kept].max(axis=0))
            return cls(weights, processes, reference, reach, only_late, longest, len(rows))

        if before is not None and len(rows) < RETUNED * before.told:
            return replace(heard(before.late, before), told=before.told)
        every = heard(False, None if before is None or before.late else before)
        if late.all() or len(np.unique(groups_of_mixtures(rows.mixture[late]))) < LEAST_MIXTURES:
            return every
        only_late = heard(True, before if before is not None and before.late else None)
        return only_late if only_late.late_error <= WORTH_HEARING * every.late_error else every

    @property
    def error(self) -> float:
        """Root mean square error of log objective on mixtures left out one at a time.

        NaN where a target is missing in some rows: the objective is not known there.
        """
        missed = self._missed()
        return float(np.sqrt(np.mean(missed**2))) if missed is not None else float("nan")

    @property
    def late_error(self) -> float:
        """The same over the rows of nearly the largest D at their N."""
        missed, scale = self._missed(), next(iter(self.processes.values())).rows.scale
        return float(np.sqrt(np.mean(missed[_late(*scale.T)] ** 2))) if missed is not None else float("nan")

    def _missed(self) -> Array | None:
        rows = [one.rows for one in self.processes.values()]
        if any(len(one) != len(rows[0]) or np.any(one.run != rows[0].run) for one in rows):
            return None
        predicted, observed = np.zeros(len(rows[0])), np.zeros(len(rows[0]))
        for name, process in self.processes.items():
            predicted += self.weights[name] * (process.floor + np.exp(process.unseen))
            observed += self.weights[name] * (process.floor + np.exp(process.seen))
        return np.asarray(np.log(predicted / observed))

    def hears(self, params: float, tokens: float) -> bool:
        """Whether a run of this N and D is long enough to be heard."""
        return not self.late or tokens >= LONG_ENOUGH * self.longest.get(params, 0.0)

    def points(self, mixture: ArrayLike, params: ArrayLike, tokens: ArrayLike) -> Rows:
        """Points at h (M, K) or (K,), N and D, one or (M,) of each.

        What scale gains all mixtures alike is taken no farther than ten times beyond the runs: log(L - c) farther out
        would say that all gains vanish, or explode. Differences are therefore in nats at most at that level.
        """
        h = np.atleast_2d(np.asarray(mixture, dtype=float))
        n, d = (np.broadcast_to(np.asarray(one, dtype=float), len(h)) for one in (params, tokens))
        scale = np.column_stack([np.log(n) - self.reference[0], np.log(d) - self.reference[1]])
        low, high = self.reach
        level = np.clip(scale, low - BEYOND_RUNS, high + BEYOND_RUNS)
        return Rows(np.sqrt(np.maximum(h, 0.0)), scale, level, np.arange(len(h)))

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The median objective at each point, shape (M,)."""
        assert mixture is not None
        at = self.points(mixture, params, tokens)
        return np.asarray(sum(self.weights[t] * (p.floor + np.exp(p.mean(at))) for t, p in self.processes.items()))

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        """The median objective at one point, and its derivative by h, shape (K,)."""
        at = self.points(mixture, params, tokens)
        value, slope = 0.0, np.zeros(at.root.shape[1])
        for name, process in self.processes.items():
            mean, by_root = process.mean_and_slope(at)
            above = float(np.exp(mean[0]))
            value += self.weights[name] * (process.floor + above)
            slope += self.weights[name] * above * by_root[0]
        return value, slope / (2 * np.maximum(at.root[0], ROOT_SLOPE))

    def moments(self, at: Rows) -> tuple[Array, Array]:
        """The objective's mean and standard deviation at each point by itself, each (M,)."""
        mean, variance = np.zeros(len(at)), np.zeros(len(at))
        for name, process in self.processes.items():
            middle, own = process.mean(at), process.variance(at)
            above = self.weights[name] * np.exp(middle + own / 2)
            mean += self.weights[name] * process.floor + above
            variance += above**2 * own
        return mean, np.sqrt(variance)

    def sight(self, at: Rows) -> Sight:
        """Joint knowledge of points, for draws and for what a run would add."""
        means, spreads = [], []
        for process in self.processes.values():
            seen = process.whitened(at)
            means.append(process.mean(at))
            spreads.append(process.prior(at, at) - seen.T @ seen)
        return Sight(
            np.array([self.weights[name] for name in self.processes]),
            np.array([process.floor for process in self.processes.values()]),
            np.array(means),
            np.array(spreads),
            np.array([process.noise(at) for process in self.processes.values()]),
        )


BEYOND_RUNS = np.log(10.0)
ROOT_SLOPE = 0.03  # sqrt(h) below which the slope of sqrt(h) is taken as if h were there, since it grows without bound


@dataclass(frozen=True)
class Sight:
    """The T targets at M points, jointly.

    Attributes:
        weights, floor: by target, shape (T,).
        mean, covariance: of log(L - floor), shapes (T, M) and (T, M, M).
        noise: variance of a run's log(L - floor), shape (T, M).
    """

    weights: Array
    floor: Array
    mean: Array
    covariance: Array
    noise: Array

    @property
    def objective(self) -> Array:
        """Its mean at each point, shape (M,)."""
        half = np.einsum("tmm->tm", self.covariance) / 2
        return np.asarray(self.weights @ (self.floor[:, None] + np.exp(self.mean + half)))

    @property
    def steepness(self) -> Array:
        """d objective / d log(L - floor), shape (T, M)."""
        return np.asarray(self.weights[:, None] * np.exp(self.mean))

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """The objective at all points under `count` draws, shape (count, M)."""
        total = np.zeros((count, self.mean.shape[1]))
        for weight, floor, mean, covariance in zip(self.weights, self.floor, self.mean, self.covariance, strict=True):
            top = SAFE * covariance.diagonal().max()
            root = _root(covariance + top * np.eye(len(covariance)))
            total += weight * (floor + np.exp(mean + rng.standard_normal((count, len(mean))) @ root.T))
        return total

    def some(self, these: NDArray[np.int64]) -> Sight:
        """The same at some of the points."""
        covariance = self.covariance[:, these[:, None], these]
        return Sight(self.weights, self.floor, self.mean[:, these], covariance, self.noise[:, these])


def _late(log_n: Array, log_d: Array) -> NDArray[np.bool_]:
    """Rows of nearly the largest D at their N, shape (n,)."""
    _, size = np.unique(log_n, return_inverse=True)
    longest = np.full(size.max() + 1, -np.inf)
    np.maximum.at(longest, size, log_d)
    return np.asarray(log_d >= longest[size] + np.log(LONG_ENOUGH))


def _root(covariance: Array) -> Array:
    """A square root of a covariance that rounding may have left a little indefinite."""
    try:
        return np.asarray(cholesky(covariance, lower=True))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _latest(run: NDArray[np.int64], tokens: Array, most: int) -> NDArray[np.bool_]:
    """The latest rows of every run, as many as `most` allows, shape (n,): early ones say little that they do not."""
    order = np.lexsort((-tokens, run))
    first = np.r_[True, run[order][1:] != run[order][:-1]]
    place = np.arange(len(run)) - np.maximum.accumulate(np.where(first, np.arange(len(run)), 0))
    kept = np.zeros(len(run), dtype=bool)
    kept[order[np.argsort(place, kind="stable")[:most]]] = True
    return kept
