"""Learning rate, batch and warmup from a model's size and its tokens: one rule for every proxy.

The peak rate transfers over width as in muP (Yang et al. 2022): matrices inside the network take
`base * BASE_WIDTH / width`, the embedding and the norms take `base` (see `proxies.optim`). The batch grows with the
tokens (about D^(1/3), Bergsma et al. 2025), and is the same over the whole trunk, so that the
branches of one trunk differ in nothing but their length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mixlab.config import ProxyConfig
from mixlab.shapes import ModelShape
from mixlab.specs import Recipe

BASE_WIDTH = 64
BASE_LEARNING_RATE = 0.005  # at BASE_BATCH_TOKENS
BATCH_EXPONENT = 1 / 3
BASE_BATCH_TOKENS = 512  # at BASE_TOKENS
BASE_TOKENS = 4e5
WARMUP_SHARE = 0.1  # of the shortest branch


def batch_sequences(tokens: float, context: int) -> int:
    """Sequences per batch for a run of `tokens`: the rule above, rounded to a power of two, at least 1."""
    wanted = BASE_BATCH_TOKENS * (tokens / BASE_TOKENS) ** BATCH_EXPONENT / context
    return max(1, 2 ** round(math.log2(wanted))) if wanted > 1 else 1


def learning_rate(batch_tokens: float) -> float:
    """The base rate for a batch: square-root scaling, as Adam's noise asks (Malladi et al. 2022)."""
    return BASE_LEARNING_RATE * math.sqrt(batch_tokens / BASE_BATCH_TOKENS)


def make_recipe(config: ProxyConfig, shape: ModelShape, tokens: Sequence[int]) -> Recipe:
    """The recipe of a run with branches at `tokens` (ascending); what the study file sets goes before the rules."""
    if config.batch_tokens is not None:
        batch = max(1, round(config.batch_tokens / shape.context))
    else:
        batch = batch_sequences(tokens[-1], shape.context)
    first_branch = max(1, round(tokens[0] / (batch * shape.context)))
    return Recipe(
        learning_rate=config.learning_rate or learning_rate(batch * shape.context),
        batch_sequences=batch,
        warmup_steps=max(1, round(WARMUP_SHARE * first_branch)),
        decay_fraction=config.decay_fraction,
    )
