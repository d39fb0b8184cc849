"""Domains, mixtures of them, and the space of mixtures that may be trained.

A mixture is a point on the simplex: one weight per domain, a fraction of *tokens*. Arrays of mixtures have
shape (..., K) with the K domains in the order of `MixtureSpace.domains`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab import polytope, supports
from mixlab.arrays import Array
from mixlab.constraints import LinearConstraint
from mixlab.errors import ConfigError, InfeasibleError, argument, did_you_mean
from mixlab.units import format_quantity

SUM_TOLERANCE = 1e-6
ROUNDING = 1e-12
MOST_KNOWN = 4096  # token counts whose feasibility is remembered


@dataclass(frozen=True)
class Domain:
    """A named slice of text with its count of unique training tokens (`inf` where it is not known)."""

    name: str
    unique_tokens: float = math.inf

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a domain needs a name, but got an empty one")
        if not self.unique_tokens >= 0:
            raise ConfigError(f"unique tokens must be >= 0, but domain `{self.name}` has {self.unique_tokens}")


@dataclass(frozen=True)
class Mixture(Mapping[str, float]):
    """Weights over domains that sum to 1.

    Raises:
        ConfigError: on a negative or non-finite weight, or a sum that is not 1 within `SUM_TOLERANCE`.
    """

    weights: tuple[tuple[str, float], ...]

    def __init__(self, weights: Mapping[str, float]) -> None:
        pairs = tuple((str(name), float(weight)) for name, weight in weights.items())
        bad = [f"{name}={weight}" for name, weight in pairs if not (math.isfinite(weight) and weight >= 0)]
        if bad:
            raise ConfigError(f"weights must be finite and >= 0, but got {', '.join(bad)}")
        total = sum(weight for _, weight in pairs)
        if abs(total - 1) > SUM_TOLERANCE:
            raise ConfigError(
                f"the weights of a mixture must sum to 1, but they sum to {total:.6g} ({total - 1:+.3g})",
                "correct the weights",
            )
        if abs(total - 1) > ROUNDING:
            pairs = tuple((name, weight / total) for name, weight in pairs)
        # Otherwise kept to the last bit: a mixture that is written and read again is the same mixture.
        object.__setattr__(self, "weights", pairs)

    @classmethod
    def normalized(cls, weights: Mapping[str, float]) -> Mixture:
        """The mixture proportional to non-negative `weights`."""
        total = float(sum(weights.values()))
        if not (math.isfinite(total) and total > 0):
            raise ConfigError(f"weights must have a positive, finite sum to be normalised, but got {total}")
        return cls({name: weight / total for name, weight in weights.items()})

    @classmethod
    def from_array(cls, domains: Sequence[str], values: ArrayLike) -> Mixture:
        """The mixture with the (K,) `values` over `domains`, clipped at 0 and rescaled to sum to 1."""
        clipped = np.clip(np.asarray(values, dtype=float), 0.0, None)
        return cls.normalized(dict(zip(domains, clipped.tolist(), strict=True)))

    def array(self, domains: Sequence[str]) -> Array:
        """Weights in the order of `domains`, shape (K,); a domain outside the mixture has weight 0."""
        strangers = [name for name in self if name not in domains]
        if strangers:
            raise ConfigError(f"the mixture names domain `{strangers[0]}`", did_you_mean(strangers[0], domains))
        return np.array([self.get(name, 0.0) for name in domains])

    def __getitem__(self, name: str) -> float:
        for key, weight in self.weights:
            if key == name:
                return weight
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def __hash__(self) -> int:
        return hash(self.weights)

    def __str__(self) -> str:
        return " ".join(f"{name}={weight:.3f}" for name, weight in self.weights)


def limit_in_words(limit: int) -> str:
    """What a limit on domains is called in messages."""
    return f"at most {limit} domain{'s' if limit > 1 else ''}"


@dataclass(frozen=True)
class MixtureSpace:
    """The mixtures that may be trained: the simplex cut by bounds, linear constraints and each domain's token supply.

    With `max_domains` it is the part of that where few domains have weight, which is not convex.

    Attributes:
        domains: the K domains, in the order of every mixture array.
        lower: smallest weight by domain name (absent: 0).
        upper: largest weight by domain name (absent: 1).
        max_epochs: how often a domain's unique tokens may be seen; with a token count D it caps the weight
            at `max_epochs * unique_tokens / D`.
        constraints: on several weights at once.
        max_domains: at most so many domains have weight; None: any number.
    """

    domains: tuple[Domain, ...]
    lower: Mapping[str, float] = field(default_factory=dict)
    upper: Mapping[str, float] = field(default_factory=dict)
    max_epochs: float = math.inf
    constraints: tuple[LinearConstraint, ...] = ()
    max_domains: int | None = None

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names) or not names:
            raise ConfigError(f"a mixture space needs one or more domains with different names, but got {names}")
        for bounds in (self.lower, self.upper):
            for name, value in bounds.items():
                if name not in names:
                    raise ConfigError(f"a bound names domain `{name}`", did_you_mean(name, names))
                if not 0 <= value <= 1:
                    raise ConfigError(f"a bound on a weight lies in 0..1, but `{name}` has {value}")
        for constraint in self.constraints:
            constraint.require(names)
        if not self.max_epochs > 0:
            raise ConfigError(f"max_epochs must be > 0, but got {self.max_epochs}")
        if self.max_domains is not None and not self.max_domains >= 1:
            raise ConfigError(f"max_domains must be at least 1, but got {self.max_domains}")
        self.bounds(tokens=0.0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(domain.name for domain in self.domains)

    @property
    def limit(self) -> int | None:
        """How many domains may have weight, where not all may."""
        few = self.max_domains is not None and self.max_domains < len(self.domains)
        return self.max_domains if few else None

    @cached_property
    def unlimited(self) -> MixtureSpace:
        """The same with weight on any number of domains."""
        return self if self.max_domains is None else replace(self, max_domains=None)

    def within(self, kept: Sequence[bool] | NDArray[np.bool_]) -> MixtureSpace:
        """The same where the domains that are not `kept`, shape (K,), have no weight, and all others may.

        Raises:
            InfeasibleError: when no mixture keeps bounds and constraints there.
        """
        none = {name: 0.0 for name, keep in zip(self.names, kept, strict=True) if not keep}
        return replace(self, upper={**self.upper, **none}, max_domains=None)

    @property
    def unique_tokens(self) -> Array:
        """Supply by domain, shape (K,)."""
        return np.array([domain.unique_tokens for domain in self.domains])

    def bounds(self, tokens: float) -> tuple[Array, Array]:
        """Lower and upper weight by domain at `tokens` training tokens, each of shape (K,).

        Raises:
            InfeasibleError: when no mixture fits between them.
        """
        lower, upper = self._box(tokens)
        crossed = lower > upper + SUM_TOLERANCE
        if crossed.any():
            worst = int(np.argmax(lower - upper))
            raise InfeasibleError(
                f"domain `{self.names[worst]}` must have weight >= {lower[worst]:.4g} but at most "
                f"{upper[worst]:.4g} is allowed at {format_quantity(tokens)} tokens",
                "lower its minimum, raise its maximum, allow more epochs or add text",
            )
        if lower.sum() > 1 + SUM_TOLERANCE or upper.sum() < 1 - SUM_TOLERANCE:
            supply = float(np.sum(self.unique_tokens))
            raise InfeasibleError(
                f"weights between the bounds must be able to sum to 1, but the minima sum to {lower.sum():.4g} "
                f"and the maxima to {upper.sum():.4g} at {format_quantity(tokens)} tokens "
                f"({format_quantity(supply)} unique tokens, at most {self.max_epochs:g} epochs); "
                f"these clash: {self._clash(tokens)}",
                "allow more epochs, add text, widen the bounds or plan fewer tokens",
            )
        if self.constraints and self._constraints_clash(upper, tokens):
            raise InfeasibleError(
                f"no mixture keeps all of these{f' at {format_quantity(tokens)} tokens' if tokens else ''}: "
                f"{self._clash(tokens)}",
                "relax one of them: without any one of them there is a mixture",
            )
        if self.limit is not None and (fewest := self._fewest(lower, upper)) > self.limit:
            raise InfeasibleError(
                f"no mixture keeps all of these{f' at {format_quantity(tokens)} tokens' if tokens else ''}: "
                f"{self._clash(tokens, self.limit)}",
                f"allow {fewest:.0f} domains, or relax another of them: without any one of them there is a mixture",
            )
        return lower, np.minimum(upper, 1.0)

    def linear(self, tokens: float = 0.0) -> tuple[Array, Array, Array]:
        """The constraints on several weights at `tokens` training tokens: low <= A h <= high.

        Returns:
            A, shape (m, K), low and high, each (m,), infinite where a constraint has no such end. That weights sum to
            1, and the bounds, are not among them.
        """
        rows = [constraint.row(self.names) for constraint in self.constraints]
        low, high = ([getattr(one, end) for one in self.constraints] for end in ("lower", "upper"))
        return np.array(rows).reshape(len(rows), len(self.names)), np.array(low), np.array(high)

    def _box(self, tokens: float) -> tuple[Array, Array]:
        """Bounds, and caps by the supply, whether or not a mixture keeps them."""
        lower = np.array([self.lower.get(name, 0.0) for name in self.names])
        upper = np.array([self.upper.get(name, 1.0) for name in self.names])
        if tokens > 0:
            with np.errstate(invalid="ignore"):
                upper = np.minimum(upper, self.max_epochs * self.unique_tokens / tokens)
        return lower, upper

    def _constraints_clash(self, upper: Array, tokens: float) -> bool:
        """Whether no mixture keeps them; known from before where the caps are no other."""
        key = upper.tobytes()
        if key not in self._known_clashes:
            if len(self._known_clashes) > MOST_KNOWN:
                self._known_clashes.clear()
            self._known_clashes[key] = polytope.is_empty(self._rows(tokens), len(self.names))
        return self._known_clashes[key]

    @cached_property
    def _known_clashes(self) -> dict[bytes, bool]:
        return {}

    def _fewest(self, lower: Array, upper: Array) -> float:
        """The smallest number of domains of any mixture; known from before where the caps are no other."""
        key = upper.tobytes()
        if key not in self._known_fewest:
            if len(self._known_fewest) > MOST_KNOWN:
                self._known_fewest.clear()
            self._known_fewest[key] = self._faces(lower, upper).fewest()
        return self._known_fewest[key]

    @cached_property
    def _known_fewest(self) -> dict[bytes, float]:
        return {}

    def faces(self, tokens: float = 0.0) -> supports.Faces:
        """The parts of the space, one for each choice of the domains that have weight, at `tokens` training tokens.

        Raises:
            InfeasibleError: when no mixture keeps bounds, constraints and the limit on domains.
        """
        return self._faces(*self.bounds(tokens))

    def _faces(self, lower: Array, upper: Array) -> supports.Faces:
        rank = np.argsort(np.argsort(self.names))
        most = len(self.names) if self.limit is None else self.limit
        return supports.Faces(lower, np.clip(upper, lower, 1.0), *self.linear(), most, rank)

    def _rows(self, tokens: float) -> list[polytope.Row]:
        """Bounds, caps and constraints by their names, those that are most often meant to hold last."""
        eye = np.eye(len(self.names))
        lower, upper = self._box(tokens)
        rows = []
        for k, name in enumerate(self.names):
            if lower[k] > 0:
                rows.append(polytope.Row(f"{name} >= {lower[k]:.4g}", eye[k], lower[k], math.inf))
            if upper[k] < 1:
                capped = upper[k] < self.upper.get(name, 1.0)
                unique = format_quantity(self.domains[k].unique_tokens)
                why = f" ({self.max_epochs:g} epochs of {unique} tokens)" if capped else ""
                rows.append(polytope.Row(f"{name} <= {upper[k]:.4g}{why}", eye[k], -math.inf, upper[k]))
        for one in self.constraints:
            rows.append(polytope.Row(one.text, one.row(self.names), one.lower, one.upper))
        return rows

    def _clash(self, tokens: float, limit: int | None = None) -> str:
        """The names of a smallest set that no mixture keeps, among them a `limit` on domains where one is given."""
        rows, K = self._rows(tokens), len(self.names)
        if limit is None:
            return ", ".join(f"`{row.said}`" for row in polytope.clash(rows, K))
        whole = polytope.Row(limit_in_words(limit), np.zeros(K), -math.inf, math.inf)

        def clashes(some: Sequence[polytope.Row]) -> bool:
            kept = [row for row in some if row is not whole]
            return supports.is_empty(kept, K, K if len(kept) == len(some) else limit)

        return ", ".join(f"`{row.said}`" for row in polytope.smallest([whole, *rows], clashes))

    def most_tokens(self) -> float:
        """The largest training token count at which some mixture keeps bounds, constraints and caps; `inf` without.

        A limit on domains counts too.
        """
        if self.constraints:
            lower, upper = self._box(0.0)
            if self.limit is not None:
                return self._faces(lower, upper).most_scale(self.max_epochs * self.unique_tokens)
            return polytope.most_scale(lower, upper, self.max_epochs * self.unique_tokens, *self.linear())
        low, high = 0.0, 1.0
        while self._feasible(high):
            low, high = high, 10 * high
            if high > 1e30:
                return math.inf
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self._feasible(middle) else (low, middle)
        return low

    def _feasible(self, tokens: float) -> bool:
        """Whether some mixture keeps bounds, caps and the limit on domains."""
        lower, upper = self._box(tokens)
        fits = lower.sum() <= 1 + SUM_TOLERANCE and upper.sum() >= 1 - SUM_TOLERANCE
        if not fits or np.any(lower > upper + SUM_TOLERANCE):
            return False
        return self.limit is None or self._faces(lower, upper).fewest() <= self.limit

    def contains(self, mixture: Mixture, tokens: float = 0.0, tolerance: float = 1e-6) -> bool:
        """Whether `mixture` keeps bounds, constraints and the limit on domains at `tokens` training tokens."""
        lower, upper = self.bounds(tokens)
        A, low, high = self.linear(tokens)
        values = mixture.array(self.names)
        if self.limit is not None and np.sum(values > tolerance) > self.limit:
            return False
        inside = np.all(values >= lower - tolerance) and np.all(values <= upper + tolerance)
        return bool(inside and np.all(A @ values >= low - tolerance) and np.all(A @ values <= high + tolerance))

    def project(self, values: ArrayLike, tokens: float = 0.0) -> Array:
        """The nearest points (Euclidean) inside the space, shape (..., K) as given.

        With a limit on domains they are the nearest for their largest weights; see `supports.Faces.project`.
        """
        if self.limit is not None:
            return self.faces(tokens).project(np.asarray(values, dtype=float))
        lower, upper = self.bounds(tokens)
        return polytope.project(np.asarray(values, dtype=float), lower, upper, *self.linear(tokens))

    def uniform(self, tokens: float = 0.0) -> Mixture:
        """Equal weights over all domains, moved inside bounds and constraints.

        It need not keep a limit on domains: any choice among equals would be arbitrary. `project` makes one.
        """
        even = np.full(len(self.names), 1 / len(self.names))
        return Mixture.from_array(self.names, self.unlimited.project(even, tokens))

    def proportional(self, tokens: float = 0.0, supply: Mapping[str, float] | None = None) -> Mixture:
        """Weights in proportion to unique tokens (of `supply`, where it is given), moved inside bounds and constraints.

        As of the uniform mixture, it need not keep a limit on domains: it is what is trained where nobody chooses.

        Raises:
            ConfigError: when the unique tokens of a domain are not known.
        """
        known = dict(zip(self.names, self.unique_tokens, strict=True)) if supply is None else supply
        counts = np.array([known[name] for name in self.names])
        if not np.all(np.isfinite(counts)) or counts.sum() <= 0:
            raise ConfigError(
                "the proportional mixture needs the unique tokens of every domain",
                f"state the supply, {argument('supply', '--unique')}, or add a `unique.<domain>` column",
            )
        return Mixture.from_array(self.names, self.unlimited.project(counts / counts.sum(), tokens))

    def epochs(self, mixture: Mixture, tokens: float) -> dict[str, float]:
        """How often each domain's unique tokens are seen in `tokens` training tokens of `mixture`."""
        values = mixture.array(self.names)
        return {
            domain.name: float(weight * tokens / domain.unique_tokens) if weight > 0 else 0.0
            for domain, weight in zip(self.domains, values, strict=True)
        }
