"""Parametric truths that no law of ours can write: mixture, N and D to one loss per target.

A form takes its parameters, mixtures h (M, K), n = log N / N0 and d = log D / D0 (floats, or columns (M, 1)), and gives
losses (M, J) in nats per token. What a domain is worth moves with scale by exponents of its own, exp(gamma_i d + delta_i n),
so that rankings of mixtures move too. The same code runs on NumPy, to simulate, and on torch, to be fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Theta = Mapping[str, Any]
Form = Callable[[Theta, Any, Any, Any, Any], Any]


def worth(theta: Theta, h: Any, n: Any, d: Any, xp: Any) -> Any:
    """Weights times exp(gamma_i d + delta_i n): (M, K)."""
    return h * xp.exp(theta["gamma"] * d + theta["delta"] * n)


def shrink(theta: Theta, n: Any, d: Any, xp: Any) -> Any:
    """exp(-alpha_j n - beta_j d), the part of the loss that scale takes away: (M, J) or (J,)."""
    return xp.exp(-xp.exp(theta["alpha"]) * n - xp.exp(theta["beta"]) * d)


def exponentials(theta: Theta, h: Any, n: Any, d: Any, xp: Any) -> Any:
    """E_j + shrink_j sum_r exp(a_jr - t_jr . w + (u_jr . w)(v_jr . w)), w = worth(h): M2 to M4 of Ye et al. (2024)
    with two terms, interactions and scale; t, u, v are (K, 2 J), the terms one after the other."""
    w = worth(theta, h, n, d, xp)
    terms = xp.exp(theta["a"] - w @ theta["t"] + (w @ theta["u"]) * (w @ theta["v"]))
    targets = theta["e"].shape[0]
    return xp.exp(theta["e"]) + shrink(theta, n, d, xp) * (terms[:, :targets] + terms[:, targets:])


def link(theta: Theta, h: Any, n: Any, d: Any, xp: Any) -> Any:
    """E_j + shrink_j A_j / (1 + exp(-z)), z = a_j - b_j . s + (u_j . s)^2 - (v_j . s)^2, s = sqrt(worth(h))."""
    s = xp.sqrt(worth(theta, h, n, d, xp) + 1e-6)
    z = theta["a"] - s @ theta["t"] + (s @ theta["u"]) ** 2 - (s @ theta["v"]) ** 2
    return xp.exp(theta["e"]) + shrink(theta, n, d, xp) * xp.exp(theta["A"]) / (1 + xp.exp(-z))


def substitutes(theta: Theta, h: Any, n: Any, d: Any, xp: Any) -> Any:
    """Two skills per target, each learnt from domains that replace each other, neither replacing the other.

    T_jr = (sum_i W_jri w_i^rho_r)^(1 / rho_r), T_j = (T_j1^-2 + T_j2^-2)^(-1/2), and the loss
    E_j + exp(-alpha_j n) A_j log(1 + (T_j exp(d))^-beta_j): a power of the effective tokens that saturates without them.
    """
    w = worth(theta, h, n, d, xp) + 1e-6
    skills = []
    for W, rho in ((theta["t"], 0.75), (theta["u"], 0.45)):
        skills.append(xp.log((w**rho) @ xp.exp(W)) / rho)
    log_T = -0.5 * xp.log(xp.exp(-2 * skills[0]) + xp.exp(-2 * skills[1]))
    beta = xp.exp(theta["beta"])
    learnt = xp.log1p(xp.exp(-beta * (log_T + d)))
    return xp.exp(theta["e"]) + xp.exp(theta["A"] - xp.exp(theta["alpha"]) * n) * learnt


FORMS: dict[str, Form] = {"exponentials": exponentials, "link": link, "substitutes": substitutes}
