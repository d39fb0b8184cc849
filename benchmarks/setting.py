"""What all sides of `training.py` train: the same shapes, text, batch, rate and schedule. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.units import parse_quantity
from proxies.model.recipe import BASE_WIDTH

CONTEXT, VOCABULARY = 256, 257
LEARNING_RATE, WARMUP, DECAY = 0.002, 0.02, 0.2
EVALUATED = 64  # sequences


def spec_of(size: str, tokens: Sequence[float], batch: int, seed: int = 0, corpus: str = "") -> RunSpec:
    """mixlab's run of `size` parameters with branches at `tokens`, `batch` sequences per step."""
    shape = ModelShape.near(parse_quantity(size), VOCABULARY, CONTEXT)
    recipe = Recipe(
        learning_rate=LEARNING_RATE * shape.width / BASE_WIDTH,  # the peers' rate, after the rule over widths
        batches=Batches.constant(batch),
        warmup_steps=max(1, round(WARMUP * tokens[0] / CONTEXT / batch)),
        decay_fraction=DECAY,
    )
    mixture = Mixture({"text": 1.0, "rest": 0.0})
    return RunSpec(mixture, shape, tuple(round(t) for t in tokens), seed, recipe, corpus, EVALUATED * CONTEXT)
