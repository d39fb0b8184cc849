"""What a law sees, what it must do, and what a fit comes to. Every law meets the rest of the house here.

Shape letters: n rows, K domains, S fits made at once (bootstrap resamples or validation splits), P parameters of a
law, M points to predict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.arrays import Array

CONVERGED, MAX_ITER, BOUND_HIT, ILL_CONDITIONED, TOO_FEW_ROWS = (
    "converged",
    "max_iter",
    "bound_hit",
    "ill_conditioned",
    "too_few_rows",
)


@dataclass(frozen=True)
class Points:
    """M points (h, N, D, U) at which a law is evaluated.

    Attributes:
        mixture: h, shape (M, K); K is 0 for tables without mixtures.
        params: N, shape (M,); ones where a table has none.
        tokens: D, shape (M,); ones where a table has none.
        unique: U, unique tokens by domain, shape (M, K), or of all text, shape (M, 1), where K is 0; `inf` where the
            supply is not known, so that nothing is ever repeated.
    """

    mixture: Array
    params: Array
    tokens: Array
    unique: Array

    @classmethod
    def make(
        cls,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        domains: int,
        unique: ArrayLike = math.inf,
    ) -> Points:
        """Broadcast what a caller gives to M points of `domains` domains."""
        h = np.zeros((1, domains)) if mixture is None else np.atleast_2d(np.asarray(mixture, dtype=float))
        n, d = np.atleast_1d(np.asarray(params, dtype=float)), np.atleast_1d(np.asarray(tokens, dtype=float))
        supply = np.atleast_2d(np.asarray(unique, dtype=float))
        M = max(len(h), len(n), len(d), len(supply))
        return cls(
            np.broadcast_to(h, (M, domains)),
            np.broadcast_to(n, (M,)),
            np.broadcast_to(d, (M,)),
            np.broadcast_to(supply, (M, max(1, domains))),
        )

    def __len__(self) -> int:
        return len(self.params)

    @cached_property
    def x(self) -> Array:
        """log N, shape (M,)."""
        return np.log(self.params)

    @cached_property
    def y(self) -> Array:
        """log D, shape (M,)."""
        return np.log(self.tokens)

    @property
    def centre(self) -> tuple[float, float]:
        """Mean log N and log D."""
        return float(np.mean(self.x)), float(np.mean(self.y))

    @property
    def repeated(self) -> Array:
        """The share of each point's tokens that were seen before, shape (M,): the sum of max(h_i D - U_i, 0) / D."""
        shares = self.mixture if self.mixture.shape[1] else np.ones((len(self), 1))
        return np.maximum(shares - self.unique / self.tokens[:, None], 0.0).sum(axis=1)

    @property
    def epochs(self) -> Array:
        """How often each point's text is seen, on average over its unique tokens: D / sum_i min(h_i D, U_i), (M,)."""
        return np.asarray(1 / (1 - self.repeated))

    def relative_to(self, centre: tuple[float, float]) -> Self:
        """N in units of e^centre[0], D and U in units of e^centre[1]: amplitudes are then of the order of the loss."""
        n, d = math.exp(centre[0]), math.exp(centre[1])
        return replace(self, params=self.params / n, tokens=self.tokens / d, unique=self.unique / d)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The points that a mask or an index names; every array attribute follows."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[rows] for name, value in arrays.items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True)
class Observations(Points):
    """Rows of a run table: points and what was measured there.

    Attributes:
        loss: what is fitted, nats, shape (n,), all finite and positive; or (S, n), one table for each of S fits.
        domains: the K names.
        run: index of the run that each row belongs to, shape (n,).
    """

    loss: Array
    domains: tuple[str, ...]
    run: NDArray[np.int64]

    def with_loss(self, loss: Array) -> Observations:
        return replace(self, loss=loss)


