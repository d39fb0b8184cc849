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

from mixlab.arrays import Array
from mixlab.laws.forms.solution import Solution, Status

# theta (S, P) -> log model (S, n) and its Jacobian (S, n, P)
Model = Callable[[Array], tuple[Array, Array]]

TOLERANCE = 1e-10  # relative fall of the objective over which the search goes on
PATIENCE = 3  # so many small falls in a row end it
EXACT = 1e-25  # an objective this small is the rounding error of rows without noise: there is nothing left to fit
# Damping, as a share of the diagonal of the Gauss-Newton matrix (Marquardt 1963). It is lowered in larger strides than
# it is raised in, so that a search that has come into a valley soon takes whole Gauss-Newton steps.
FIRST_DAMPING = 1e-3
LOWERED, RAISED = 0.2, 4.0  # factors after a step that is taken, and after one that is not
DAMPING_BOX = (1e-14, 1e14)
NO_STEP_HELPS = 1e10  # damping from which on a step is too short to change the objective's digits
LARGEST_STEP = 2.0  # in any parameter: most are logarithms, and an amplitude is changed by no more than e^2 at once
FLAT = 1e-12  # of the largest diagonal: a parameter that is felt less than this is damped as if it were felt so much
AT_BOUND = 1e-9  # a parameter this close to its bound is at it
SMALLEST = 1e-300  # in place of 0, where it would be divided by or its logarithm be taken
POOL_NUMBERS = 1 << 16  # in the Jacobians of a pool of problems: half a megabyte stays in a core's cache


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
    max_steps: int = 200,
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
        max_steps: after which a search that still falls is given up.
    """
    problems, size = theta.shape
    mean, strength = prior if prior is not None else (np.zeros(size), np.zeros(theta.shape))
    task = _Task(model, np.broadcast_to(log_loss, weights.shape), weights, delta, lower, upper, mean, strength)
    theta, value = np.clip(theta, lower, upper), np.empty(problems)
    steps, converged = np.zeros(problems, dtype=np.int64), np.zeros(problems, dtype=bool)
    room, queued = max(1, POOL_NUMBERS // (weights.shape[1] * size)), 0
    pool = _begun(task, theta, np.arange(0))
    while queued < problems or len(pool.index):
        if len(pool.index) <= room // 2 and queued < problems:
            newcomers = np.arange(queued, min(problems, queued + room - len(pool.index)))
            pool, queued = pool.joined(_begun(task, theta, newcomers)), newcomers[-1] + 1
        ended = _step(task, pool)
        leaving = ended | (pool.steps >= max_steps)
        if leaving.any():
            gone = pool.index[leaving]
            theta[gone], value[gone], converged[gone] = pool.theta[leaving], pool.value[leaving], ended[leaving]
            steps[gone] = pool.steps[leaving]
            pool = pool.kept(~leaving)
    at_bound = np.any(((theta <= lower + AT_BOUND) | (theta >= upper - AT_BOUND)) & report, axis=1)
    short = np.count_nonzero(weights, axis=1) < np.count_nonzero(lower < upper)
    status = np.select(
        [short, at_bound, converged], [Status.TOO_FEW_ROWS, Status.BOUND_HIT, Status.CONVERGED], Status.MAX_ITER
    )
    return Solution(theta, value, tuple(Status(word) for word in status), steps)


@dataclass(frozen=True)
class _Task:
    """What all problems share, and the rows' losses and weights and the prior's pull of each."""

    model: Model
    log_loss: Array
    weights: Array
    delta: float
    lower: Array
    upper: Array
    mean: Array
    strength: Array


@dataclass(frozen=True)
class _Pool:
    """Problems under way, few enough that their Jacobians fit into the processor's cache; arrays change in place.

    Attributes:
        index: their numbers among all, shape (s,).
        theta, residual, jacobian: where each is, shapes (s, P), (s, n), (s, n, P).
        value: its objective there, shape (s,).
        damping: its Levenberg-Marquardt parameter.
        small: how many small falls it has had in a row.
        steps: how many were tried.
    """

    index: NDArray[np.int64]
    theta: Array
    residual: Array
    jacobian: Array
    value: Array
    damping: Array
    small: NDArray[np.int64]
    steps: NDArray[np.int64]

    def kept(self, these: NDArray[np.bool_]) -> _Pool:
        return _Pool(*(array[these] for array in vars(self).values()))

    def joined(self, other: _Pool) -> _Pool:
        return _Pool(*(np.concatenate(both) for both in zip(vars(self).values(), vars(other).values(), strict=True)))


def _begun(task: _Task, theta: Array, index: NDArray[np.int64]) -> _Pool:
    """Problems at their starts."""
    at = theta[index]
    log_model, jacobian = task.model(at)
    residual = log_model - task.log_loss[index]
    count = len(index)
    none = np.zeros(count, dtype=np.int64)
    value = _objective(task, index, at, residual)
    return _Pool(index, at, residual, jacobian, value, np.full(count, FIRST_DAMPING), none, none.copy())


def _objective(task: _Task, index: NDArray[np.int64], theta: Array, residual: Array) -> Array:
    """What is minimised, shape (s,)."""
    rows = np.sum(task.weights[index] * huber(residual, task.delta), axis=1)
    return np.asarray(rows + penalty(theta, task.mean, task.strength[index]))


def _step(task: _Task, pool: _Pool) -> NDArray[np.bool_]:
    """Try one step of each problem in the pool; which of them have come to an end, shape (s,)."""
    r, J, at, size = pool.residual, pool.jacobian, pool.theta, pool.theta.shape[1]
    strength = task.strength[pool.index]
    omega = task.weights[pool.index] * np.minimum(1.0, task.delta / np.maximum(np.abs(r), SMALLEST))
    weighted = (J * omega[:, :, None]).transpose(0, 2, 1)
    normal = np.matmul(weighted, J)
    slope = np.matmul(weighted, r[:, :, None])[:, :, 0]
    normal[:, np.arange(size), np.arange(size)] += strength
    slope += strength * (at - task.mean)
    # A parameter at its bound that would be pushed further out is held there.
    held = ((at <= task.lower) & (slope > 0)) | ((at >= task.upper) & (slope < 0))
    slope = np.where(held, 0.0, slope)
    diagonal = np.einsum("spp->sp", normal)
    scale = np.maximum(diagonal, FLAT * np.maximum(diagonal.max(axis=1, keepdims=True), SMALLEST))
    damped = normal * ~(held[:, :, None] | held[:, None, :])
    damped[:, np.arange(size), np.arange(size)] = np.where(
        held, 1.0, diagonal + pool.damping[:, None] * scale + SMALLEST
    )
    step = -np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
    trial = np.clip(at + np.clip(step, -LARGEST_STEP, LARGEST_STEP), task.lower, task.upper)
    log_model, jacobian = task.model(trial)
    residual = log_model - task.log_loss[pool.index]
    value = _objective(task, pool.index, trial, residual)
    better = value < pool.value
    fall = np.where(better, (pool.value - value) / np.maximum(pool.value, SMALLEST), 0.0)
    pool.theta[better], pool.residual[better], pool.jacobian[better] = trial[better], residual[better], jacobian[better]
    pool.value[better] = value[better]
    pool.damping[:] = (pool.damping * np.where(better, LOWERED, RAISED)).clip(*DAMPING_BOX)
    pool.small[:] = np.where(fall < TOLERANCE, pool.small + better, 0)
    pool.steps[:] += 1
    return np.asarray((pool.small >= PATIENCE) | (pool.damping > NO_STEP_HELPS) | (pool.value < EXACT))


def best_of(solution: Solution, problems: int) -> Solution:
    """Of `problems` x R solved starts (problem-major), the best start of each problem."""
    starts = len(solution.objective) // problems
    order = solution.objective.reshape(problems, starts).argmin(axis=1) + np.arange(problems) * starts
    return solution.some(order)
