"""Learning rate, batch and warmup from a model's size and the tokens it has seen: one rule for every proxy.

The peak rate transfers over width as in muP (Yang et al. 2022): matrices inside the network take
`base * BASE_WIDTH / width`, the embedding and the norms take `base` (see `parameters.py`). The batch grows with
the tokens seen, about as their square root, as the critical batch does (Zhang et al. 2025, Merrill et al. 2025); the
rate stays, so that a longer run is trained with less gradient noise. The sweeps behind the constants are in
EXPERIMENTS.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from mixlab.study.sweep import ProxyConfig

BASE_WIDTH = 64
BASE_LEARNING_RATE = 0.002
BATCH_EXPONENT = 1 / 2
BASE_BATCH_TOKENS = 256  # after BASE_TOKENS
BASE_TOKENS = 4e5
WARMUP_SHARE = 0.1  # of the shortest branch
ADAM_EPSILON = 1e-8
CLIP_EPSILON = 1e-6  # added to the gradient's norm, as torch.nn.utils.clip_grad_norm_ does


def batch_sequences(tokens: float, context: int) -> int:
    """Sequences per batch after `tokens`: the rule above, rounded to a power of two, at least 1."""
    wanted = BASE_BATCH_TOKENS * (tokens / BASE_TOKENS) ** BATCH_EXPONENT / context
    return 2 ** max(0, round(math.log2(wanted)))


def growing_batches(tokens: float, context: int) -> Batches:
    """The rule's stages for a run of `tokens`."""
    stages = [(0.0, 1)]
    while (start := _tokens_before(2 * stages[-1][1], context)) < tokens:
        stages.append((start / context, 2 * stages[-1][1]))
    return Batches.growing(stages)


def _tokens_before(batch: int, context: int) -> float:
    """Tokens after which the rule rounds to `batch` sequences."""
    return float(BASE_TOKENS * (batch / math.sqrt(2) * context / BASE_BATCH_TOKENS) ** (1 / BATCH_EXPONENT))


def make_recipe(config: ProxyConfig, shape: ModelShape, tokens: Sequence[int]) -> Recipe:
    """The recipe of a run with branches at `tokens` (ascending); what the study file sets goes before the rules."""
    if config.batch_tokens is not None:
        batches = Batches.constant(max(1, round(config.batch_tokens / shape.context)))
    else:
        batches = growing_batches(tokens[-1], shape.context)
    return Recipe(
        learning_rate=config.learning_rate or BASE_LEARNING_RATE,
        batches=batches,
        warmup_steps=max(1, round(WARMUP_SHARE * batches.steps(tokens[0] / shape.context))),
        decay_fraction=config.decay_fraction,
    )
