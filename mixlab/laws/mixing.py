"""`loglinear`: L(h) = c + exp(t . h), the mixture law at one scale (Ye et al. 2024).

On the simplex the factor in front of the exponential is absorbed by t, so fitting one as well would be degenerate.
Along t . h the law is monotone: for a single target its optimum is a corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.laws.base import Array, Observations, Points
from mixlab.laws.parametric import ParametricLaw


class LogLinear(ParametricLaw):
    """theta = (log c, t_1 .. t_K)."""

    name = "loglinear"
    needs = frozenset({"mixture"})
    delta = 0.02

    def size(self, domains: int) -> int:
        return 1 + domains

    def evaluate(self, theta: Array, at: Points) -> tuple[Array, Array]:
        c, t = np.exp(theta[:, :1]), theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -50, 50))
        jacobian = np.concatenate([np.broadcast_to(c, part.shape)[:, :, None], part[:, :, None] * at.mixture], axis=-1)
        return c + part, jacobian

    def gradient(self, theta: Array, at: Points) -> Array:
        t = theta[:, 1:]
        part = np.exp(np.clip(t @ at.mixture.T, -50, 50))
        return part[:, :, None] * t[:, None, :]

    def box(self, domains: int) -> tuple[Array, Array, NDArray[np.bool_]]:
        lower = np.array([-12.0, *[-40.0] * domains])
        # Without a floor (c at zero) the law is a plain exponential: a fine answer, not a failure.
        return lower, np.array([6.0, *[20.0] * domains]), np.array([False, *[True] * domains])

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        starts = []
        for share in (0.3, 0.6, 0.8, 0.9, 0.97):
            c = share * rows.loss.min()
            design = np.vstack([rows.mixture, 1e-3 * np.eye(rows.mixture.shape[1])])
            wanted = np.concatenate([np.log(rows.loss - c), np.zeros(rows.mixture.shape[1])])
            starts.append([np.log(c), *np.linalg.lstsq(design, wanted, rcond=None)[0]])
        return np.array(starts)

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        return {"c": float(np.exp(theta[0]))} | {
            f"t.{name}": float(value) for name, value in zip(domains, theta[1:], strict=True)
        }
