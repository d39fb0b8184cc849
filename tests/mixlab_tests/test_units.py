"""Quantities: every spelling, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixlab.errors import ConfigError
from mixlab.units import format_flops, format_quantity, format_seconds, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e19", 1e19), ("150M", 150e6), ("2.5T", 2.5e12), ("3_000", 3000), (" 7b ", 7e9), (".5K", 500), (12, 12)],
)
def test_spellings(text: object, value: float) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "M", "1e", "ten", "1 000", "1e999", True, None, "1MM", "0x10", "٣"])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="quantity"):
        parse_quantity(text)


@given(st.floats(min_value=1e-6, max_value=1e30))
def test_written_quantities_read_back(value: float) -> None:
    assert parse_quantity(format_quantity(value, digits=6)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6, "1K"), (999_999, "1M"), (3.8e25, "3.8e25"), (41_234, "41.2K"), (0, "0"), (1.5e8, "150M")],
)
def test_quantities_read_well(value: float, text: str) -> None:
    assert format_quantity(value) == text


@pytest.mark.parametrize(("value", "text"), [(5.12e11, "5.12e11"), (1e19, "1e19"), (3.81e25, "3.81e25"), (0, "0")])
def test_flops_keep_their_exponent(value: float, text: str) -> None:
    assert format_flops(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4s"), (59.6, "60s"), (185, "3m05s"), (3599.7, "1h00m"), (7800, "2h10m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
