"""Training FLOPs, counted exactly for our shapes, and the 6ND rule for tables that say no more.

One multiply-add is two FLOPs; a backward pass costs twice the forward pass (Kaplan et al. 2020, section 2.1;
Hoffmann et al. 2022, appendix F). Only matrix products count, as everywhere in the literature. For small models
attention and the head are a large part: 6ND on non-embedding parameters can miss half of the work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixlab.runs.shapes import ModelShape


def forward_flops_per_token(shape: ModelShape) -> float:
    """FLOPs of one forward pass per token of a full sequence of `shape.context` tokens.

    Attention scores and values are counted at the full T x T, as torch's counter and the usual formulas do,
    though a causal kernel may skip half.
    """
    layer = 2 * (4 * shape.width**2 + 3 * shape.width * shape.hidden) + 4 * shape.context * shape.width
    return float(shape.depth * layer + 2 * shape.vocab_size * shape.width)


def training_flops(shape: ModelShape, tokens: float) -> float:
    """FLOPs C to train `shape` on `tokens` tokens: three forward passes' worth per token."""
    return 3.0 * forward_flops_per_token(shape) * float(tokens)


def six_nd(params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
    """The rule C = 6 N D, in floating point (6ND overflows int64 beyond N*D = 1.5e18)."""
    return 6.0 * np.asarray(params, dtype=float) * np.asarray(tokens, dtype=float)
