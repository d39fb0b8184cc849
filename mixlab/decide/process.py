"""A Gaussian process for one loss over (h, N, D): what a belief holds of each target.

log(L - c) = m + f(h, s) + g(s) + noise, with s = (log N, log D) relative to the largest runs and c a constant
below the smallest loss, which makes a law `c + exp(t . h)` linear (see `FLOORS`). The covariances are

    f: a^2 k(sqrt h, sqrt h') (1 + r^2 s . s')    what a mixture gains, and how that changes with scale, linearly in s
    g: 1 + .2^2 s . s' + b^2 k(s, s')             what scale gains, the same for all mixtures

k is Matern 5/2; over sqrt(h) (distances there are those of Hellinger, so that a weight of .01 counts) with a
length-scale for each domain, since a loss depends on few of many (Rasmussen and Williams 2006, section 5.1).
Length-scales, a, r, b and the noise maximise the marginal likelihood times log-normal priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from mixlab.arrays import Array
from mixlab.laws.choice.rows import groups_of_mixtures

SQRT5 = np.sqrt(5.0)
FLOORS = (0.5, 0.8, 0.9, 0.95)  # c, as shares of the smallest loss, of which the likeliest is taken
SCALE_LENGTH = 3.0  # length-scale of k(s, s'): a factor of 20 in N or D
LEVEL_DEVIATION = 1.0  # prior standard deviation of g at the reference
SLOPE_DEVIATION = 0.2  # that of its slope per log N and log D: exponents of published laws, whose loss is taken above E
RANK_CHANGE = (np.log(0.1), 0.7)  # prior of log r: RegMix's 1M to 60M change by .035-.05 per log N, tiny runs by more
UNTOLD = 0.05  # as RANK_CHANGE, per log N and log D beyond the largest runs: what no trend over them tells
ROOT_LENGTH = (0.0, 1.0)  # prior of log length-scales, in sqrt(h)
NOISE_FALL = (0.2, 0.15)  # prior of the power of C by which noise falls: a seed moves small runs more
OWN = 6  # numbers of a process beside its length-scales: log a, r, b, noise, noise that a run's rows share; the fall
MOST_ROWS = 256  # that tuning looks at: more say little about the kernel, and cost their cube
FLOOR_ROWS = 96  # that choosing c looks at
PROCESS_STEPS = 60
RETUNED = 1.2  # times the rows: from there on a kernel is tuned again
REACH = 4.0  # standard deviations of a prior around its mean, beyond which nothing is tried
JITTER = 1e-8


@dataclass(frozen=True)
class Rows:
    """Rows or points as a process sees them.

    Attributes:
        root: sqrt(h), shape (n, K).
        scale: log N and log D relative to the reference, shape (n, 2).
        level: the same where g is concerned, shape (n, 2): see `Belief.points`.
        run: index of the run, whose rows share a part of the noise, shape (n,).
    """

    root: Array
    scale: Array
    level: Array
    run: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.root)

    def some(self, these: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Rows:
        return Rows(self.root[these], self.scale[these], self.level[these], self.run[these])


@dataclass(frozen=True)
class Process:
    """A process that has seen its rows.

    Attributes:
        rows: what was seen.
        floor: c.
        centre: m.
        packed: log a, log r, log b, log of the noise's deviation at the reference, of its part that a run's rows share,
            the power of C by which both fall, log length-scales.
        lower: Cholesky factor of the rows' covariance, shape (n, n).
        dual: its solve for the residuals, shape (n,).
        seen: log(L - c) of the rows, shape (n,).
        tuned: how many rows there were when the kernel was tuned.
    """

    rows: Rows
    floor: float
    centre: float
    packed: Array
    lower: Array
    dual: Array
    seen: Array
    tuned: int

    @classmethod
    def of(cls, rows: Rows, loss: Array, before: Process | None = None, seed: int = 0) -> Process:
        """Tune a process and let it see all rows.

        Args:
            rows: n rows.
            loss: nats, shape (n,).
            before: a process of fewer of these rows: its floor stays, and its kernel is where tuning starts.
            seed: of the choice of rows to tune on.
        """
        some = _sample(len(rows), MOST_ROWS, seed)
        if before is not None:
            floor = min(before.floor, max(FLOORS) * float(loss.min()))
            if len(rows) < RETUNED * before.tuned:
                return cls._seeing(rows, loss, floor, before.packed, before.tuned)
            packed, _ = _tuned(rows.some(some), loss[some], floor, before.packed)
            return cls._seeing(rows, loss, floor, packed)
        few = _sample(len(rows), FLOOR_ROWS, seed)
        found: list[tuple[float, Array, float]] = []
        for share in FLOORS:
            floor = share * float(loss.min())
            packed, value = _tuned(rows.some(few), loss[few], floor, found[-1][1] if found else None)
            found.append((value, packed, floor))
        _, packed, floor = min(found, key=lambda one: one[0])
        if len(few) < len(some):
            packed, _ = _tuned(rows.some(some), loss[some], floor, packed)
        return cls._seeing(rows, loss, floor, packed)

    @classmethod
    def _seeing(cls, rows: Rows, loss: Array, floor: float, packed: Array, tuned: int | None = None) -> Process:
        values = np.log(loss - floor)
        centre = float(values.mean())
        covariance = _covariance(packed, rows, rows) + _noise(packed, rows)
        lower = cholesky(covariance, lower=True)
        dual = cho_solve((lower, True), values - centre)
        return cls(rows, floor, centre, packed, lower, dual, values, tuned or len(rows))

    @property
    def unseen(self) -> Array:
        """The mean of log(L - c) at each row by the rows of other mixtures alone, in closed form, shape (n,).

        Of a mixture's rows G it misses by (K^-1)_GG^-1 (K^-1 y)_G, with K the covariance of all rows (Rasmussen and
        Williams 2006, section 5.4.2, for one row).
        """
        inverse = cho_solve((self.lower, True), np.eye(len(self.rows)))
        groups = groups_of_mixtures(self.rows.root**2)
        missed = np.empty(len(self.rows))
        for group in range(groups.max() + 1):
            of_it = np.flatnonzero(groups == group)
            missed[of_it] = np.linalg.solve(inverse[np.ix_(of_it, of_it)], self.dual[of_it])
        return np.asarray(self.seen - missed)

    def mean(self, at: Rows) -> Array:
        """Of log(L - c), shape (M,)."""
        return np.asarray(self.centre + _covariance(self.packed, at, self.rows) @ self.dual)

    def variance(self, at: Rows) -> Array:
        """Of log(L - c) at each point by itself, shape (M,)."""
        a, r, b = np.exp(2 * self.packed[:3])
        own = a * (1 + r * (at.scale**2).sum(1)) + LEVEL_DEVIATION**2 + SLOPE_DEVIATION**2 * (at.level**2).sum(1) + b
        top = self.rows.scale.max(axis=0)
        own = own + a * UNTOLD**2 * (np.maximum(at.scale - top, 0.0) ** 2).sum(axis=1)
        return np.asarray(np.maximum(own - (self.whitened(at) ** 2).sum(0), 0))

    def whitened(self, at: Rows) -> Array:
        """W, shape (n, M): the posterior covariance of points is their prior covariance less W' W."""
        return np.asarray(
            solve_triangular(self.lower, _covariance(self.packed, self.rows, at), lower=True, check_finite=False)
        )

    def prior(self, a: Rows, b: Rows) -> Array:
        """Prior covariance of log(L - c) between points, shape (A, B), with what no run here can tell of either."""
        return _covariance(self.packed, a, b) + self._untold(a, b)

    def _untold(self, a: Rows, b: Rows) -> Array:
        """Covariance of how rankings change beyond the runs, where trends over them need not go on, shape (A, B)."""
        top = self.rows.scale.max(axis=0)
        beyond = [np.linalg.norm(np.maximum(one.scale - top, 0.0), axis=1) for one in (a, b)]
        length = np.exp(self.packed[OWN:])
        matern = _matern(_squares(a.root / length, b.root / length))[0]
        return np.asarray(np.exp(2 * self.packed[0]) * UNTOLD**2 * np.outer(*beyond) * matern)

    def mean_and_slope(self, at: Rows) -> tuple[Array, Array]:
        """The mean of log(L - c), shape (M,), and its derivative by sqrt(h), shape (M, K)."""
        length = np.exp(self.packed[OWN:])
        a, b = at.root / length, self.rows.root / length
        matern, slope = _matern(_squares(a, b))
        grown = self._grown(at)
        pulled = 2 * slope * grown * self.dual
        moved = (a * pulled.sum(1, keepdims=True) - pulled @ b) / length
        even = _flat(self.packed, at, self.rows)
        return np.asarray(self.centre + (matern * grown + even) @ self.dual), np.asarray(moved)

    def _grown(self, at: Rows) -> Array:
        a, r = np.exp(2 * self.packed[:2])
        return np.asarray(a * (1 + r * (at.scale @ self.rows.scale.T)))

    def noise(self, at: Rows) -> Array:
        """Variance of a new run's log(L - c) around the process, shape (M,)."""
        return np.asarray((np.exp(2 * self.packed[3]) + np.exp(2 * self.packed[4])) * _loudness(self.packed, at) ** 2)


