"""Shapes, the ladder and exact FLOPs."""

from __future__ import annotations

import numpy as np
import pytest

from mixlab.errors import ConfigError
from mixlab.flops import FlopsPerToken, six_nd, training_flops
from mixlab.shapes import ModelShape, ladder


def test_the_ladder_meets_its_sizes() -> None:
    shapes = ladder([1e9, 50e3, 1e6, 20e6], 256, 128)
    assert [shape.params for shape in shapes] == sorted(shape.params for shape in shapes)
    for shape, wanted in zip(shapes, (50e3, 1e6, 20e6, 1e9), strict=True):
        assert shape.params == pytest.approx(wanted, rel=0.2)
        assert shape.width % shape.heads == 0
        assert shape.params == shape.params_embed + shape.params_non_embed


def test_sizes_that_coincide_or_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="sizes must differ enough"):
        ladder([50e3, 51e3], 256, 128)
    with pytest.raises(ConfigError, match="no model with a vocabulary of 50000"):
        ModelShape.near(20e3, 50_000, 128)
    with pytest.raises(ConfigError, match="multiple of 8"):
        ModelShape(2, 12, 256, 128)


def test_six_nd_beyond_int64() -> None:
    assert six_nd(405 * 10**9, 15 * 10**12) == pytest.approx(3.645e25)


def test_cost_reads_the_runs_and_grows_with_n_beyond_them() -> None:
    shapes = ladder([50e3, 200e3, 1e6], 256, 128)
    n = np.array([shape.params for shape in shapes], dtype=float)
    d = np.full(3, 1e6)
    c = np.array([training_flops(shape, 1e6) for shape in shapes])
    rate = FlopsPerToken(n, c, d)
    assert rate(n) == pytest.approx(c / d)
    assert rate(n[-1] * 10) == pytest.approx(c[-1] / d[-1] * 10)
    assert rate.tokens(c, n) == pytest.approx(d)
