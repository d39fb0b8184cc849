"""Shapes of proxy models, their parameter counts under each convention, and the ladder of sizes.

A shape is a depth and a width; everything else follows. The model it describes (see `proxies.model`) is a
decoder with RMSNorm, rotary positions and SwiGLU, without biases:

    embedding V*d, and per layer attention 4*d^2, SwiGLU 3*d*f, two norms 2*d; one final norm d; head V*d if untied.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from mixlab.errors import ConfigError
from mixlab.units import format_quantity

WIDTH_STEP = 8
HEAD_WIDTH = 32
ASPECT = 24  # width per layer; small decoders are flat around it
MIN_DEPTH = 2


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only transformer's dimensions.

    Attributes:
        depth: layers.
        width: residual channels d, a multiple of 8.
        vocab_size: V, tokens in the vocabulary.
        context: tokens in a training sequence.
        tied: whether the output head shares the embedding's matrix.
    """

    depth: int
    width: int
    vocab_size: int
    context: int
    tied: bool = False

    def __post_init__(self) -> None:
        if min(self.depth, self.vocab_size, self.context) < 1 or self.width < WIDTH_STEP or self.width % WIDTH_STEP:
            raise ConfigError(
                f"a shape needs depth, vocabulary and context >= 1 and a width that is a multiple of "
                f"{WIDTH_STEP}, but got depth={self.depth} width={self.width} vocab={self.vocab_size} "
                f"context={self.context}"
            )

    @property
    def heads(self) -> int:
        """Attention heads: about `HEAD_WIDTH` channels each, an even number of channels per head."""
        wanted = max(1, round(self.width / HEAD_WIDTH))
        return next(n for n in range(wanted, 0, -1) if self.width % n == 0 and self.width // n % 2 == 0)

    @property
    def hidden(self) -> int:
        """Channels f inside SwiGLU: 8/3 of the width, as a multiple of 8, so that a layer has about 12 d^2."""
        return max(8, round(self.width * 8 / 3 / 8) * 8)

    @property
    def params_embed(self) -> int:
        """Embedding and, where it is its own matrix, head."""
        return self.vocab_size * self.width * (1 if self.tied else 2)

    @property
    def params_non_embed(self) -> int:
        """Attention, SwiGLU and norms of all layers, and the final norm."""
        layer = 4 * self.width**2 + 3 * self.width * self.hidden + 2 * self.width
        return self.depth * layer + self.width

    @property
    def params(self) -> int:
        """All parameters: the default meaning of N."""
        return self.params_embed + self.params_non_embed

    @property
    def label(self) -> str:
        return f"d{self.depth}w{self.width}"

    @classmethod
    def near(cls, params: float, vocab_size: int, context: int, tied: bool = False) -> ModelShape:
        """The shape of the family whose total parameter count is nearest to `params`, on a log scale.

        One dial: the depth follows from the width, so that sizes differ in size and not in proportions. A ladder of
        mixed depths is no ladder: at equal N a third layer is worth more than a wider second one.

        Raises:
            ConfigError: when `params` is below what the smallest such model has.
        """

        def of_width(width: int) -> ModelShape:
            return cls(max(MIN_DEPTH, round(width / ASPECT)), width, vocab_size, context, tied)

        width = WIDTH_STEP
        while of_width(width + WIDTH_STEP).params <= params:
            width += WIDTH_STEP
        shape = min((of_width(width), of_width(width + WIDTH_STEP)), key=lambda s: abs(math.log(s.params / params)))
        if abs(math.log(shape.params / params)) > 0.5:
            raise ConfigError(
                f"no model with a vocabulary of {vocab_size} has about {params:.3g} parameters "
                f"(nearest: {shape.params:.3g})",
                "choose sizes at least a few times vocabulary * 8, or a smaller vocabulary",
            )
        return shape


def ladder(sizes: list[float], vocab_size: int, context: int, tied: bool = False) -> list[ModelShape]:
    """The shapes nearest to `sizes` (total parameters), smallest first.

    Raises:
        ConfigError: when two sizes come out as the same shape.
    """
    shapes = sorted((ModelShape.near(size, vocab_size, context, tied) for size in sizes), key=lambda s: s.params)
    for small, large in itertools.pairwise(shapes):
        if small == large:
            raise ConfigError(
                f"sizes must differ enough to give different shapes, but two of "
                f"{', '.join(map(format_quantity, sizes))} are both {small.label} with {small.params} parameters",
                "space the sizes by a factor of 1.5 or more",
            )
    return shapes
