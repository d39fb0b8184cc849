"""How much of each topic there is, which are over-represented against a reference, and what would even them out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixlab.corpus.classify.tag import Tags
from mixlab.corpus.learn.contracts import OTHER
from mixlab.errors import ConfigError, argument, did_you_mean

SHARES_TOLERANCE = 0.01


@dataclass(frozen=True)
class TopicShare:
    """One topic of one domain.

    Attributes:
        documents, bytes, tokens: how much there is.
        share: of the domain's tokens.
        reference: the share it should have.
        ratio: share / reference (None: the reference has none of it).
        cap: the share that the proposal leaves it at most (None: it is not over-represented).
    """

    topic: str
    documents: int
    bytes: int
    tokens: int
    share: float
    reference: float
    ratio: float | None
    cap: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def topic_tokens(tags: Tags, domain: str) -> dict[str, int]:
    """Tokens by topic, in the order of the labels."""
    mine = tags.domain == tags.domains.index(domain)
    counts = np.bincount(tags.topic[mine], weights=tags.tokens[mine], minlength=len(tags.labels))
    return {label: int(count) for label, count in zip(tags.labels, counts, strict=True)}


def topic_shares(tags: Tags, domain: str, reference: Mapping[str, float], over: float) -> list[TopicShare]:
    """The topics of a domain, the largest first.

    Args:
        reference: share by topic, sums to 1.
        over: a topic with more than so many times its reference share is over-represented, and capped there.
    """
    mine = tags.domain == tags.domains.index(domain)
    size = len(tags.labels)
    documents = np.bincount(tags.topic[mine], minlength=size)
    volume = np.bincount(tags.topic[mine], weights=tags.bytes[mine], minlength=size)
    tokens = topic_tokens(tags, domain)
    total = max(sum(tokens.values()), 1)
    found = []
    for k, label in enumerate(tags.labels):
        share, wanted = tokens[label] / total, reference[label]
        ratio = share / wanted if wanted > 0 else None
        above = label != OTHER and share > over * wanted
        cap = over * wanted if above else None
        found.append(TopicShare(label, int(documents[k]), int(volume[k]), tokens[label], share, wanted, ratio, cap))
    return sorted(found, key=lambda each: (each.topic == OTHER, -each.tokens, each.topic))


def uniform_reference(tokens: Mapping[str, int]) -> dict[str, float]:
    """Equal shares for all topics; `other` is no topic and keeps the share it has."""
    total = max(sum(tokens.values()), 1)
    rest = tokens.get(OTHER, 0) / total
    topics = [label for label in tokens if label != OTHER]
    return {label: rest if label == OTHER else (1 - rest) / max(len(topics), 1) for label in tokens}


def read_reference(path: Path, labels: Sequence[str]) -> dict[str, float]:
    """Target shares from a JSON file {topic: share}; a topic that it leaves out should not be there at all.

    Raises:
        ConfigError: when it is not that, names another topic, or does not sum to 1.
    """
    hint = f'write shares that sum to 1, for example {{"{labels[0]}": 0.4, ...}}'
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        known = f"{argument('reference')} takes uniform, a domain, or a JSON file of shares"
        raise ConfigError(f"cannot read {path}: {error.strerror}", known) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}", hint) from None
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{path} must hold shares by topic", hint)
    for label, share in data.items():
        if label not in labels:
            raise ConfigError(
                f"{path} names topic `{label:.60}`, but there is no such topic", did_you_mean(label, labels)
            )
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ConfigError(f"{path}: the share of `{label}` must lie between 0 and 1, but is {share!r:.40}", hint)
    total = math.fsum(data.values())
    if abs(total - 1) > SHARES_TOLERANCE:
        raise ConfigError(f"{path}: the shares must sum to 1, but they sum to {total:.4g}", hint)
    return {label: data.get(label, 0.0) / total for label in labels}


def even_out(shares: Sequence[TopicShare], over: float) -> dict[str, float]:
    """Shares by topic, none above `over` times its reference, the others in their old proportions; they sum to 1.

    What is cut from one topic scales the others up, until one of them meets its own limit. `other` has none; where it
    is absent and all topics are at their limits, these are scaled to sum to 1.
    """
    limits = {each.topic: over * each.reference for each in shares if each.topic != OTHER}
    free = {each.topic: each.share for each in shares}
    fixed: dict[str, float] = {}
    while free and sum(free.values()) > 0:
        scale = (1 - sum(fixed.values())) / sum(free.values())
        above = [topic for topic, share in free.items() if share * scale > limits.get(topic, math.inf) + 1e-12]
        if not above:
            fixed |= {topic: share * scale for topic, share in free.items()}
            break
        fixed |= {topic: limits[topic] for topic in above}
        free = {topic: share for topic, share in free.items() if topic not in above}
    total = sum(fixed.values()) or 1.0
    return {each.topic: fixed.get(each.topic, 0.0) / total for each in shares}
