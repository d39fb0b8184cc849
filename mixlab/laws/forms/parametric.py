"""What all nonlinear laws share: many starts, the batched solver, statuses. A law adds its form and its starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import ILL_CONDITIONED, Fits, Observations, Points
from mixlab.laws.forms.solver import Solution, best_of, levenberg_marquardt

SMALLEST_SHARE = 1e-4  # a weight of zero is clamped here, where powers of it are taken
ILL_CONDITIONED_AT = 1e-13
# Huber's threshold: runs with different mixtures scatter by a percent or two around any law, and a threshold far below
# that turns the fit into least absolute deviations, which may give up a whole domain as an outlier.
NOISE = 0.02
# Exponents that published fits find lie within a factor of a few of a third (Hoffmann .34 and .28, Kaplan .08 and .1,
# Muennighoff .35). As a prior this says little where the rows speak, and keeps an exponent in bounds where they do not.
EXPONENT_PRIOR = (float(np.log(1 / 3)), 0.5)


class ParametricLaw(ABC):
    """A law given by a closed form with internal parameters theta, most of them logarithms.

    Attributes:
        name: by which it is asked for.
        needs, takes: what the rows must offer, and what may vary in them (see `Law`).
        delta: Huber's threshold on log-residuals.
        starts: random starts beside the informed ones.
    """

    name: str
    needs: frozenset[str]
    takes: frozenset[str]
    delta: float = 1e-3
    starts: int = 12

    @abstractmethod
    def size(self, domains: int) -> int:
        """P for K domains."""

    @abstractmethod
    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """Loss (S, M) and d loss / d theta (S, M, P)."""

    @abstractmethod
    def gradient(self, theta: Array, at: Points) -> Array:
        """d loss / d h, shape (S, M, K)."""

    @abstractmethod
    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Lower and upper bounds of theta, and for which parameters a bound is a failure; each (P,).

        A parameter that these rows say nothing about is pinned: its bounds are equal.
        """

    def prior(self, domains: int) -> tuple[Array, Array]:
        """Mean and standard deviation of theta before any row is seen, each (P,); `inf` where nothing is assumed."""
        return np.zeros(self.size(domains)), np.full(self.size(domains), np.inf)

    @abstractmethod
    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        """Starts, shape (R, P), for rows relative to their centre."""

    @abstractmethod
    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """The papers' parameters by name."""

    def free(self, rows: Observations) -> int:
        """See `Law.free`."""
        lower, upper, _ = self.box(rows.relative_to(rows.centre))
        return int(np.count_nonzero(lower < upper))

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, M)."""
        return self.evaluate(theta, at)[0]

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """(S, M) and (S, M, K)."""
        return self.predict(theta, at), self.gradient(theta, at)

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """See `Law.fit`."""
        centre = rows.centre
        rows = rows.relative_to(centre)
        lower, upper, report = self.box(rows)
        starts = self.initial(rows, np.random.default_rng((seed, 7))) if start is None else start[None]
        problems = len(weights)
        log_loss = np.broadcast_to(np.log(rows.loss), weights.shape)

        def model(theta: Array) -> tuple[Array, Array]:
            value, jacobian = self.evaluate(theta, rows)
            value = np.maximum(value, 1e-300)
            return np.log(value), jacobian / value[:, :, None]

        mean, deviation = self.prior(len(rows.domains))

        def solve(theta: Array, iterations: int, noise: Array | None = None) -> Solution:
            each = len(theta) // problems
            pull = np.zeros_like(theta) if noise is None else (noise[:, None] / deviation) ** 2
            return levenberg_marquardt(
                model,
                np.repeat(log_loss, each, axis=0),
                np.repeat(weights, each, axis=0),
                theta,
                delta=self.delta,
                lower=lower,
                upper=upper,
                report=report,
                prior=(mean, pull),
                max_iter=iterations,
            )

        best = best_of(solve(np.tile(starts, (problems, 1)), 60), problems)
        # The prior weighs as much as one row at its standard deviation would: rows without noise leave it no say.
        solution = solve(best.theta, 1000, _scatter(model(best.theta)[0] - log_loss, weights))
        return Fits(self, solution.theta, centre, solution.objective, solution.status, rows.domains)

    def conditioning(self, fit: Fits, rows: Observations) -> float:
        """Reciprocal condition of the scaled Gauss-Newton matrix of the first fit; 0 when it is singular."""
        value, jacobian = self.evaluate(fit.theta[:1], rows.relative_to(fit.centre))
        J = jacobian[0] / value[0][:, None]
        scale = np.linalg.norm(J, axis=0)
        useful = scale > 1e-10 * scale.max()
        singular = np.linalg.svd(J[:, useful] / scale[useful], compute_uv=False)
        return float((singular[-1] / singular[0]) ** 2)

    def status(self, fit: Fits, rows: Observations) -> str:
        """The first fit's status, with `ill_conditioned` where the rows cannot tell its parameters apart."""
        if fit.status[0] == "converged" and self.conditioning(fit, rows) < ILL_CONDITIONED_AT:
            return ILL_CONDITIONED
        return fit.status[0]


def _scatter(residual: Array, weights: Array) -> Array:
    """Robust standard deviation of each problem's residuals, shape (S,)."""
    return 1.4826 * np.nanmedian(np.where(weights > 0, np.abs(residual), np.nan), axis=1)
