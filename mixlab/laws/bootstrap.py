"""The bootstrap: tables that a fit could have made, fits to those, and intervals from what such draws say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.arrays import Array
from mixlab.laws.choice.blend import Blend, FitRecipe, Resamples
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.points import Observations
from mixlab.laws.predictor import LEVEL


def bootstrap_losses(
    observed: Array, fitted: Array, run: NDArray[np.int64], parameters: int, count: int, seed: int
) -> Array:
    """`count` tables that the fitted law could have made, shape (count, n): a wild bootstrap by run (Wu 1986).

    Log-residuals keep their size and change their sign, together for all rows of a run, which share its luck. Rows are
    not drawn: mixtures, sizes and budgets were chosen, not met by chance, and the few runs that say what a domain is
    worth must stay in every table.

    Args:
        observed, fitted: losses, shape (n,).
        run: index of each row's run, shape (n,).
        parameters: of the law, for which residuals are widened.
        count: tables.
        seed: of the signs; equal seeds give several targets the same signs.
    """
    runs, index = np.unique(run, return_inverse=True)
    signs = np.random.default_rng((seed, 3)).choice([-1.0, 1.0], (count, len(runs)))[:, index]
    widened = math.sqrt(len(observed) / max(1, len(observed) - parameters))
    return np.asarray(fitted * np.exp(signs * widened * np.log(observed / fitted)))


def resample(
    members: Sequence[tuple[FitRecipe, float]], blend: Blend, rows: Observations, flops: Array, count: int, seed: int
) -> Resamples:
    """`count` draws, each of a member fitted to a table that this member could have made; members take turns."""
    turns = min(len(members), count)
    return Resamples(
        tuple(
            refit(members[turn][0], blend.fits[turn], rows, flops, count, seed, slice(turn, None, len(members)))
            for turn in range(turns)
        )
    )


def refit(
    recipe: FitRecipe, fit: Fits, rows: Observations, flops: Array, count: int, seed: int, draws: slice = slice(None)
) -> Fits:
    """The recipe fitted to those of `count` tables that its fit could have made."""
    losses = bootstrap_losses(rows.loss, fit.predict(rows)[0], rows.run, recipe.form.free(rows), count, seed)[draws]
    return recipe.fit(rows.with_loss(losses), flops, np.ones(losses.shape), seed, fit.theta[0])


def percentile_interval(
    draws: Array | Sequence[float], level: float, point: ArrayLike | None = None
) -> tuple[Array, Array]:
    """The middle `level` of draws (B, ...), each end of shape (...), by their percentiles (Efron 1981).

    Args:
        draws: B draws.
        level: coverage, for instance 0.9.
        point: what the interval is widened to hold, shape (...): refits may shrink away from the fit.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return (low, high) if point is None else (np.minimum(low, point), np.maximum(high, point))


def parameter_intervals(draws: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """The middle `LEVEL` of each parameter over draws of all of them; none without draws."""
    names = draws[0] if draws else ()
    ends = {name: percentile_interval([draw[name] for draw in draws], LEVEL) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
