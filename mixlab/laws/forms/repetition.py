"""`repetition`: text that is seen again counts for less (Muennighoff et al. 2023).

    D_i' = D_i                                      up to U_i, the unique tokens of domain i
    D_i' = U_i + U_i R* (1 - exp(-r_i / R*))        beyond, with r_i = D_i / U_i - 1 repeats

The laws here are those of effective data (`effective.py`) in which domain i counts D_i' in place of D_i = h_i D;
without mixtures there is one domain, all text. One R* holds for all of them. At R* = 15 four epochs count for 3.7,
sixteen for 10.5, and any number for less than 16.

The paper lets parameters beyond what U supports decay in the same way; `DataConstrained` is its law, with both decays,
at fixed parameters. The laws that are fitted here let tokens alone decay: on the paper's runs this predicts many epochs
from few as well, with one parameter less and without U_N, which ties the decay to all the others (EXPERIMENTS.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.arrays import Array
from mixlab.laws.forms.effective import LEAST_COUNT, EffectiveData, Shares, seen_tokens
from mixlab.laws.forms.points import Observations, Points

# The published R*, to within a factor of 1.6 (two standard deviations). Rows of few epochs hardly tell R* from beta:
# with a prior four times as wide it ends between 19 and 51, by the rows and Huber's threshold (EXPERIMENTS.md).
REPEATS_PRIOR = (float(np.log(15.0)), 0.25)
REPEATS_BOX = (0.05, 1e5)  # from repeats that are worth nothing to repeats as good as fresh text


def effective(seen: ArrayLike, unique: ArrayLike, repeats: ArrayLike) -> tuple[Array, Array, Array]:
    """What `seen` tokens (or parameters) count for when `unique` of them are new, and R* is `repeats`.

    Arrays of any shapes that broadcast; `unique` may be infinite.

    Returns:
        The effective tokens D', and their derivatives by D and by log R*.
    """
    D, U, R = (np.asarray(value, dtype=float) for value in (seen, unique, repeats))
    over = D > U
    U = np.where(over, U, 1.0)  # infinite ones too, which count nothing
    r = np.where(over, D / U - 1, 0.0)
    kept, gained = np.exp(-r / R), -R * np.expm1(-r / R)
    return np.where(over, U * (1 + gained), D), kept, np.where(over, U * (gained - r * kept), 0.0)


class Repetition(EffectiveData):
    """theta = (that of `EffectiveData`, log R*)."""

    needs = frozenset({"unique"})
    takes = EffectiveData.takes | {"epochs"}

    def size(self, domains: int) -> int:
        return super().size(domains) + 1

    def prior(self, domains: int) -> tuple[Array, Array]:
        mean, deviation = super().prior(domains)
        mean[-1], deviation[-1] = REPEATS_PRIOR
        return mean, deviation

    def box(self, rows: Observations) -> tuple[Array, Array, NDArray[np.bool_]]:
        # Rows that repeat nothing say nothing about R*. It then stands where it was published, and the law still counts
        # the repeats of a larger run for less, which is what it is asked for.
        pinned = not rows.repeated.any()
        low, high = np.full(2, REPEATS_PRIOR[0]) if pinned else np.log(REPEATS_BOX)
        lower, upper, report = super().box(rows)
        return np.append(lower, low), np.append(upper, high), np.append(report, False)

    def initial(self, rows: Observations, rng: np.random.Generator) -> Array:
        supposed = float(np.exp(REPEATS_PRIOR[0]))
        counted = effective(seen_tokens(rows), rows.unique, supposed)[0].sum(axis=1)
        starts = super().initial(replace(rows, tokens=counted), rng)
        return np.column_stack([starts, np.full(len(starts), REPEATS_PRIOR[0])])

    def natural(self, theta: Array, centre: tuple[float, float], domains: Sequence[str]) -> dict[str, float]:
        return super().natural(theta[:-1], centre, domains) | {"R": float(np.exp(theta[-1]))}

    def example(self, domains: Sequence[str]) -> dict[str, float]:
        return super().example(domains) | {"R": 8.0}

    def _counted(self, params: Mapping[str, float], at: Points) -> Array:
        """D_i', shape (M, K); of all text, shape (M, 1), without mixtures."""
        return effective(seen_tokens(at), at.unique, params["R"])[0]

    def _shares(self, theta: Array, at: Points) -> Shares:
        fresh = super()._shares(theta, at)
        if not at.repeated.any():
            return replace(fresh, log_by_r=np.zeros_like(fresh.counted))
        unique = at.unique / at.tokens[:, None]
        counted, by_h, by_r = effective(fresh.counted, unique, np.exp(theta[:, -1, None, None]))
        return Shares(counted, by_h, by_r / np.maximum(counted, LEAST_COUNT))


@dataclass(frozen=True)
class DataConstrained:
    """The published law: L = E + A N'^-alpha + B D'^-beta, in which tokens and parameters beyond U both decay.

    Attributes:
        E, A, B, alpha, beta: of the law for fresh text, N and D in units.
        R_D, R_N: R* of tokens and of parameters.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    R_D: float
    R_N: float

    def best_params(self, unique: ArrayLike) -> Array:
        """U_N: the compute-optimal N for `unique` tokens seen once, where alpha A N^-alpha = beta B U^-beta."""
        ratio = np.log(self.alpha * self.A / (self.beta * self.B))
        return np.exp((ratio + self.beta * np.log(np.asarray(unique, dtype=float))) / self.alpha)

    def loss(self, params: ArrayLike, tokens: ArrayLike, unique: ArrayLike) -> Array:
        """L(N, D, U), nats per token; arrays that broadcast."""
        n = effective(params, self.best_params(unique), self.R_N)[0]
        d = effective(tokens, unique, self.R_D)[0]
        return np.asarray(self.E + self.A * n**-self.alpha + self.B * d**-self.beta)


# Fitted to 182 runs on C4, 7M to 8.7B parameters; R2 .7722 on those.
MUENNIGHOFF = DataConstrained(
    E=float(np.exp(0.6254804)),
    A=float(np.exp(6.255414)),
    B=float(np.exp(7.3049974)),
    alpha=0.3526596,
    beta=0.3526596,
    R_D=15.387756,
    R_N=5.309743,
)