@dataclass(frozen=True)
class Fits:
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

    def predict(self, at: Points) -> Array:
        """Loss of each fit at each point, shape (S, M)."""
        return self.law.predict(self.theta, at.relative_to(self.centre))

    def gradient(self, at: Points) -> Array:
        """d loss / d h, shape (S, M, K)."""
        return self.law.gradient(self.theta, at.relative_to(self.centre))

    def value_and_gradient(self, at: Points) -> tuple[Array, Array]:
        """Both of these, for little more than the price of the second."""
        return self.law.value_and_gradient(self.theta, at.relative_to(self.centre))

    def some(self, these: slice) -> Fits:
        """Those fits of the batch as a batch."""
        return replace(self, theta=self.theta[these], objective=self.objective[these], status=self.status[these])

    def one(self, index: int) -> Fits:
        """Fit `index` of the batch as a batch of one."""
        return self.some(slice(index, index + 1))

    def natural(self, index: int = 0) -> dict[str, float]:
        """The parameters of fit `index` as the papers write them."""
        return self.law.natural(self.theta[index], self.centre, self.domains)


class Law(Protocol):
    """A functional form L(h, N, D).

    A law holds no state. `fit` makes S fits at once, one per row of `weights`: rows with weight 0 are left out, as
    validation splits need, and losses of shape (S, n) give each fit its own, as resamples do. Points are
    relative to the centre of the fit (`Points.relative_to`).
    """

    name: str
    needs: frozenset[str]  # of "params", "tokens", "mixture", which must vary in the rows, and "unique": must be stated
    takes: frozenset[str]  # of these and "epochs": what may vary without being lost on it; empty for a baseline, no law

    def size(self, domains: int) -> int:
        """P, the length of theta for K domains."""
        ...

    def free(self, rows: Observations) -> int:
        """How many parameters these rows are asked to settle: fewer than P where some are pinned."""
        ...

    def fit(self, rows: Observations, weights: Array, seed: int = 0, start: Array | None = None) -> Fits:
        """Fit; `weights` is (S, n), `start` a (P,) point to begin from in place of many starts (losses are (n,))."""
        ...

    def predict(self, theta: Array, at: Points) -> Array:
        """(S, P) and M points -> (S, M)."""
        ...

    def gradient(self, theta: Array, at: Points) -> Array:
        """d loss / d h: (S, M, K)."""
        ...

    def value_and_gradient(self, theta: Array, at: Points) -> tuple[Array, Array]:
        """What `predict` and `gradient` give."""
        ...

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        """Internal (P,) -> the papers' parameters by name."""
        ...


@dataclass(frozen=True)
class Member:
    """A member of a blend, as it is printed and stored.

    Attributes:
        law, emphasis, early: its recipe.
        weight: in the blend.
        transfer_error: on runs that its fits had not seen, a mean log-error; NaN where none could be kept out.
        params: the papers' parameters.
    """

    law: str
    emphasis: float
    early: float
    weight: float
    transfer_error: float
    params: dict[str, float]


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
        draws: the parameters of every bootstrap draw, behind the interval; not stored.
        members: of a blend, each with its recipe, weight, error on unseen runs and parameters; the first is that
            of `params`. A law alone is one member.
    """

    law: str
    target: str
    rows: int
    params: dict[str, float]
    interval: dict[str, tuple[float, float]]
    objective: float
    status: str
    warnings: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    draws: list[dict[str, float]] = field(default_factory=list, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The keys of `mixlab fit --json`; a number that is not finite becomes null."""
        data = asdict(replace(self, draws=[]))
        del data["draws"]
        for one in (data, *data["members"]):
            one["params"] = {name: _finite(value) for name, value in one["params"].items()}
        for one in data["members"]:
            one["transfer_error"] = _finite(one["transfer_error"])
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
            members=[
                Member(
                    **{
                        **one,
                        "transfer_error": number(one["transfer_error"]),
                        "params": {name: number(value) for name, value in one["params"].items()},
                    }
                )
                for one in data.get("members", ())
            ],
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
