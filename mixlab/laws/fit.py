"""The solver: Levenberg-Marquardt on many parameter vectors at once, with Huber's loss on log-residuals.

Minimises sum_i w_i rho(log model_i - log L_i) for S problems that share their rows and differ in weights and starts;
a normal prior on theta may be added. Robustness comes by iterative reweighting inside the Gauss-Newton matrix; a step
is taken only if the true objective falls. The sum, not the mean: with the mean, stopping rules end the search early
(Besiroglu et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.laws.base import BOUND_HIT, CONVERGED, MAX_ITER

Array = NDArray[np.float64]

# theta (S, P) -> log model (S, n) and its Jacobian (S, n, P)
Model = Callable[[Array], tuple[Array, Array]]

TOLERANCE = 1e-10  # relative fall of the objective over which the search goes on
CACHED = 1 << 16  # numbers in the Jacobians of a block of problems: half a megabyte stays in a core's cache
PATIENCE = 3  # so many small falls in a row end it


@dataclass(frozen=True)
class Solution:
    """S solved problems: theta (S, P), objective (S,), status of each."""

    theta: Array
    objective: Array
    status: tuple[str, ...]


def huber(residual: Array, delta: float) -> Array:
    """Huber's rho: quadratic within delta, linear beyond."""
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * residual**2, delta * (size - 0.5 * delta))


def penalty(theta: Array, mean: Array, strength: Array) -> Array:
    """What a normal prior adds to the objective, shape (S,)."""
    return 0.5 * np.sum(strength * (theta - mean) ** 2, axis=1)


def levenberg_marquardt(
    model: Model,
    log_loss: Array,
    weights: Array,
    theta: Array,
    *,
    delta: float,
    lower: Array,
    upper: Array,
    report: NDArray[np.bool_],
    prior: tuple[Array, Array] | None = None,
    max_iter: int = 200,
) -> Solution:
    """Solve S problems.

    Args:
        model: evaluates the log of the law and its Jacobian for a batch of parameter vectors.
        log_loss: log of the observed losses, shape (n,), or (S, n) by problem.
        weights: of rows by problem, shape (S, n).
        theta: starts, shape (S, P).
        delta: Huber's threshold on log-residuals.
        lower, upper: box, shape (P,); iterates are clipped to it.
        report: parameters, shape (P,), for which ending at the box is `bound_hit` (for the others, such as the
            share of a useless domain, zero is a fine answer).
        prior: the mean (P,) that theta is drawn to, and the strength (S, P) of the pull, so that
            0.5 strength (theta - mean)^2 is added to the objective; 0 for none.
        max_iter: iterations.
    """
    problems, size = theta.shape
    mean, strength = prior if prior is not None else (np.zeros(size), np.zeros(theta.shape))
    log_loss = np.broadcast_to(log_loss, weights.shape)
    block = max(1, CACHED // (weights.shape[1] * size))
    parts = [
        _solve(
            model,
            log_loss[these],
            weights[these],
            np.clip(theta[these], lower, upper),
            delta,
            lower,
            upper,
            report,
            mean,
            strength[these],
            max_iter,
        )
        for these in (slice(first, first + block) for first in range(0, problems, block))
    ]
    return Solution(
        np.concatenate([part.theta for part in parts]),
        np.concatenate([part.objective for part in parts]),
        tuple(status for part in parts for status in part.status),
    )


def _solve(
    model: Model,
    log_loss: Array,
    weights: Array,
    theta: Array,
    delta: float,
    lower: Array,
    upper: Array,
    report: NDArray[np.bool_],
    mean: Array,
    strength: Array,
    max_iter: int,
) -> Solution:
    """Problems whose Jacobians fit into the processor's cache together."""
    count, size = theta.shape
    damping = np.full(count, 1e-3)
    value = np.full(count, np.inf)
    small = np.zeros(count, dtype=int)
    active = np.ones(count, dtype=bool)
    log_model, jacobian = model(theta)
    residual = log_model - log_loss
    value = np.sum(weights * huber(residual, delta), axis=1) + penalty(theta, mean, strength)
    for _ in range(max_iter):
        index = np.flatnonzero(active)
        if len(index) == 0:
            break
        r, J = residual[index], jacobian[index]
        omega = weights[index] * np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300))
        weighted = J * omega[:, :, None]
        normal = np.matmul(weighted.transpose(0, 2, 1), J)
        slope = np.matmul(weighted.transpose(0, 2, 1), r[:, :, None])[:, :, 0]
        at = theta[index]
        normal[:, np.arange(size), np.arange(size)] += strength[index]
        slope += strength[index] * (at - mean)
        # A parameter at its bound that would be pushed further out is held there.
        held = ((at <= lower) & (slope > 0)) | ((at >= upper) & (slope < 0))
        slope = np.where(held, 0.0, slope)
        diagonal = np.einsum("spp->sp", normal)
        scale = np.maximum(diagonal, 1e-12 * np.maximum(diagonal.max(axis=1, keepdims=True), 1e-300))
        damped = normal * ~(held[:, :, None] | held[:, None, :])
        damped[:, np.arange(size), np.arange(size)] = np.where(
            held, 1.0, diagonal + damping[index, None] * scale + 1e-300
        )
        step = -np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
        trial = np.clip(at + np.clip(step, -2.0, 2.0), lower, upper)
        trial_log, trial_jacobian = model(trial)
        trial_residual = trial_log - log_loss[index]
        trial_value = np.sum(weights[index] * huber(trial_residual, delta), axis=1)
        trial_value += penalty(trial, mean, strength[index])
        better = trial_value < value[index]
        fall = np.where(better, (value[index] - trial_value) / np.maximum(value[index], 1e-300), 0.0)
        won = index[better]
        theta[won], residual[won], jacobian[won] = trial[better], trial_residual[better], trial_jacobian[better]
        value[won] = trial_value[better]
        damping[index] = np.where(better, damping[index] * 0.2, damping[index] * 4.0).clip(1e-14, 1e14)
        small[index] = np.where(fall < TOLERANCE, small[index] + better, 0)
        stuck = damping[index] > 1e10
        done = (small[index] >= PATIENCE) | stuck | (value[index] < 1e-25)
        active[index[done]] = False
    edge = ((theta <= lower + 1e-9) | (theta >= upper - 1e-9)) & report
    hits = np.any(edge, axis=1)
    status = tuple(BOUND_HIT if hits[s] else MAX_ITER if active[s] else CONVERGED for s in range(count))
    return Solution(theta, value, status)


def best_of(solution: Solution, problems: int) -> Solution:
    """Of `problems` x R solved starts (problem-major), the best start of each problem."""
    starts = len(solution.objective) // problems
    order = solution.objective.reshape(problems, starts).argmin(axis=1) + np.arange(problems) * starts
    return Solution(solution.theta[order], solution.objective[order], tuple(solution.status[i] for i in order))
