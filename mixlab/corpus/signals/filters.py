"""Which documents a filter keeps (`quality > .3`), and buckets of equal tokens along a signal."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import ConfigError, CorpusError, argument, did_you_mean

_CLAUSE = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
_BUCKETS = {2: ("low", "high"), 3: ("low", "middle", "high")}

Signals = Mapping[str, NDArray[np.floating]]
Mask = NDArray[np.bool_]


def signal(signals: Signals, name: str) -> NDArray[np.floating]:
    """A signal by name, shape (n,).

    Raises:
        ConfigError: when there is none of the name.
    """
    if name not in signals:
        hint = did_you_mean(name, signals)
        if name == "quality":
            hint = f"give a file of good text by {argument('good')}"
        if name == "perplexity":
            hint = f"let `mixlab score DIR` write it, and give the file by {argument('scores')}"
        raise ConfigError(f"there is no signal `{name}`", hint)
    return signals[name]


def keep(signals: Signals, expression: str) -> Mask:
    """Documents that meet `NAME < NUMBER [and ...]`, shape (n,).

    Raises:
        ConfigError: on another form, or a signal there is not.
    """
    mask: Mask | None = None
    for clause in re.split(r"\band\b", expression):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise ConfigError(
                f"{argument('keep')} takes comparisons such as 'quality > .3 and length >= 200', "
                f"but got `{clause.strip()}`",
                f"signals: {', '.join(signals)}",
            )
        met: Mask = _COMPARE[match[2]](signal(signals, match[1]), float(match[3]))
        mask = met if mask is None else mask & met
    assert mask is not None, "a split has at least one piece"
    return mask


def drop_lowest(signals: Signals, value: str, usual: str | None) -> Mask:
    """Documents that stay when the lowest FRACTION of `[SIGNAL=]FRACTION` goes, shape (n,); ties stay in order.

    Args:
        usual: the signal where none is named.

    Raises:
        ConfigError: on another form, or a fraction outside 0..1.
    """
    name, _, number = value.rpartition("=")
    name = name or usual or "quality"
    try:
        fraction = float(number)
    except ValueError:
        fraction = -1.0
    if not 0 < fraction < 1:
        raise ConfigError(
            f"{argument('drop_lowest')} takes a fraction between 0 and 1, but got `{value}`",
            "for example quality=0.2",
        )
    values = signal(signals, name)
    stays = np.ones(len(values), dtype=bool)
    stays[np.argsort(values, kind="stable")[: round(fraction * len(values))]] = False
    return stays


def buckets(values: NDArray[np.floating], tokens: NDArray[np.integer], count: int, name: str) -> NDArray[np.int32]:
    """The bucket of each document, 0 the lowest, about equal in tokens; equal values share a bucket. Shape (n,).

    Raises:
        CorpusError: when the signal has too few different values.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(tokens[order]) / max(int(tokens.sum()), 1)
    edges = [values[order[min(int(np.searchsorted(reached, k / count)), len(order) - 1)]] for k in range(1, count)]
    found = np.searchsorted(np.array(edges), values, side="left").astype(np.int32)
    if len(np.unique(found)) < count:
        raise CorpusError(
            f"signal `{name}` has too few different values for {count} buckets",
            "cut by another signal" if count == 2 else f"lower {argument('buckets')}",
        )
    return found


def bucket_names(count: int) -> tuple[str, ...]:
    """`low`, `middle`, `high`, or `q1` to `qN`, the lowest first."""
    return _BUCKETS.get(count) or tuple(f"q{k + 1}" for k in range(count))
