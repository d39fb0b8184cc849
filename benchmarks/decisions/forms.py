"""Parametric truths that no law of ours can write: mixture, N and D to one loss per target.

A form takes its parameters, mixtures h (M, K), n = log N / N0 and d = log D / D0, and gives losses (M, J) in nats per
token. What a domain is worth to a target moves with scale by an exponent of their own, exp(gamma_ij d + delta_ij n), so
that rankings of mixtures move too. The tables' losses fall steeply from a weight of 0 to one of some percent and slowly
after that, hence the logarithm and the roots of h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

from mixlab.arrays import Array

Theta = Mapping[str, Array]
Form = Callable[[Theta, Array, float, float], Array]
TERMS = 2  # exponentials per target
SOME = 0.01  # the weight from which on more of a domain teaches by its logarithm


def moved(theta: Theta, n: float, d: float) -> Array:
    """exp(gamma_ij d + delta_ij n), how much more a domain is worth at a scale than at N0: (K, J)."""
    return np.exp(theta["gamma"] * d + theta["delta"] * n)


def shrink(theta: Theta, n: float, d: float) -> Array:
    """exp(-alpha_j n - beta_j d), the part of the loss that scale leaves: (J,)."""
    return np.exp(-np.exp(theta["alpha"]) * n - np.exp(theta["beta"]) * d)


def exponentials(theta: Theta, h: Array, n: float, d: float) -> Array:
    """E_j + shrink_j sum_r exp(a_jr - t_jr . x + tanh(u_jr . x) tanh(v_jr . x)), x ~ log(1 + h / SOME): sums of
    exponentials as in Ye et al. (2024), M2 to M4, with interactions. Arrays hold the terms in turn: t is (K, 2 J)."""
    x = np.log1p(h / SOME) / np.log1p(1 / SOME)
    by_scale = np.tile(moved(theta, n, d), (1, TERMS))
    terms = np.exp(theta["a"] - x @ (theta["t"] * by_scale) + np.tanh(x @ theta["u"]) * np.tanh(x @ theta["v"]))
    return np.asarray(np.exp(theta["e"]) + shrink(theta, n, d) * terms.reshape(len(h), TERMS, -1).sum(axis=1))


def link(theta: Theta, h: Array, n: float, d: float) -> Array:
    """E_j + shrink_j A_j sigmoid(z), z = a_j - t_j . s + (u_j . s)^2 - (v_j . s)^2, s = h^(1/3)."""
    s = np.cbrt(h)
    z = theta["a"] - s @ (theta["t"] * moved(theta, n, d)) + (s @ theta["u"]) ** 2 - (s @ theta["v"]) ** 2
    return np.asarray(np.exp(theta["e"]) + shrink(theta, n, d) * np.exp(theta["A"]) * expit(z))


def substitutes(theta: Theta, h: Array, n: float, d: float) -> Array:
    """Two skills per target, each learnt from domains that replace each other, neither replacing the other.

    T_jr = (sum_i W_jri h_i^rho_r)^(1 / rho_r), T_j = (T_j1^-2 + T_j2^-2)^(-1/2), and the loss
    E_j + exp(-alpha_j n) A_j log(1 + (T_j exp(d))^-beta_j): a power of effective tokens that saturates without them.
    """
    by_scale = moved(theta, n, d)
    skills = [np.log((h**rho + 1e-4) @ (np.exp(theta[W]) * by_scale)) / rho for W, rho in (("t", 0.75), ("u", 0.45))]
    log_T = -0.5 * np.log(np.exp(-2 * skills[0]) + np.exp(-2 * skills[1]))
    learnt = np.log1p(np.exp(-np.exp(theta["beta"]) * (log_T + d)))
    return np.asarray(np.exp(theta["e"]) + np.exp(theta["A"] - np.exp(theta["alpha"]) * n) * learnt)


FORMS: dict[str, Form] = {"exponentials": exponentials, "link": link, "substitutes": substitutes}
