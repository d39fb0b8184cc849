"""Values as people give them: "1e21" or 1e21, a dict or a frame of weights, a name of a loss with or without `loss.`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import ConfigError, RunTableError, did_you_mean
from mixlab.mixture import Mixture
from mixlab.objective import PREFIX, Objective
from mixlab.runs.table import Runs
from mixlab.units import parse_quantity

Quantity: TypeAlias = "float | int | str"
Quantities: TypeAlias = "Quantity | Sequence[Quantity] | NDArray[Any] | pd.Series[Any]"
Weights: TypeAlias = Mapping[str, "float | str"]
Mixtures: TypeAlias = "Weights | Sequence[Weights] | pd.DataFrame"


def quantity(value: Quantity | None, name: str) -> float | None:
    """A positive number; None stays None.

    Raises:
        ConfigError: when it is no number, or not positive.
    """
    if value is None:
        return None
    number = parse_quantity(value.item() if isinstance(value, np.generic) else value)
    if not number > 0:
        raise ConfigError(f"{name} must be > 0, but got {value}")
    return number


def quantities(values: Quantities | None, name: str) -> Array:
    """One or more positive numbers, shape (M,); a one where nothing is given."""
    if values is None:
        return np.ones(1)
    several = [values] if isinstance(values, (str, int, float, np.generic)) else list(values)
    if not several:
        raise ConfigError(f"{name} must have one value or more, but got none")
    return np.array([quantity(value, name) for value in several], dtype=float)


def weights(given: Weights | None) -> dict[str, float] | None:
    """Numbers by name."""
    if given is None:
        return None
    return {str(name): parse_quantity(value) for name, value in given.items()}


def mixture(given: Weights | None, domains: Sequence[str]) -> Mixture | None:
    """A mixture over all of `domains`: those that are not named have weight 0.

    Raises:
        ConfigError: on another domain, or weights that do not sum to 1.
    """
    if given is None:
        return None
    found = weights(given) or {}
    for name in found:
        if name not in domains:
            if not domains:
                raise ConfigError("the table has no mix.<domain> columns, so a mixture means nothing here")
            raise ConfigError(f"the table has no domain `{name}`", did_you_mean(name, domains))
    return Mixture({name: found.get(name, 0.0) for name in domains})


def mixtures(given: Mixtures | None, domains: Sequence[str]) -> Array | None:
    """Mixtures of `domains`, shape (M, K); a frame has a row each, its columns named with or without `mix.`."""
    if given is None:
        return None
    if isinstance(given, pd.DataFrame):
        frame = given.rename(columns=lambda name: str(name).removeprefix("mix."))
        kept = frame[[name for name in frame.columns if name in domains]]
        each: list[Weights] = [dict(zip(kept.columns, row, strict=True)) for row in kept.to_numpy(dtype=float)]
    else:
        each = [given] if isinstance(given, Mapping) else list(given)
    found = [mixture(one, domains) for one in each]
    return np.array([one.array(domains) for one in found if one is not None])


def objective(runs: Runs, target: str | None, targets: Weights | None) -> Objective | None:
    """The objective that is asked for: a column, or weights over several; an evaluation set needs no `loss.` before it.

    Raises:
        ConfigError: when both are given, or the weights do not sum to 1.
        RunTableError: when a column is missing.
    """
    if target is not None and targets is not None:
        raise ConfigError("one target and several targets are both given", "leave one of them out")
    if target is not None:
        return Objective.column(column(runs, target))
    found = weights(targets)
    if found is None:
        return None
    named = {_of_eval(runs, name): weight for name, weight in found.items()}
    if len(named) == 1:
        return Objective.column(next(iter(named)))
    others = [name for name in named if not name.startswith(PREFIX)]
    if others:
        raise ConfigError(f"several targets must be `loss.<eval>` columns, but one is `{others[0]}`", "take it alone")
    return Objective.over({name.removeprefix(PREFIX): weight for name, weight in named.items()}, "the targets")


def _of_eval(runs: Runs, name: str) -> str:
    """The column of one of several targets."""
    if runs.has(name) or runs.has(PREFIX + name):
        return column(runs, name)
    plain = name.removeprefix(PREFIX)
    raise ConfigError(f"the table has no column `{PREFIX}{plain}`", did_you_mean(plain, runs.evals))


def column(runs: Runs, name: str) -> str:
    """The column that `name` means: itself, or the loss on the evaluation set that is called so.

    Raises:
        RunTableError: when there is none, with the nearest name.
    """
    if runs.has(name):
        return name
    if runs.has(PREFIX + name):
        return PREFIX + name
    known = [str(one) for one in runs.frame.columns]
    raise RunTableError(f"the table has no column `{name}`", did_you_mean(name, known))
