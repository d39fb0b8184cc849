"""`auto`: the law that transfers best, by rolling origin over compute and by mixtures kept out. Never in-sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import FitError
from mixlab.laws.base import Array, Observations
from mixlab.laws.registry import get_law
from mixlab.laws.support import require_support, varying
from mixlab.laws.transfer import TransferError, transfer_error

MIXTURES_PER_COEFFICIENT = 2  # distinct mixtures that each coefficient of a domain must rest on

# Simpler first: a tie goes to the simpler law.
CANDIDATES = ("chinchilla", "loglinear", "effective-data", "joint", "joint-additive", "linear")


@dataclass(frozen=True)
class Candidate:
    """A law that was tried, and its error on what it had not seen."""

    law: str
    error: TransferError
    parameters: int

    @property
    def baseline(self) -> bool:
        """Whether it stands for comparison alone."""
        return not get_law(self.law).needs

    def to_json(self) -> dict[str, Any]:
        def finite(value: float) -> float | None:
            return float(value) if np.isfinite(value) else None

        return {
            "law": self.law,
            "transfer_error": finite(self.error.score),
            "compute_error": finite(self.error.compute),
            "mixture_error": finite(self.error.mixture),
            "parameters": self.parameters,
            "baseline": self.baseline,
        }


def choose_law(
    rows: Observations,
    losses: Mapping[str, Array],
    weights: Mapping[str, float],
    flops: Array,
    groups: NDArray[np.int64],
    seed: int,
) -> list[Candidate]:
    """The laws that these rows can carry, best first.

    A law is a candidate when all it needs varies in the rows, when no other quantity that varies is lost on it, and
    when there are enough distinct mixtures for its coefficients: a flexible law can predict the next budget of the
    mixtures it has seen and still be wrong about the ones it has not, where the optimum lies.

    Raises:
        FitError: when there is none, with the reason of the simplest law that fits the table.
    """
    present = varying(rows)
    mixtures, domains = len(np.unique(groups)), len(rows.domains)
    tried: list[Candidate] = []
    refusal: FitError | None = None
    for name in CANDIDATES:
        law = get_law(name)
        if law.needs and (present - law.needs or not law.needs & present):
            continue
        try:
            require_support(law, rows)
        except FitError as reason:
            refusal = refusal or reason
            continue
        if law.needs and mixtures < MIXTURES_PER_COEFFICIENT * (law.size(domains) - law.size(0)):
            refusal = refusal or FitError(
                f"the law `{name}` has {law.size(domains) - law.size(0)} coefficients of domains and needs at least "
                f"{MIXTURES_PER_COEFFICIENT} distinct mixtures for each, but got {mixtures}",
                "add mixtures, or choose the law by name to fit it all the same",
            )
            continue
        error = transfer_error(law, rows, losses, weights, flops, groups, seed)
        tried.append(Candidate(name, error, law.size(len(rows.domains))))
    if all(candidate.baseline for candidate in tried):
        raise refusal or FitError(
            "no law fits these rows: nothing varies in them",
            "a fit needs runs that differ in model size, tokens or mixture",
        )
    # Baselines are shown beside the laws but never chosen: what they extrapolate to is an edge or a corner.
    return sorted(tried, key=lambda candidate: (candidate.baseline, *_rank(candidate)))


def _rank(candidate: Candidate) -> tuple[bool, float]:
    score = candidate.error.score
    return (not np.isfinite(score), score if np.isfinite(score) else candidate.parameters)
