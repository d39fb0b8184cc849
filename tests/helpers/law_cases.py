"""Rows that a law's own example makes, for every law in the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mixlab.arrays import Array
from mixlab.laws.forms.parametric import ParametricLaw
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.registry import entries, get_law

DOMAINS = ("web", "code", "math")
SUPPLY = (2e9, 1e8, 4e8)  # unique tokens: code is seen up to 100 times, web up to 5 times
SIZES, TOKENS = np.geomspace(1e6, 3e7, 4), np.geomspace(1e8, 1e10, 4)

# Every law that is registered and no baseline; a new one is tested without a word here.
LAWS = tuple(entry.law.name for entry in entries() if not entry.law.baseline)


def parametric(name: str) -> ParametricLaw:
    law = get_law(name)
    assert isinstance(law, ParametricLaw)
    return law


def design(domains: Sequence[str] = DOMAINS, seed: int = 0, mixtures: int = 24) -> Points:
    """Every mixture at four sizes and four token counts; without domains, four supplies in place of mixtures."""
    n, d = np.repeat(SIZES, 4), np.tile(TOKENS, 4)
    if not domains:
        supply = np.repeat([2e7, 1e8, 4e8, 2e10], 16)[:, None]
        return Points.make(None, np.tile(n, 4), np.tile(d, 4), 0, supply)
    h = np.random.default_rng(seed).dirichlet(np.ones(len(domains)), mixtures)
    return Points.make(np.repeat(h, 16, axis=0), np.tile(n, mixtures), np.tile(d, mixtures), len(domains), SUPPLY)


def rows_of(
    name: str,
    noise: float = 0.0,
    seed: int = 0,
    mixtures: int = 24,
    domains: Sequence[str] = DOMAINS,
    params: Mapping[str, float] | None = None,
) -> Observations:
    """The design with the losses of the law at its example, or at other parameters; a run is one N and one mixture."""
    rng = np.random.default_rng(seed)
    at = design(domains, seed, mixtures)
    loss = planted_loss(name, at, domains, params) * np.exp(noise * rng.standard_normal(len(at)))
    return observed(at, loss, domains)


def observed(at: Points, loss: Array, domains: Sequence[str] = DOMAINS) -> Observations:
    run = np.arange(len(at)) // 4
    return Observations(at.mixture, at.params, at.tokens, at.unique, loss, tuple(domains), run)


def planted_loss(
    name: str, at: Points, domains: Sequence[str] = DOMAINS, params: Mapping[str, float] | None = None
) -> Array:
    law = parametric(name)
    return law.formula(law.example(domains) if params is None else params, at, domains)
