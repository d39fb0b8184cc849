"""Planted parameters of every parametric law, and rows made from them."""

from __future__ import annotations

import numpy as np

from mixlab.arrays import Array
from mixlab.laws.forms.base import Observations, Points
from mixlab.laws.forms.parametric import ParametricLaw
from mixlab.laws.forms.registry import get_law

DOMAINS = ("web", "code", "math")
CENTRE = (np.log(5e6), np.log(1e9))
SUPPLY = (2e9, 1e8, 4e8)  # unique tokens: code is seen up to 100 times, web up to 5 times

# Internal parameters; see each law's docstring for their order.
PLANTED: dict[str, Array] = {
    "chinchilla": np.log([1.7, 0.8, 0.6, 0.34, 0.28]),
    "loglinear": np.array([np.log(1.2), 0.4, -0.3, 0.9]),
    "power-mix": np.array([np.log(1.5), 0.3, -0.4, 0.2, -1.0, -0.5, -1.4]),
    "effective-data": np.array([*np.log([1.3, 0.9, 0.35, 0.3, 0.7, 1.0]), 0.5, 1.5, -0.5]),
    "additive-data": np.array([*np.log([1.3, 0.9, 0.35, 0.3, 1.0, 1.0]), 0.5, 1.5, -0.5]),
    "concave-data": np.array([*np.log([1.3, 0.9, 0.35, 0.3, 0.7, 0.6]), 0.5, 1.5, -0.5, 0.2, -0.3, 0.1]),
    "repetition": np.array([*np.log([1.3, 0.9, 0.35, 0.3, 1.0, 1.0]), 0.5, 1.5, -0.5, np.log(8.0)]),
    "effective-repetition": np.array([*np.log([1.3, 0.9, 0.35, 0.3, 0.7, 1.0]), 0.5, 1.5, -0.5, np.log(8.0)]),
    "concave-repetition": np.array(
        [*np.log([1.3, 0.9, 0.35, 0.3, 0.7, 0.6]), 0.5, 1.5, -0.5, 0.2, -0.3, 0.1, np.log(8.0)]
    ),
    "joint": np.array([np.log(1.4), np.log(0.33), np.log(0.29), -0.4, 0.5, 0.2, 1.0, -0.3, -0.5, 0.8, 0.1]),
    "joint-additive": np.array(
        [np.log(1.1), np.log(0.7), np.log(0.5), np.log(0.3), np.log(0.35), 0.3, 0.9, -0.2, -1.0, -0.6, -0.3]
    ),
}


def parametric(name: str) -> ParametricLaw:
    law = get_law(name)
    assert isinstance(law, ParametricLaw)
    return law


def rows_of(name: str, noise: float = 0.0, seed: int = 0, mixtures: int = 24) -> Observations:
    """Every mixture at four sizes and four token counts."""
    rng = np.random.default_rng(seed)
    h = np.repeat(rng.dirichlet(np.ones(len(DOMAINS)), mixtures), 16, axis=0)
    n = np.tile(np.repeat(np.geomspace(1e6, 3e7, 4), 4), mixtures)
    d = np.tile(np.geomspace(1e8, 1e10, 4), 4 * mixtures)
    at = Points.make(h, n, d, len(DOMAINS), SUPPLY)
    loss = planted_loss(name, at) * np.exp(noise * rng.standard_normal(len(at)))
    return Observations(h, n, d, at.unique, loss, DOMAINS, np.repeat(np.arange(len(n) // 4), 4))


def planted_loss(name: str, at: Points) -> Array:
    return parametric(name).predict(PLANTED[name][None], at.relative_to(CENTRE))[0]
