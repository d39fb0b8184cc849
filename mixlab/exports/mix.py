"""What is exported: a recommended mixture as weighted sources.

Weights are fractions of tokens. Most trainers sample token sequences and take them as they are; the one that samples
documents (`hf`) gets probabilities of documents, in proportion to weight over mean tokens per document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mixlab.errors import ConfigError, did_you_mean

DIGITS = 6


@dataclass(frozen=True)
class WeightedSource:
    """One domain as a trainer sees it: its name, where its data lies, and its weight."""

    name: str
    path: str
    weight: float


@dataclass(frozen=True)
class Mix:
    """What is exported.

    Attributes:
        sources: domains of positive weight; weights have `DIGITS` decimals and sum to 1.
        tokens_per_document: mean by domain, where known.
        max_repetition: how often a source's tokens may be seen (1 where the answer repeats nothing).
        seed: of the trainer's own sampling.
    """

    sources: tuple[WeightedSource, ...]
    tokens_per_document: Mapping[str, float]
    max_repetition: float
    seed: int


def make_mix(
    recommendation: Mapping[str, object],
    paths: Mapping[str, str],
    tokens_per_document: Mapping[str, float],
    seed: int = 0,
) -> Mix:
    """What to export.

    Args:
        recommendation: the JSON of `mixlab recommend`.
        paths: by domain; a domain that is absent is found under its own name.
        tokens_per_document: mean by domain, for trainers that sample documents.
        seed: of the trainer's sampling.

    Raises:
        ConfigError: a recommendation without a mixture, or a path for a domain that it does not have.
    """
    mixture = recommendation.get("mixture")
    if not isinstance(mixture, dict) or not mixture:
        raise ConfigError(
            "the recommendation holds no mixture", "make one with `mixlab recommend` on runs with mixtures"
        )
    for name in (*paths, *tokens_per_document):
        if name not in mixture:
            raise ConfigError(f"the mixture has no domain `{name}`", did_you_mean(name, mixture))
    weights = rounded(mixture)
    epochs = recommendation.get("epochs")
    seen = max((float(value) for value in epochs.values()), default=1.0) if isinstance(epochs, dict) else 1.0
    sources = tuple(WeightedSource(name, paths.get(name, name), weight) for name, weight in weights.items())
    return Mix(sources, tokens_per_document, max(1.0, math.ceil(seen * 100) / 100), seed)


def rounded(weights: Mapping[str, float]) -> dict[str, float]:
    """Positive weights with `DIGITS` decimals that sum to exactly 1, by largest remainders; the others are left out."""
    total, unit = math.fsum(weights.values()), 10**DIGITS
    exact = {name: weight / total * unit for name, weight in weights.items()}
    whole = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: unit - sum(whole.values())]:
        whole[name] += 1
    return {name: count / unit for name, count in whole.items() if count}
