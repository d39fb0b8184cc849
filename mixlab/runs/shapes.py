"""Shapes of proxy models, their parameter counts under each convention, and the ladder of sizes.

A shape is a depth and a width; in the family of the ladder everything else follows. The model it describes (see
`proxies.model.reference`) is a decoder with RMSNorm, rotary positions and SwiGLU, without biases:

    embedding V*d, and per layer attention 4*d^2, SwiGLU 3*d*f, two norms 2*d; one final norm d; head V*d if untied.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mixlab.errors import ConfigError
from mixlab.units import format_quantity

LADDER_STEP = 8  # channels between one width of the ladder and the next
MIN_WIDTH = 8
HEAD_WIDTH = 32
MOST_HEAD_WIDTH = 2 * HEAD_WIDTH  # where a width cannot be divided into heads of about `HEAD_WIDTH`
ASPECT = 24  # width per layer; small decoders are flat around it
MIN_DEPTH = 2
MLP_STEP = 8  # the family's SwiGLU widths are multiples of it
NO_SUCH_SIZE = 0.5  # natural logarithm: a model that far from the wanted size (a factor of 1.6) is not of that size
SIZE_TOLERANCE = 0.005  # of N: in a loss some .0015 nats at most, far less than seeds differ by
OTHER_PROPORTIONS = math.log(2)  # as far as `with_params` goes: twice or half the family's depth or SwiGLU width


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only transformer's dimensions.

    Attributes:
        depth: layers.
        width: residual channels d, an even number of at least `MIN_WIDTH`.
        vocab_size: V, tokens in the vocabulary.
        context: tokens in a training sequence.
        tied: whether the output head shares the embedding's matrix.
        mlp_width: channels f inside SwiGLU where they are not the family's; see `hidden`.
    """

    depth: int
    width: int
    vocab_size: int
    context: int
    tied: bool = False
    mlp_width: int | None = None

    def __post_init__(self) -> None:
        if min(self.depth, self.vocab_size, self.context) < 1 or self.width < MIN_WIDTH or self.width % 2:
            raise ConfigError(
                f"a shape needs depth, vocabulary and context >= 1 and an even width >= {MIN_WIDTH}, but got "
                f"depth={self.depth} width={self.width} vocab={self.vocab_size} context={self.context}"
            )
        if self.mlp_width is not None and self.mlp_width < 1:
            raise ConfigError(f"a shape needs an mlp_width >= 1, but got {self.mlp_width}")
        if self.mlp_width == self.family_hidden:
            object.__setattr__(self, "mlp_width", None)  # the same model is the same shape, and the same run

    @property
    def heads(self) -> int:
        """Attention heads: about `HEAD_WIDTH` channels each, an even number of channels per head."""
        wanted = max(1, round(self.width / HEAD_WIDTH))
        return next(n for n in range(wanted, 0, -1) if self.width % n == 0 and self.width // n % 2 == 0)

    @property
    def hidden(self) -> int:
        """Channels f inside SwiGLU."""
        return self.family_hidden if self.mlp_width is None else self.mlp_width

    @property
    def family_hidden(self) -> int:
        """8/3 of the width, as a multiple of `MLP_STEP`, so that a layer has about 12 d^2."""
        return max(MLP_STEP, round(self.width * 8 / 3 / MLP_STEP) * MLP_STEP)

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
        return f"d{self.depth}w{self.width}" + (f"f{self.mlp_width}" if self.mlp_width is not None else "")

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make this shape; part of what a run's id is the hash of."""
        data: dict[str, Any] = {
            "depth": self.depth,
            "width": self.width,
            "vocab_size": self.vocab_size,
            "context": self.context,
            "tied": self.tied,
        }
        return data if self.mlp_width is None else {**data, "mlp_width": self.mlp_width}

    @classmethod
    def of_width(cls, width: int, vocab_size: int, context: int, tied: bool = False) -> ModelShape:
        """The family's shape of this width: one dial, from which depth and all else follow."""
        return cls(_family_depth(width), width, vocab_size, context, tied)

    @classmethod
    def near(cls, params: float, vocab_size: int, context: int, tied: bool = False) -> ModelShape:
        """The shape of the ladder's family whose total parameter count is nearest to `params`, on a log scale.

        One dial: the depth follows from the width, so that sizes differ in size and not in proportions. A ladder of
        mixed depths is no ladder: at equal N a third layer is worth more than a wider second one.

        Raises:
            ConfigError: when `params` is below what the smallest such model has.
        """
        width = LADDER_STEP
        while cls.of_width(width + LADDER_STEP, vocab_size, context, tied).params <= params:
            width += LADDER_STEP
        around = (cls.of_width(w, vocab_size, context, tied) for w in (width, width + LADDER_STEP))
        return _checked(min(around, key=lambda shape: abs(math.log(shape.params / params))), params)

    @classmethod
    def with_params(cls, params: float, vocab_size: int, context: int, tied: bool = False) -> ModelShape:
        """A shape with as nearly `params` parameters in total as there is, for a model beside a ladder.

        Of the shapes within `SIZE_TOLERANCE` of `params` it is that of the proportions nearest to the family's, since N
        predicts a loss within a family alone: widths between the ladder's come before another width of SwiGLU, and
        that before another depth. One step of the width is 2 V parameters, or 4 V if untied: where that is much of
        `params`, a model may be farther off by as much as half of it.

        Raises:
            ConfigError: when no model is near `params`.
        """

        def rank(shape: ModelShape) -> tuple[float, ...]:
            off, odd = abs(math.log(shape.params / params)), _disproportion(shape)
            return (0, odd, off) if off <= SIZE_TOLERANCE else (1, off, odd)

        return _checked(min(_around(params, vocab_size, context, tied), key=rank), params)


def _family_depth(width: int) -> int:
    return max(MIN_DEPTH, round(width / ASPECT))


def _disproportion(shape: ModelShape) -> float:
    """How far depth and SwiGLU width are from the family's, in natural logarithms."""
    depth, hidden = _family_depth(shape.width), shape.family_hidden
    return abs(math.log(shape.depth / depth)) + abs(math.log(shape.hidden / hidden))


def _around(params: float, vocab_size: int, context: int, tied: bool) -> Iterator[ModelShape]:
    """Shapes of about `params` parameters: for each width and depth not too far from the family's, with the family's
    SwiGLU and with the one that comes nearest to `params`.
    """
    widths = range(MIN_WIDTH, math.isqrt(int(params)) + MIN_WIDTH + 1, 2)  # a layer alone has more than 4 d^2
    found = bisect.bisect_left(
        widths, params, key=lambda width: ModelShape.of_width(width, vocab_size, context, tied).params
    )
    # Twice or half the depth at the same N is a width that differs by less than a factor of 2.
    middle = widths[min(found, len(widths) - 1)]
    for width in range(max(MIN_WIDTH, middle // 4 * 2), 2 * middle + 1, 2):
        family = ModelShape.of_width(width, vocab_size, context, tied)
        if width // family.heads > MOST_HEAD_WIDTH and width % LADDER_STEP:
            continue
        for depth in range(max(MIN_DEPTH, math.ceil(family.depth / 2)), 2 * family.depth + 1):
            shape = ModelShape(depth, width, vocab_size, context, tied)
            per_channel = 3 * width * depth
            hidden = shape.hidden + round((params - shape.params) / per_channel)
            fitted = ModelShape(depth, width, vocab_size, context, tied, max(1, hidden))
            yield from (each for each in (shape, fitted) if _disproportion(each) <= OTHER_PROPORTIONS)


def _checked(shape: ModelShape, params: float) -> ModelShape:
    if abs(math.log(shape.params / params)) > NO_SUCH_SIZE:
        raise ConfigError(
            f"no model with a vocabulary of {shape.vocab_size} has about {params:.3g} parameters "
            f"(nearest: {shape.params:.3g})",
            f"choose sizes at least a few times vocabulary * {MIN_WIDTH}, or a smaller vocabulary",
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
