"""Values as people give them: "1e21" or 1e21, a dict or a frame of weights, a name of a loss with or without `loss.`"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.constraints import LinearConstraint, parse_constraint
from mixlab.errors import ConfigError, did_you_mean, require_kind
from mixlab.mixture import Mixture
from mixlab.objective import PREFIX, Objective
from mixlab.runs.table import Runs, no_column
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
    number = _parsed(name, value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value)
    if not number > 0:
        raise ConfigError(f"{name} must be > 0, but got {value}")
    return number


def quantities(values: Quantities | None, name: str) -> Array:
    """One or more positive numbers, shape (M,); a one where nothing is given."""
    if values is None:
        return np.ones(1)
    several: list[Any]
    if isinstance(values, Iterable) and not isinstance(values, str) and getattr(values, "ndim", 1) > 0:
        several = list(values)
    else:
        several = [values]
    if not several:
        raise ConfigError(f"{name} must have one value or more, but got none")
    return np.array([quantity(value, name) for value in several], dtype=float)


def _parsed(name: str, value: object) -> float:
    """A number, or an error that says which of the arguments it is about."""
    try:
        return parse_quantity(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", error.hint) from None


def count(value: int, name: str, least: int = 0) -> int:
    """A whole number.

    Raises:
        ConfigError: when it is none, or less than `least`.
    """
    require_kind(name, value, Integral, "a whole number")
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, but got {value}")
    return int(value)


def within(value: Quantity, name: str, least: float, most: float = math.inf, *, inside: bool = False) -> float:
    """A number from `least` to `most`, or `inside` the two.

    Raises:
        ConfigError: when it is none, or lies beyond.
    """
    found = _parsed(name, value)
    if not least <= found <= most or (inside and found in (least, most)):
        between = f"between {least:g} and {most:g}" if math.isfinite(most) else f"at least {least:g}"
        raise ConfigError(f"{name} must be {between}, but got {value}")
    return found


def level(value: float) -> float:
    """The coverage of an interval.

    Raises:
        ConfigError: when it does not lie between 0 and 1.
    """
    return within(value, "level", 0, 1, inside=True)


def of_benchmark(
    chance: float | None, items: int | None, bootstrap: int, seed: int
) -> tuple[float | None, int | None, int, int]:
    """What is said of a benchmark and of its resamples, checked."""
    return (
        None if chance is None else within(chance, "chance", 0, 1),
        None if items is None else count(items, "items", 1),
        count(bootstrap, "bootstrap"),
        count(seed, "seed"),
    )


def weights(given: Weights | None, name: str = "weights") -> dict[str, float] | None:
    """Numbers by name.

    Raises:
        ConfigError: when it is no dict, or holds something else.
    """
    if given is None:
        return None
    require_kind(name, given, (Mapping, pd.Series), "a dict of numbers by name", 'such as {"code": 0.4}')
    return {str(key): _parsed(f"{name}, `{key}`", value) for key, value in given.items()}


def constraints(given: str | Sequence[str]) -> tuple[LinearConstraint, ...]:
    """One constraint on weights, or several.

    Raises:
        ConfigError: when one is none.
    """
    texts = (given,) if isinstance(given, str) else tuple(given or ())
    for text in texts:
        require_kind("constraints", text, str, "text such as `code + math >= 0.3`, or several")
    return tuple(parse_constraint(text) for text in texts)


def mixture(given: Weights | None, domains: Sequence[str]) -> Mixture | None:
    """A mixture over all of `domains`: those that are not named have weight 0.

    Raises:
        ConfigError: on another domain, or weights that do not sum to 1.
    """
    if given is None:
        return None
    found = weights(given, "a mixture") or {}
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
        each: list[Any] = kept.to_dict(orient="records")
    else:
        alone = isinstance(given, (str, Mapping, pd.Series)) or not isinstance(given, Iterable)
        each = [given] if alone else list(given)
    if not each:
        raise ConfigError("mix must have one mixture or more, but got none")
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
    found = weights(targets, "targets")
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
    require_kind("a column", name, str, "a name", "several losses go into targets={name: weight}")
    if runs.has(name):
        return name
    if runs.has(PREFIX + name):
        return PREFIX + name
    raise no_column(f"`{name}`", name, map(str, runs.frame.columns))