def _sample(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng((seed, 17)).choice(rows, most, replace=False))


def _squares(a: Array, b: Array) -> Array:
    return np.asarray(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0))


def _matern(square: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances, and its derivative by them."""
    far = SQRT5 * np.sqrt(square)
    decay = np.exp(-far)
    return (1 + far + far**2 / 3) * decay, -5 / 6 * (1 + far) * decay


def _flat(packed: Array, a: Rows, b: Rows) -> Array:
    """Covariance of g, shape (A, B)."""
    linear = LEVEL_DEVIATION**2 + SLOPE_DEVIATION**2 * (a.level @ b.level.T)
    return np.asarray(linear + np.exp(2 * packed[2]) * _matern(_squares(a.level, b.level) / SCALE_LENGTH**2)[0])


def _covariance(packed: Array, a: Rows, b: Rows) -> Array:
    length = np.exp(packed[OWN:])
    matern = _matern(_squares(a.root / length, b.root / length))[0]
    amplitude, change = np.exp(2 * packed[:2])
    of_mixture = amplitude * matern * (1 + change * (a.scale @ b.scale.T))
    return np.asarray(of_mixture + _flat(packed, a, b))


def _loudness(packed: Array, rows: Rows) -> Array:
    """Standard deviation of the noise relative to that at the reference, shape (n,)."""
    return np.asarray(np.exp(-packed[5] * rows.scale.sum(axis=1)))


def _noise(packed: Array, rows: Rows) -> Array:
    own, shared = np.exp(2 * packed[3:5])
    loud = _loudness(packed, rows)
    same = rows.run[:, None] == rows.run
    jitter = JITTER * np.exp(2 * packed[0])
    return np.asarray(np.diag(own * loud**2 + jitter) + shared * same * np.outer(loud, loud))


def _tuned(rows: Rows, loss: Array, floor: float, start: Array | None) -> tuple[Array, float]:
    """The kernel of largest posterior, and minus the log of that posterior for the losses themselves."""
    values = np.log(loss - floor)
    residual = values - values.mean()
    spread = np.log(max(float(residual.std()), 1e-6))
    branched = len(np.unique(rows.run)) < len(rows)
    scaled = np.ptp(rows.scale, axis=0).max() > 0
    K = rows.root.shape[1]
    mean = np.array(
        [spread, RANK_CHANGE[0], spread - 1, spread - 2.3, spread - 2.3, NOISE_FALL[0], *[ROOT_LENGTH[0]] * K]
    )
    deviation = np.array([1.5, RANK_CHANGE[1], 1.5, 1.5, 1.5, NOISE_FALL[1], *[ROOT_LENGTH[1]] * K])
    # What the rows say nothing about keeps its prior: no drift in flat directions.
    free = np.ones(len(mean), dtype=bool)
    free[1] = free[5] = scaled
    free[4] = branched
    if not branched:
        mean[4] = -20.0
    squares = (rows.root[:, None, :] - rows.root[None]) ** 2 if len(rows) * len(rows) * K < 2_000_000 else None
    inner = rows.scale @ rows.scale.T
    same = (rows.run[:, None] == rows.run).astype(float)
    eye = np.eye(len(rows))
    compute = rows.scale.sum(axis=1)
    between = compute[:, None] + compute
    certain = _flat(np.array([0.0, 0.0, -np.inf]), rows, rows)
    bend = _flat(np.zeros(OWN), rows, rows) - certain

    def value(some: Array) -> tuple[float, Array]:
        packed = mean.copy()
        packed[free] = some
        length = np.exp(packed[OWN:])
        root = rows.root / length
        matern, slope = _matern(_squares(root, root))
        a, r, b, own, shared = np.exp(2 * packed[:5])
        loud = np.exp(-packed[5] * compute)
        grown = 1 + r * inner
        of_mixture, flat = a * matern * grown, b * bend
        own_noise, shared_noise = own * loud**2, shared * same * np.outer(loud, loud)
        covariance = of_mixture + certain + flat + np.diag(own_noise + JITTER * a) + shared_noise
        try:
            lower = cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(some))
        dual = cho_solve((lower, True), residual, check_finite=False)
        pull = (packed - mean) / deviation
        total = 0.5 * residual @ dual + np.log(np.diag(lower)).sum() + 0.5 * pull @ pull
        outer = 0.5 * (cho_solve((lower, True), eye, check_finite=False) - np.outer(dual, dual))
        by_distance = outer * slope * a * grown
        if squares is None:
            by_length = -4 * (by_distance.sum(1) @ root**2 - np.einsum("if,if->f", root, by_distance @ root))
        else:
            by_length = -2 * np.einsum("ij,ijf->f", by_distance, squares) / length**2
        gradient = np.array(
            [
                2 * np.sum(outer * of_mixture),
                2 * np.sum(outer * a * matern * r * inner),
                2 * np.sum(outer * flat),
                2 * np.diag(outer) @ own_noise,
                2 * np.sum(outer * shared_noise),
                -2 * np.diag(outer) @ (own_noise * compute) - np.sum(outer * shared_noise * between),
                *by_length,
            ]
        )
        return float(total), (gradient + pull / deviation)[free]

    found = minimize(
        value,
        (mean if start is None else start)[free],
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip((mean - REACH * deviation)[free], (mean + REACH * deviation)[free], strict=True)),
        options={"maxiter": PROCESS_STEPS if start is None else PROCESS_STEPS // 3},
    )
    packed = mean.copy()
    packed[free] = found.x
    return packed, float(found.fun + values.sum())
