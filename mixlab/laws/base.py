"""What a law sees, what it must do, and what a fit comes to. Every law meets the rest of the house here.

Shape letters: n rows, K domains, S fits made at once (bootstrap resamples or validation splits), P parameters of a
law, M points to predict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CONVERGED, MAX_ITER, BOUND_HIT, ILL_CONDITIONED, TOO_FEW_ROWS = (
    "converged",
    "max_iter",
    "bound_hit",
    "ill_conditioned",
    "too_few_rows",
)


@dataclass(frozen=True)
class Observations:
    """Rows as arrays.

    Attributes:
        loss: what is fitted, nats, shape (n,), all finite and positive.
        params: N, shape (n,); ones where the table has none.
        tokens: D, shape (n,); ones where the table has none.
        mixture: h, shape (n, K).
        domains: the K names.
        run: index of the run that each row belongs to, shape (n,).
    """

    loss: Array
    params: Array
    tokens: Array
    mixture: Array
    domains: tuple[str, ...]
    run: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.loss)

    def with_loss(self, loss: Array) -> Observations:
        return replace(self, loss=loss)

    def select(self, rows: NDArray[np.bool_]) -> Observations:
        """The rows where `rows` is true."""
        return replace(
            self,
            loss=self.loss[rows],
            params=self.params[rows],
            tokens=self.tokens[rows],
            mixture=self.mixture[rows],
            run=self.run[rows],
        )


@dataclass(frozen=True)
class Fit:
    """S fits of one law to one target.

    Attributes:
        law: the law.
        theta: internal parameters, shape (S, P).
        centre: (log N, log D) at which the internal amplitudes are measured.
        objective: what was minimised, shape (S,).
        status: of each fit, length S.
        domains: names, for reporting.
    """

    law: Law
    theta: Array
    centre: tuple[float, float]
    objective: Array
    status: tuple[str, ...]
    domains: tuple[str, ...]

    def predict(self, mixture: Array, params: Array, tokens: Array) -> Array:
        """Loss of each fit at each point, shape (S, M), for h (M, K), N (M,), D (M,)."""
        x, y = self._centred(params, tokens)
        return self.law.predict(self.theta, mixture, x, y)

    def gradient(self, mixture: Array, params: Array, tokens: Array) -> Array:
        """d loss / d h, shape (S, M, K)."""
        x, y = self._centred(params, tokens)
        return self.law.gradient(self.theta, mixture, x, y)

    def natural(self, index: int = 0) -> dict[str, float]:
        """The parameters of fit `index` as the papers write them."""
        return self.law.natural(self.theta[index], self.centre, self.domains)

    def _centred(self, params: Array, tokens: Array) -> tuple[Array, Array]:
        return np.log(params) - self.centre[0], np.log(tokens) - self.centre[1]


class Law(Protocol):
    """A functional form L(h, N, D).

    A law holds no state. `fit` makes S fits at once, one per row of `weights`; rows with weight 0 are left out, so
    bootstrap resamples and validation splits are the same thing. x and y are centred log N and log D.
    """

    name: str
    needs: frozenset[str]  # of "params", "tokens", "mixture": what must vary in the rows

    def size(self, domains: int) -> int:
        """P, the number of parameters for K domains."""
        ...

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fit:
        """Fit; `weights` is (S, n), `start` a (P,) point to begin from in place of many starts."""
        ...

    def predict(self, theta: Array, mixture: Array, x: Array, y: Array) -> Array:
        """(S, P), (M, K), (M,), (M,) -> (S, M)."""
        ...

    def gradient(self, theta: Array, mixture: Array, x: Array, y: Array) -> Array:
        """d loss / d h: (S, M, K)."""
        ...

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """Internal (P,) -> the papers' parameters by name."""
        ...


@dataclass(frozen=True)
class FitResult:
    """A fitted law as it is printed and stored.

    Attributes:
        law, target: names.
        rows: how many were fitted.
        params: the papers' parameters.
        interval: 90% bootstrap confidence interval by parameter.
        objective: what was minimised.
        status: `converged`, `max_iter`, `bound_hit`, `ill_conditioned` or `too_few_rows`.
        warnings: in words.
    """

    law: str
    target: str
    rows: int
    params: dict[str, float]
    interval: dict[str, tuple[float, float]]
    objective: float
    status: str
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The keys of `mixlab fit --json`; a number that is not finite becomes null."""
        data = asdict(self)
        data["params"] = {name: _finite(value) for name, value in self.params.items()}
        data["interval"] = {name: [_finite(low), _finite(high)] for name, (low, high) in self.interval.items()}
        data["objective"] = _finite(self.objective)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitResult:
        def number(value: float | None) -> float:
            return math.nan if value is None else float(value)

        return cls(
            law=data["law"],
            target=data["target"],
            rows=data["rows"],
            params={name: number(value) for name, value in data["params"].items()},
            interval={name: (number(low), number(high)) for name, (low, high) in data["interval"].items()},
            objective=number(data["objective"]),
            status=data["status"],
            warnings=list(data["warnings"]),
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def points(mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike, domains: int) -> tuple[Array, Array, Array]:
    """Broadcast what a caller gives to h (M, K), N (M,), D (M,)."""
    n, d = np.atleast_1d(np.asarray(params, dtype=float)), np.atleast_1d(np.asarray(tokens, dtype=float))
    h = np.zeros((1, domains)) if mixture is None else np.atleast_2d(np.asarray(mixture, dtype=float))
    count = max(len(h), len(n), len(d))
    return (
        np.broadcast_to(h, (count, domains)),
        np.broadcast_to(n, (count,)),
        np.broadcast_to(d, (count,)),
    )
