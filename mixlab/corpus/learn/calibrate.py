"""Calibration: does a probability of .8 come true 8 times in 10? One curve, fitted on held-out folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from mixlab.arrays import Array

BINS = 15


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: documents, their mean probability, and the share that was right."""

    count: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """An increasing curve from scores to log-probabilities, the same for every label: softmax(curve(scores)).

    A temperature alone (Guo et al. 2017) leaves scores of ridge regression too sure where they are high and not sure
    enough where they are low, since they saturate at 1; the curve therefore has a bend (EXPERIMENTS.md).

    Attributes:
        slope: log-probability per unit of score at 0, one over the temperature; > 0.
        bend: between -0.45 (flatter towards the ends) and 30 (steeper); 0 is a temperature alone.
        reach: the curve is straight beyond this score.
    """

    slope: float
    bend: float
    reach: float

    def curve(self, scores: Array) -> Array:
        """Log-probabilities up to a constant per row, of the shape of `scores`."""
        inside = np.clip(scores, -self.reach, self.reach)
        bent = inside + self.bend * inside * np.abs(inside) / self.reach
        result: Array = self.slope * (bent + (1 + 2 * self.bend) * (scores - inside))
        return result

    def probabilities(self, scores: Array) -> Array:
        """Shape (n, K), rows sum to 1."""
        result: Array = softmax(self.curve(scores), axis=1)
        return result


def fit_calibration(scores: Array, truth: NDArray[np.integer]) -> Calibration:
    """The curve that gives the truth the highest likelihood.

    Args:
        scores: of documents the model has not been trained on, shape (n, K).
        truth: index of the true label, shape (n,).
    """
    reach = max(float(np.abs(scores).max()), 1e-9)
    rows = np.arange(len(truth))

    def loss(point: Array) -> float:
        logs = log_softmax(Calibration(float(np.exp(point[0])), float(point[1]), reach).curve(scores), axis=1)
        return float(-logs[rows, truth].mean())

    bounds = ((-6.0, 6.0), (-0.45, 30.0))
    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(found[0])), float(found[1]), reach)


def reliability(probabilities: Array, truth: NDArray[np.integer], bins: int = BINS) -> list[Bin]:
    """Documents by the probability of their most likely label, in bins of equal count.

    Args:
        probabilities: shape (n, K).
        truth: shape (n,).
    """
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(top, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(len(part), float(top[part].mean()), float(right[part].mean())) for part in parts]


def expected_calibration_error(probabilities: Array, truth: NDArray[np.integer], bins: int = BINS) -> float:
    """Mean distance between probability and accuracy over bins of equal count.

    Source: Naeini et al. 2015; bins of equal count as in Nixon et al. 2019, since bins of equal width leave most empty.
    """
    found = reliability(probabilities, truth, bins)
    total = sum(each.count for each in found)
    return sum(each.count * abs(each.probability - each.accuracy) for each in found) / total
