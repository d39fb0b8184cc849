"""Shapes, the ladder and exact FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mixlab.errors import ConfigError
from mixlab.runs.cost import FlopsPerToken
from mixlab.runs.flops import six_nd, training_flops
from mixlab.runs.shapes import LADDER_STEP, MOST_HEAD_WIDTH, SIZE_TOLERANCE, ModelShape, ladder
from mixlab.search.size import minimise_size


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
    with pytest.raises(ConfigError, match="an even width >= 8"):
        ModelShape(2, 13, 256, 128)
    with pytest.raises(ConfigError, match="no model with a vocabulary of 50000"):
        ModelShape.with_params(20e3, 50_000, 128)


def test_sizes_of_the_ladder_are_those_of_the_runs_that_were_made_with_it() -> None:
    assert [ModelShape.near(size, 257, 128).label for size in (30e3, 47e3, 1e5, 3e5, 1e6, 25e6, 1e9)] == [
        "d2w24", "d2w32", "d2w56", "d3w80", "d5w128", "d15w368", "d52w1256"
    ]  # fmt: skip
    assert [ModelShape.near(size, 4096, 128, tied=True).label for size in (47e3, 1e5, 3e5, 1e6, 25e6)] == [
        "d2w8", "d2w24", "d2w56", "d4w104", "d15w360"
    ]  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("vocab_size", [64, 257, 4096, 32_000])
def test_there_is_a_shape_of_very_nearly_any_size(vocab_size: int, tied: bool) -> None:
    # The worst of this grid: .5% with 257 tokens, and with 32,000 (untied) 4.3% at 1M and .5% from 10M parameters on.
    one_width = 2 * vocab_size * (1 if tied else 2)  # parameters of the embeddings that a step of the width adds
    for size in np.geomspace(max(20e3, 8 * one_width), 1e8, 60):
        shape = ModelShape.with_params(size, vocab_size, 128, tied)
        assert abs(math.log(shape.params / size)) <= max(SIZE_TOLERANCE, one_width / 2 / size)
        family = ModelShape.of_width(shape.width, vocab_size, 128, tied)
        assert 1 / 2 <= shape.depth / family.depth <= 2
        assert 0.49 <= shape.hidden / family.hidden <= 2.01
        assert shape.width // shape.heads <= MOST_HEAD_WIDTH or shape.width % LADDER_STEP == 0
        if vocab_size <= 257:
            assert shape.depth == family.depth  # SwiGLU's width alone is enough
            assert 0.7 < shape.hidden / family.hidden < 1.5


def test_a_size_of_the_family_comes_out_as_the_familys_shape() -> None:
    for shape in ladder([50e3, 200e3, 1e6, 20e6], 257, 128):
        assert ModelShape.with_params(shape.params, 257, 128) == shape
    assert ModelShape(2, 40, 257, 128, mlp_width=104) == ModelShape(2, 40, 257, 128)
    with pytest.raises(ConfigError, match="mlp_width >= 1, but got 0"):
        ModelShape(2, 40, 257, 128, mlp_width=0)


def test_six_nd_beyond_int64() -> None:
    assert six_nd(405 * 10**9, 15 * 10**12) == pytest.approx(3.645e25)


def test_cost_reads_the_runs_and_grows_with_n_beyond_them() -> None:
    shapes = ladder([50e3, 200e3, 1e6], 256, 128)
    n = np.array([shape.params for shape in shapes], dtype=float)
    d = np.full(3, 1e6)
    c = np.array([training_flops(shape, 1e6) for shape in shapes])
    rate = FlopsPerToken(n, c, d)
    assert rate(n) == pytest.approx(c / d)
    assert rate(n[-1] * 1e4) / rate(n[-1] * 1e3) == pytest.approx(10, rel=1e-3)  # far beyond, in proportion to N
    assert rate.tokens(c, n) == pytest.approx(d)


def test_cost_is_smooth_so_that_the_best_size_does_not_stick_to_a_size_that_was_run() -> None:
    def exact(params: np.ndarray) -> np.ndarray:
        return 6 * params + 6e3 * params**0.5  # as a head and attention add to small models

    sizes = np.geomspace(1e5, 1e7, 5)
    cost = FlopsPerToken(sizes, exact(sizes), np.ones(5))
    beyond, between = np.geomspace(5e4, 3e7, 400), np.geomspace(1e5, 1e7, 300)
    assert cost(sizes) == pytest.approx(exact(sizes), rel=1e-12)
    assert cost(between) == pytest.approx(exact(between), rel=0.003)
    assert cost(beyond) == pytest.approx(exact(beyond), rel=0.1)
    step = 1e-4
    slopes = np.log(cost(beyond * np.exp(step)) / cost(beyond)) / step
    assert np.abs(np.diff(slopes)).max() < 0.02  # at a kink all of the change comes at once: there it is .35
    assert slopes.min() > 0

    def best(budget: float, rate: Callable[[np.ndarray], np.ndarray]) -> float:
        def loss(n: np.ndarray) -> np.ndarray:
            return 1.7 + 480 * n**-0.35 + 2100 * (budget / rate(n)) ** -0.37

        return minimise_size(loss, 6e4, 2e7)[0]

    budgets = np.geomspace(3e13, 3e16, 300)
    found, truth = (np.array([best(budget, rate) for budget in budgets]) for rate in (cost, exact))
    inside = (truth > 1.05e5) & (truth < 0.95e7)
    assert np.abs(np.log(found[inside] / truth[inside])).max() < 0.02
    at_a_size = np.abs(np.log(found[inside, None] / sizes)).min(axis=1) < 0.002
    assert at_a_size.mean() < 0.02  # with kinks .08, by chance .004


def test_sizes_that_differ_by_rounding_are_one() -> None:
    sizes = np.array([1e6, 1e6 * (1 + 1e-13), 4e6, 4e6 * (1 - 1e-13)])
    cost = FlopsPerToken(sizes, 6 * sizes * 1e8, np.full(4, 1e8))
    assert cost(2e6) == pytest.approx(1.2e7)
