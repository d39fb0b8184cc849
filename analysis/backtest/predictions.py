"""What a fit predicts for the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import RunTableError
from mixlab.laws.predictor import LEVEL, Predictor
from mixlab.runs.table import Runs


@dataclass(frozen=True)
class Prediction:
    """One target over the held-out rows, arrays of shape (n,), nats or accuracy, with the 90% prediction interval."""

    observed: Array
    predicted: Array
    low: Array | None = None
    high: Array | None = None


def predict_table(fitted: Predictor, table: Runs, targets: Sequence[str], *, intervals: bool) -> dict[str, Prediction]:
    """The predictions for the rows of a table, by target."""
    mixture, params, tokens = points_of(fitted.domains, table)
    fitted = fitted.with_supply(_supply(fitted.domains, table))
    predicted = fitted.predict_targets(mixture, params, tokens)
    result = {}
    for name in targets:
        low, high = None, None
        if intervals:
            low, high = fitted.interval(mixture, params, tokens, level=LEVEL, kind="prediction", target=name)
        result[name] = Prediction(table.column(name), predicted[name], low, high)
    return result


def points_of(domains: tuple[str, ...], table: Runs) -> tuple[Array | None, Array, Array]:
    """h (n, K) in the law's order, N (n,), D (n,); ones stand for a column that the table does not have."""
    count = len(table)
    params = table.params() if table.has("params") or table.has("params_non_embed") else np.ones(count)
    tokens = table.tokens() if table.has("tokens") else np.ones(count)
    if not domains:
        return None, params, tokens
    for first, second, side in ((domains, table.domains, "held-out"), (table.domains, domains, "fitted")):
        missing = [name for name in first if name not in second]
        if missing:
            raise RunTableError(
                f"both tables must have the same domains, but `mix.{missing[0]}` is not among the {side} ones",
                "rename the columns, or add the missing one with weight 0",
            )
    order = [table.domains.index(name) for name in domains]
    return table.mixtures()[:, order], params, tokens


def _supply(domains: tuple[str, ...], table: Runs) -> Array:
    """Unique tokens of each row in the law's order, shape (n, K), or (n, 1); `inf` where they are not known."""
    return table.unique()[:, [table.domains.index(name) for name in domains]] if domains else table.unique()
