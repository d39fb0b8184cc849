"""Domains filtered and cut into parts, by topic or by a signal: which document goes where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.classify.job import TOPIC, ClassifyJob
from mixlab.corpus.classify.tag import Tags
from mixlab.corpus.learn.contracts import OTHER
from mixlab.corpus.signals.basic import LENGTH
from mixlab.corpus.signals.filters import bucket_names, buckets, drop_lowest, keep, signal
from mixlab.corpus.signals.quality import QUALITY
from mixlab.corpus.signals.semantic import semantic_keepers
from mixlab.errors import CorpusError

DROPPED = -1
LONGEST_NAME = 40


@dataclass(frozen=True, eq=False)
class Cut:
    """One domain's documents by sub-domain.

    Attributes:
        domain: its name.
        names: of the M sub-domains.
        part: index of each of the domain's documents, or `DROPPED`; shape (n,).
        documents, bytes, tokens: by sub-domain.
        merged: topics that went to `other` as they were too small.
        dropped: documents that a filter dropped, by filter.
    """

    domain: str
    names: tuple[str, ...]
    part: NDArray[np.int32]
    documents: dict[str, int]
    bytes: dict[str, int]
    tokens: dict[str, int]
    merged: tuple[str, ...] = ()
    dropped: Mapping[str, int] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Of the domain's tokens that are left, by sub-domain."""
        total = sum(self.tokens.values())
        return {name: count / total for name, count in self.tokens.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "parts": {
                name: {"documents": self.documents[name], "bytes": self.bytes[name], "tokens": self.tokens[name]}
                for name in self.names
            },
            "merged": list(self.merged),
            "dropped": dict(self.dropped or {}),
        }


def cut_by_job(job: ClassifyJob, tags: Tags, domain: str) -> Cut:
    """Filter and cut a domain as the job asks.

    Raises:
        ConfigError: on a filter or a signal that there is not.
        CorpusError: when the filters leave nothing, or a signal has too few different values.
    """
    spec = job.cut
    mine = tags.domain == tags.domains.index(domain)
    signals = {name: values[mine] for name, values in tags.signals.items()}
    stays = np.ones(int(mine.sum()), dtype=bool)
    dropped: dict[str, int] = {}

    def apply(name: str, mask: NDArray[np.bool_]) -> None:
        nonlocal stays
        dropped[name] = int((stays & ~mask).sum())
        stays = stays & mask

    if spec.keep is not None:
        apply(f"keep {spec.keep}", keep(signals, spec.keep))
    if spec.drop_lowest is not None:
        apply(f"drop lowest {spec.drop_lowest}", drop_lowest(signals, spec.drop_lowest, spec.usual_signal))
    if spec.semantic_dedup is not None and tags.vectors is not None:
        best = signals[QUALITY] if QUALITY in signals else signals[LENGTH]
        rows = np.flatnonzero(stays)
        kept = np.zeros(len(stays), dtype=bool)
        kept[rows] = semantic_keepers(tags.vectors[mine][rows], best[rows], spec.semantic_dedup, job.classifier.seed)
        apply(f"semantic dedup {spec.semantic_dedup:g}", kept)
    if spec.by is None:
        return cut_domain(tags, domain, ("",), np.zeros(len(stays), dtype=np.int32), stays, 0.0, dropped)
    if spec.by == TOPIC:
        return cut_domain(tags, domain, tags.labels, tags.topic[mine], stays, spec.smallest, dropped)
    part = np.zeros(len(stays), dtype=np.int32)
    part[stays] = buckets(signal(signals, spec.by)[stays], tags.tokens[mine][stays], spec.buckets, spec.by)
    names = tuple(f"{name}-{spec.by}" for name in bucket_names(spec.buckets))
    return cut_domain(tags, domain, names, part, stays, 0.0, dropped)


def cut_domain(
    tags: Tags,
    domain: str,
    labels: Sequence[str],
    part: NDArray[np.integer],
    stays: NDArray[np.bool_],
    smallest: float,
    dropped: Mapping[str, int],
) -> Cut:
    """Cut a domain by a label per document.

    Args:
        labels: names of the parts.
        part: index of the label of each of the domain's n documents, shape (n,).
        stays: documents that the filters left, shape (n,).
        smallest: parts with less than this share of the tokens that stay are merged into `other`.
        dropped: documents that the filters dropped, for the record.

    Raises:
        CorpusError: when nothing stays.
    """
    mine = tags.domain == tags.domains.index(domain)
    sizes, tokens = tags.bytes[mine], tags.tokens[mine]
    if not stays.any():
        listed = ", ".join(f"{name}: {count:,}" for name, count in dropped.items())
        raise CorpusError(f"the filters drop all documents of domain `{domain}` ({listed})", "loosen the filters")
    left = np.bincount(part[stays], weights=tokens[stays], minlength=len(labels))
    shares = left / left.sum()
    small = _small_parts(labels, shares, smallest)
    targets = [OTHER if k in small else label for k, label in enumerate(labels)]
    present = [targets[k] for k in np.flatnonzero(left > 0)]
    kept = sorted(dict.fromkeys(present), key=lambda label: label == OTHER)
    names = _part_names(domain, kept)
    index = np.array([kept.index(label) if label in kept else DROPPED for label in targets], dtype=np.int32)
    where = np.where(stays, index[part], DROPPED).astype(np.int32)

    def by_part(values: NDArray[np.integer]) -> dict[str, int]:
        return {name: int(values[where == k].sum()) for k, name in enumerate(names)}

    return Cut(
        domain=domain,
        names=names,
        part=where,
        documents=by_part(np.ones(len(where), dtype=np.int64)),
        bytes=by_part(sizes),
        tokens=by_part(tokens),
        merged=tuple(labels[k] for k in sorted(small) if left[k] > 0),
        dropped=dropped,
    )


def _small_parts(labels: Sequence[str], shares: NDArray[np.floating], smallest: float) -> set[int]:
    """Labels to merge into `other`: those below `smallest`, and then the next ones until `other` itself is not below.

    One part beside `other` always stays.
    """
    pot = sum(float(shares[k]) for k, label in enumerate(labels) if label == OTHER)
    rest = [int(k) for k in np.argsort(shares, kind="stable") if labels[k] != OTHER and shares[k] > 0]
    merged: set[int] = set()
    for k in rest[:-1]:
        if shares[k] >= smallest and (pot == 0 or pot >= smallest):
            break
        merged.add(k)
        pot += float(shares[k])
    return merged


def _part_names(domain: str, kept: Sequence[str]) -> tuple[str, ...]:
    if len(kept) == 1:
        return (domain,)
    names: list[str] = []
    for label in kept:
        base = f"{domain}-{plain_name(label)}"
        name, number = base, 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return tuple(names)


def plain_name(topic: str) -> str:
    """A topic as a part of a domain's name: letters, digits and single hyphens, at most `LONGEST_NAME` characters."""
    return re.sub(r"[\W_]+", "-", topic.lower()).strip("-")[:LONGEST_NAME].strip("-") or "topic"
