"""`chinchilla`: L(N, D) = E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, section 3.3 and appendix D).

Fitted by Huber's loss (1e-3) on log L, summed. The starts come from variable projection: for fixed exponents the
model is linear in (E, A, B), so a grid over two numbers with an inner least-squares solve replaces a grid over five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.parametric import LOG_AMPLITUDE_BOX, LOG_FLOOR_BOX, ParametricLaw
from mixlab.laws.forms.points import Observations, Points

EXPONENT_GRID = np.geomspace(0.05, 2.0, 16)  # exponents to start from: published ones lie between .08 and .5
KEPT_STARTS = 6
EXPONENT_BOX = (0.005, 5.0)  # at the lower end a term hardly changes over ten decades, at the upper it is a step
SAME_EXPONENT_RIDGE = 1e-9  # relative, for exponents so close to each other that their terms are one
LEAST_AMPLITUDE = 0.02  # of the smallest loss: what a negative amplitude of the inner solve is replaced by


class Chinchilla(ParametricLaw):
    """theta = (log E, log A, log B, log alpha, log beta), A and B at the centre of the rows."""

    name = "chinchilla"
    needs = frozenset({"params", "tokens"})
    takes = needs

    def size(self, domains: int) -> int:
        return 5

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        E, A, B, alpha, beta = np.exp(theta.T)[:, :, None]
        in_n, in_d = A * np.exp(-alpha * at.x), B * np.exp(-beta * at.y)
        columns = (np.broadcast_to(E, in_n.shape), in_n, in_d, -alpha * at.x * in_n, -beta * at.y * in_d)
        return E + in_n + in_d, np.stack(columns, axis=-1)

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        box = np.array([LOG_FLOOR_BOX, *[LOG_AMPLITUDE_BOX] * 2, *[np.log(EXPONENT_BOX)] * 2])
        return box[:, 0], box[:, 1], np.ones(5, dtype=bool)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        return grid_starts(rows)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        E, A, B, alpha, beta = (float(value) for value in np.exp(theta))
        return {
            "E": E,
            "A": A * float(np.exp(alpha * centre[0])),
            "B": B * float(np.exp(beta * centre[1])),
            "alpha": alpha,
            "beta": beta,
        }

    def formula(self, params: Mapping[str, float], at: Points, domains: Sequence[str]) -> Array:
        p = params
        return np.asarray(p["E"] + p["A"] * at.params ** -p["alpha"] + p["B"] * at.tokens ** -p["beta"])

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        """What Hoffmann et al. (2022) found."""
        return {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def grid_starts(rows: Observations) -> Array:
    """The best (E, A, B, alpha, beta) of a grid over exponents, as logarithms, shape (KEPT_STARTS, 5).

    Each inner problem is least squares on relative residuals; amplitudes that come out negative are set to a small
    positive number, which the solver can leave.
    """
    loss, x, y = rows.loss, rows.x, rows.y
    alpha, beta = (grid.ravel() for grid in np.meshgrid(EXPONENT_GRID, EXPONENT_GRID, indexing="ij"))
    design = np.stack([np.ones((len(alpha), len(x))), np.exp(-np.outer(alpha, x)), np.exp(-np.outer(beta, y))], axis=-1)
    design = design / loss[None, :, None]
    normal = np.einsum("snp,snq->spq", design, design)
    normal[:, range(3), range(3)] *= 1 + SAME_EXPONENT_RIDGE
    amplitudes = np.linalg.solve(normal, design.sum(axis=1)[:, :, None])[:, :, 0]
    amplitudes = np.maximum(amplitudes, LEAST_AMPLITUDE * loss.min())
    error = np.abs(np.einsum("snp,sp->sn", design, amplitudes) - 1).sum(axis=1)
    best = np.argsort(error, kind="stable")[:KEPT_STARTS]
    return np.log(np.column_stack([amplitudes[best], alpha[best], beta[best]]))


@dataclass(frozen=True)
class Allocation:
    """Compute-optimal allocation when C = 6 N D: N* = G (C/6)^a, D* = (C/6)^b / G."""

    G: float
    a: float
    b: float

    def params(self, flops: float) -> float:
        return self.G * (flops / 6) ** self.a

    def tokens(self, flops: float) -> float:
        return (flops / 6) ** self.b / self.G


def optimum(natural: dict[str, float]) -> Allocation:
    """The closed form of Hoffmann et al. 2022, equation 4."""
    alpha, beta = natural["alpha"], natural["beta"]
    total = alpha + beta
    G = (alpha * natural["A"] / (beta * natural["B"])) ** (1 / total)
    return Allocation(G, beta / total, alpha / total)
