"""What all nonlinear laws share: many starts, the batched solver, how a fit ended.

A law adds its form (`evaluate`), its starts, its box, and its parameters as the papers write them, with the formula in
those and an example. The formula is plain and slow; it is what the fast `evaluate` is held to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.base import ClosedFormFits
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.solution import Solution, Status
from mixlab.laws.forms.solver import SMALLEST, best_of, levenberg_marquardt

FIRST_STEPS = 60  # from every start: enough to see which leads to the lowest place
LAST_STEPS = 1000  # from the best of them: a search that is still falling then is not going to end
SMALLEST_SHARE = 1e-4  # a weight of zero is clamped here, where powers of it are taken
ILL_CONDITIONED_AT = 1e-13  # of the Gauss-Newton matrix: a thousand times the rounding error of a double
USELESS = 1e-10  # of the largest column of the Jacobian: a parameter that is felt less is not one of the fit's
# Huber's threshold: runs with different mixtures scatter by a percent or two around any law, and a threshold far below
# that turns the fit into least absolute deviations, which may give up a whole domain as an outlier.
NOISE = 0.02
# Exponents that published fits find lie within a factor of a few of a third (Hoffmann .34 and .28, Kaplan .08 and .1,
# Muennighoff .35). As a prior this says little where the rows speak, and keeps an exponent in bounds where they do not.
EXPONENT_PRIOR = (float(np.log(1 / 3)), 0.5)
LOG_FLOOR_BOX = (-12.0, 6.0)  # E, from nothing (6e-6 nats) to 400 nats
LOG_AMPLITUDE_BOX = (-12.0, 12.0)  # a term at the centre of the rows, from nothing to far more than any loss
NORMAL_SCALE = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution


class ParametricLaw(ABC):
    """A law given by a closed form with internal parameters theta, most of them logarithms.

    Attributes:
        name: by which it is asked for.
        needs, takes: what the rows must offer, and what moves the loss (see `Law`).
        baseline: False; see `Law`.
        delta: Huber's threshold on log-residuals.
    """

    name: str
    needs: frozenset[str]
    takes: frozenset[str]
    baseline: bool = False
    delta: float = 1e-3

    @abstractmethod
    def size(self, domains: int) -> int:
        """P for K domains."""

    @abstractmethod
    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """Loss (S, M) and d loss / d theta (S, M, P), N and D relative to the centre of the fit."""

    @abstractmethod
    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Lower and upper bounds of theta, and for which parameters a bound is a failure; each (P,).

        A parameter that these rows say nothing about is pinned: its bounds are equal.
        """

    @abstractmethod
    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        """Starts, shape (R, P), for rows relative to their centre."""

    @abstractmethod
    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """The papers' parameters by name, of theta (P,)."""

    @abstractmethod
    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        """The law as the papers write it: loss (M,) by the parameters that `natural` names, N and D in units."""

    @abstractmethod
    def example(self, domains: Sequence[str]) -> dict[str, float]:
        """Plausible parameters, by the names of `natural`: for documentation, and for the rows that tests plant."""

    def gradient(self, theta: Array, at: Points) -> Array:
        """d loss / d h, shape (S, M, K); 0 as it stands, for laws that take no mixture."""
        return np.zeros((len(theta), *at.mixture.shape))

    def prior(self, domains: int) -> tuple[Array, Array]:
        """Mean and standard deviation of theta before any row is seen, each (P,); `inf` where nothing is assumed."""
        return np.zeros(self.size(domains)), np.full(self.size(domains), np.inf)

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

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> ParametricFits:
        """See `Law.fit`."""
        centre = rows.centre
        rows = rows.relative_to(centre)
        lower, upper, report = self.box(rows)
        starts = self.initial(rows, np.random.default_rng((seed, 7))) if start is None else start[None]
        problems = len(weights)
        log_loss = np.broadcast_to(np.log(rows.loss), weights.shape)

        def model(theta: Array) -> tuple[Array, Array]:
            value, jacobian = self.evaluate(theta, rows)
            value = np.maximum(value, SMALLEST)
            return np.log(value), jacobian / value[:, :, None]

        mean, deviation = self.prior(len(rows.domains))

        def solve(theta: Array, steps: int, noise: Array | None = None) -> Solution:
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
                max_steps=steps,
            )

        best = best_of(solve(np.tile(starts, (problems, 1)), FIRST_STEPS), problems)
        # The prior weighs as much as one row at its standard deviation would: rows without noise leave it no say.
        last = solve(best.theta, LAST_STEPS, _scatter(model(best.theta)[0] - log_loss, weights))
        return ParametricFits(self, centre, rows.domains, replace(last, steps=best.steps + last.steps))


@dataclass(frozen=True)
class ParametricFits(ClosedFormFits):
    """S fits of a parametric law."""

    law: ParametricLaw

    def examined(self, rows: Observations) -> Status:
        """`ill_conditioned` where the rows cannot tell the parameters of the first fit apart."""
        if self.status[0] == Status.CONVERGED and self.conditioning(rows) < ILL_CONDITIONED_AT:
            return Status.ILL_CONDITIONED
        return self.status[0]

    def conditioning(self, rows: Observations) -> float:
        """Reciprocal condition of the scaled Gauss-Newton matrix of the first fit; 0 when it is singular."""
        value, jacobian = self.law.evaluate(self.theta[:1], rows.relative_to(self.centre))
        J = jacobian[0] / value[0][:, None]
        scale = np.linalg.norm(J, axis=0)
        useful = scale > USELESS * scale.max()
        singular = np.linalg.svd(J[:, useful] / scale[useful], compute_uv=False)
        return float((singular[-1] / singular[0]) ** 2)


def _scatter(residual: Array, weights: Array) -> Array:
    """Robust standard deviation of each problem's residuals, shape (S,)."""
    return NORMAL_SCALE * np.nanmedian(np.where(weights > 0, np.abs(residual), np.nan), axis=1)


def by_domain(letter: str, domains: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    """`letter.domain` by name; the values are used in turn, so that an example suits any number of domains."""
    return {f"{letter}.{name}": float(value) for name, value in zip(domains, cycle(values), strict=False)}


def of_domains(letter: str, params: Mapping[str, float], domains: Sequence[str]) -> Array:
    """The parameters `letter.domain`, shape (K,)."""
    return np.array([params[f"{letter}.{name}"] for name in domains])
