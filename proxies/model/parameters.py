"""The parameters of a proxy: names and shapes, where they start, how fast they learn, how they decay.

All parameters of a model lie in one flat buffer of P values, in the order of `parameter_shapes`. Shape letters: K
members, P parameters, T tokens in a sequence, d width, f hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.recipe import BASE_WIDTH

Floats = NDArray[np.float32]
Real = TypeVar("Real", np.float32, np.float64)

EMBEDDING_STD = 0.3  # whatever the width, as muP asks of an input layer; the value is a choice, not measured
ROPE_BASE = 10_000.0  # Su et al. 2021
NORM_EPSILON = 1e-6  # of a norm's mean square


def parameter_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of one member, in the order of the flat buffer."""
    d, f, vocab = shape.width, shape.hidden, shape.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"embed": (vocab, d)}
    for layer in range(shape.depth):
        shapes |= {
            f"layers.{layer}.attention_norm": (d,),
            f"layers.{layer}.qkv": (d, 3 * d),
            f"layers.{layer}.attention_out": (d, d),
            f"layers.{layer}.mlp_norm": (d,),
            f"layers.{layer}.mlp_in": (d, 2 * f),
            f"layers.{layer}.mlp_out": (f, d),
        }
    shapes["final_norm"] = (d,)
    if not shape.tied:
        shapes["head"] = (d, vocab)
    return shapes


def initial_parameters(shape: ModelShape, seed: int) -> Floats:
    """One member's parameters, shape (P,): a function of (shape, seed), the same for every engine.

    Matrices have standard deviation 1/sqrt(fan in), those that write to the residual stream 1/sqrt(2 depth) of it;
    the head starts at 1/width (muP's output layer), norms at 1.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for name, size in parameter_shapes(shape).items():
        kind = name.rsplit(".", 1)[-1]
        if kind.endswith("norm"):
            parts.append(np.ones(size, dtype=np.float32))
            continue
        std = EMBEDDING_STD if kind == "embed" else 1 / math.sqrt(size[0])
        if kind in ("attention_out", "mlp_out"):
            std /= math.sqrt(2 * shape.depth)
        if kind == "head":
            std = 1 / shape.width
        parts.append(generator.standard_normal(size, dtype=np.float32) * np.float32(std))
    return np.concatenate([part.ravel() for part in parts])


def unpacked(flat: NDArray[Real], shape: ModelShape) -> dict[str, NDArray[Real]]:
    """Views of one member's parameters, shape (P,), by name."""
    sizes = parameter_shapes(shape)
    ends = np.cumsum([math.prod(size) for size in sizes.values()])
    return {
        name: part.reshape(size) for (name, size), part in zip(sizes.items(), np.split(flat, ends[:-1]), strict=True)
    }


def packed(by_name: Mapping[str, Floats], shape: ModelShape) -> Floats:
    """The flat buffer, shape (P,), of parameters by name."""
    return np.concatenate([by_name[name].ravel() for name in parameter_shapes(shape)])


def rope_angles(shape: ModelShape) -> NDArray[np.float64]:
    """Angles of rotary positions (Su et al. 2021), shape (T, channels of a head / 2)."""
    channels = shape.width // shape.heads
    rates = ROPE_BASE ** (-np.arange(0, channels, 2) / channels)
    return np.outer(np.arange(shape.context), rates)


def rate_multipliers(shape: ModelShape) -> Floats:
    """Learning-rate multiplier of each parameter, shape (P,).

    Matrices take BASE_WIDTH / width, the embedding and the norms 1 (Yang et al. 2022, table 8, for Adam).
    """
    return _by_parameter(shape, lambda name: 1.0 if _is_vector_like(name) else BASE_WIDTH / shape.width)


def decay_mask(shape: ModelShape) -> Floats:
    """1 where weight decay applies (matrices inside the network and the head), else 0, shape (P,)."""
    return _by_parameter(shape, lambda name: 0.0 if _is_vector_like(name) else 1.0)


def peak_rates(shape: ModelShape, recipes: Sequence[Recipe]) -> Floats:
    """Peak learning rate of each parameter of each member, shape (K, P)."""
    return np.array([[recipe.learning_rate] for recipe in recipes], dtype=np.float32) * rate_multipliers(shape)


def peak_decays(shape: ModelShape, recipes: Sequence[Recipe]) -> Floats:
    """What weight decay takes of each parameter in a step at the peak rate, shape (K, P)."""
    return peak_rates(shape, recipes) * decay_mask(shape) * np.float32(recipes[0].weight_decay)


def _is_vector_like(name: str) -> bool:
    return name == "embed" or name.endswith("norm")


def _by_parameter(shape: ModelShape, value: Callable[[str], float]) -> Floats:
    sizes = parameter_shapes(shape)
    return np.concatenate([np.full(math.prod(size), value(name), dtype=np.float32) for name, size in sizes.items()])
