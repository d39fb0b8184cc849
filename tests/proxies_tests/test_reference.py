"""The readable step is right by its own slopes, and both engines do what it does, whatever the shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import Backend, choose_backend, make_engine
from proxies.model.parameters import initial_parameters, unpacked
from proxies.model.reference import Reference, add_gradient, token_losses

NATIVE = choose_backend(ProxyConfig(device="cpu"))
BACKENDS = [
    pytest.param(Backend("cpu", "torch", "fp32"), id="torch"),
    pytest.param(
        Backend("cpu", "native", "fp32"),
        id="native",
        marks=pytest.mark.skipif(NATIVE.engine != "native", reason=NATIVE.note),
    ),
]
# Nothing is a multiple of a vector, a tile or a block; heads of an even number of channels, one to three of them.
SHAPES = [
    ModelShape(1, 8, 5, 9),
    ModelShape(2, 10, 17, 13, mlp_width=1),
    ModelShape(3, 22, 31, 19, tied=True, mlp_width=37),
    ModelShape(2, 60, 40, 33, mlp_width=101),
    ModelShape(1, 102, 23, 35, tied=True),
    ModelShape(1, 66, 300, 66),
]
SIZES = (1, 2, 1, 3)
FACTORS = (0.3, 1.0, 0.6, 0.2)


def text(shape: ModelShape, count: int, seed: int) -> NDArray[np.int32]:
    """Sequences of shape (count, T + 1) in which a token mostly follows from the one before."""
    rng = np.random.default_rng(seed)
    following = rng.permutation(shape.vocab_size)
    rows = [rng.integers(shape.vocab_size, size=count)]
    for _ in range(shape.context):
        rows.append(np.where(rng.random(count) < 0.8, following[rows[-1]], rng.integers(shape.vocab_size, size=count)))
    return np.stack(rows, axis=1).astype(np.int32)


@pytest.mark.parametrize("tied", [False, True])
def test_the_gradient_is_the_slope_of_the_loss(tied: bool) -> None:
    shape = ModelShape(2, 36, 7, 5, tied, mlp_width=11)
    parameters = initial_parameters(shape, 0).astype(np.float64)
    tokens, gradient = text(shape, 1, 0)[0], np.zeros(shape.params)
    add_gradient(unpacked(parameters, shape), tokens, shape, 0.5, unpacked(gradient, shape))
    rng = np.random.default_rng(1)

    def loss(at: NDArray[np.float64]) -> float:
        return 0.5 * float(token_losses(unpacked(at, shape), tokens, shape).sum())

    for name, slopes in unpacked(gradient, shape).items():
        for _ in range(3):
            direction = np.zeros(shape.params)
            along = unpacked(direction, shape)[name]
            along[...] = rng.standard_normal(along.shape)
            measured = (loss(parameters + 1e-5 * direction) - loss(parameters - 1e-5 * direction)) / 2e-5
            assert measured == pytest.approx(float((slopes * along).sum()), rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_takes_the_readable_steps(backend: Backend, shape: ModelShape) -> None:
    recipe = Recipe(learning_rate=0.004, batches=Batches.constant(1), warmup_steps=1, weight_decay=0.5, clip_norm=0.3)
    specs = [
        RunSpec(Mixture({"a": 1.0}), shape, (1000,), 3, recipe, "test", 100),
        RunSpec(Mixture({"a": 1.0}), shape, (1000,), 4, replace(recipe, learning_rate=0.01), "test", 100),
    ]
    engine = make_engine(backend, specs)
    references = [Reference(shape, spec.seed, spec.recipe) for spec in specs]
    texts = np.stack([text(shape, sum(SIZES), seed) for seed in (1, 2)])
    first = sum(SIZES[:2])
    found = np.concatenate(
        [
            engine.train(texts[:, :first], SIZES[:2], FACTORS[:2], 0),
            engine.train(texts[:, first:], SIZES[2:], FACTORS[2:], 2),
        ],
        axis=1,
    )
    state, scores = engine.state(), engine.score(texts[0, :3])
    for member, reference in enumerate(references):
        assert found[member] == pytest.approx(reference.train(texts[member], SIZES, FACTORS, 0), rel=3e-6)
        assert scores[member] == pytest.approx(reference.score(texts[0, :3]), rel=5e-5)
        # Adam divides by the root of a gradient's square: where that is rounding alone, so is the step. Hence by norm.
        for name, ours in state._asdict().items():
            exact = getattr(reference, name)
            assert np.linalg.norm(ours[member] - exact) < 4e-4 * np.linalg.norm(exact), name
