"""Forms of accuracy as a function of the loss L: it rises as L falls.

A sigmoid between a floor and a ceiling, and the exponential of Gadre et al. (2024), which has no ceiling; the floor is
what a model gets right that has learnt nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mixlab.arrays import Array

# On 46 published benchmarks a ceiling held at 1 predicted single tasks worse, and a free one the mean of several.
FLOOR_SD, CEILING_SD = 0.05, 0.2


class Form(ABC):
    """acc(u; theta) at a standardised loss u, with theta = (floor, ...).

    Attributes:
        name: by which it is known.
        formula: as it is printed.
        size: P.
    """

    name: str
    formula: str
    size: int

    @abstractmethod
    def evaluate(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """(S, P), and u of shape (n,) or (S, n) -> accuracy (S, n) and d accuracy / d theta (S, n, P)."""

    @abstractmethod
    def box(self) -> tuple[Array, Array]:
        """Lower and upper bounds of theta, each (P,)."""

    @abstractmethod
    def prior(self, floor: float) -> tuple[Array, Array]:
        """Mean and standard deviation of theta, each (P,), where the lowest accuracy seen is `floor`."""

    @abstractmethod
    def starts(self, floor: float) -> Array:
        """Shape (R, P)."""

    @abstractmethod
    def natural(self, theta: Array, centre: float, scale: float) -> dict[str, float]:
        """The parameters of `formula` from theta (P,), where u = (L - centre) / scale."""


class Sigmoid(Form):
    """theta = (a, b, log k, L0)."""

    name = "sigmoid"
    formula = "a + (b - a) / (1 + exp(k (L - L0)))"
    size = 4

    def evaluate(self, theta: Array, u: Array) -> tuple[Array, Array]:
        a, b, log_k, x0 = theta.T[:, :, None]
        k = np.exp(log_k)
        share = 1 / (1 + np.exp(np.clip(k * (u - x0), -500, 500)))
        slope = (b - a) * share * (1 - share) * k
        return a + (b - a) * share, np.stack([1 - share, share, -slope * (u - x0), slope], axis=-1)

    def box(self) -> tuple[Array, Array]:
        return np.array([0.0, 0.0, -4.0, -20.0]), np.array([1.0, 1.0, 4.0, 20.0])

    def prior(self, floor: float) -> tuple[Array, Array]:
        return np.array([floor, 1.0, 0.4, 0.0]), np.array([FLOOR_SD, CEILING_SD, 1.0, 3.0])

    def starts(self, floor: float) -> Array:
        k, x0 = (grid.ravel() for grid in np.meshgrid([-0.7, 0.0, 0.7, 1.4], [-3.0, -1.5, -0.5, 0.5]))
        return np.column_stack([np.full(len(k), floor), np.full(len(k), 0.95), k, x0])

    def natural(self, theta: Array, centre: float, scale: float) -> dict[str, float]:
        a, b, log_k, x0 = (float(value) for value in theta)
        return {"a": a, "b": b, "k": float(np.exp(log_k)) / scale, "L0": centre + scale * x0}


class Exponential(Form):
    """theta = (1 - eps, log k at the centre, log gamma)."""

    name = "exponential"
    formula = "1 - (eps - k exp(-gamma L))"
    size = 3

    def evaluate(self, theta: Array, u: Array) -> tuple[Array, Array]:
        floor, log_k, log_gamma = theta.T[:, :, None]
        gamma = np.exp(log_gamma)
        gain = np.exp(np.clip(log_k - gamma * u, -500, 50))
        return floor + gain, np.stack([np.ones_like(gain), gain, -gamma * u * gain], axis=-1)

    def box(self) -> tuple[Array, Array]:
        return np.array([0.0, -12.0, -4.0]), np.array([1.0, 3.0, 3.0])

    def prior(self, floor: float) -> tuple[Array, Array]:
        return np.array([floor, np.log(0.1), 0.0]), np.array([FLOOR_SD, 3.0, 1.0])

    def starts(self, floor: float) -> Array:
        log_k, log_gamma = (grid.ravel() for grid in np.meshgrid(np.log([0.03, 0.1, 0.3]), [-1.0, -0.3, 0.3, 1.0]))
        return np.column_stack([np.full(len(log_k), floor), log_k, log_gamma])

    def natural(self, theta: Array, centre: float, scale: float) -> dict[str, float]:
        gamma = float(np.exp(theta[2])) / scale
        return {"eps": 1 - float(theta[0]), "k": float(np.exp(theta[1] + gamma * centre)), "gamma": gamma}


FORMS: tuple[Form, ...] = (Sigmoid(), Exponential())  # the bounded one first
