"""Quantities as people write them: "1e19", "150M", "2.5T" <-> numbers. The one parser everywhere."""

from __future__ import annotations

import math
import re
from numbers import Real

from mixlab.errors import ConfigError

_SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15}
_PATTERN = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([KMBGTP]?)", re.ASCII)


def parse_quantity(value: object) -> float:
    """Read a count of parameters, tokens or FLOPs.

    Args:
        value: a number, or a string such as "1e19", "150M", "2.5T", "3_000" (decimal suffixes, K to P).

    Raises:
        ConfigError: if `value` is not a finite number in one of these spellings.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
    else:
        match = _PATTERN.fullmatch(str(value).strip().upper()) if isinstance(value, str) else None
        if match is None:
            raise ConfigError(
                f"a quantity is a number such as 1e19, 150M or 2.5T, but got {value!r}",
                "use digits with an optional exponent or one of the suffixes K, M, B, T, P",
            )
        number = float(match[1].replace("_", "")) * _SCALE[match[2]]
    if not math.isfinite(number):
        raise ConfigError(f"a quantity must be finite, but got {value!r}")
    return number


def format_quantity(value: float, digits: int = 3) -> str:
    """Write a quantity the way people read it: 1.5e8 -> "150M", 3.8e25 -> "3.8e25".

    Counts from a thousand to a quadrillion get a suffix; what lies outside keeps its exponent.
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    size = abs(value)
    rounded = float(f"{size:.{digits}g}")
    if 1e3 <= rounded < 1e15:
        for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
            if rounded >= scale:
                text = f"{value / scale:.{digits}g}"
                return f"{float(text):g}{suffix}"
    if rounded >= 1e15 or rounded < 1e-3:
        return _exponential(value, digits)
    return f"{float(f'{value:.{digits}g}'):g}"


def format_flops(value: float, digits: int = 3) -> str:
    """FLOPs in the field's notation: 5.12e11 -> "5.12e11", 1e19 -> "1e19"."""
    return _exponential(value, digits) if math.isfinite(value) and value else format_quantity(value)


def format_seconds(seconds: float) -> str:
    """A duration for a progress line: "0.4s", "12s", "3m05s", "2h10m"."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def _exponential(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
