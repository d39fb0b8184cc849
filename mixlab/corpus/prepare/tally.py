"""What the cleaning steps did to each domain, in numbers and samples; cleaning.json holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixlab.corpus.clean.cleaned import SAMPLE_CHARACTERS, SAMPLES, Edit
from mixlab.corpus.prepare.blocks import Skipped
from mixlab.files import read_json, write_json

CLEANING_FILE = "cleaning.json"

# By domain what `Tally.to_dict` gives.
Cleaning = dict[str, Any]


@dataclass
class Dropped:
    """What one rule dropped: documents, their bytes as read, and the beginnings of a few."""

    documents: int = 0
    size: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)

    def note(self, size: int, text: bytes, like: bytes | None = None) -> None:
        self.documents += 1
        self.size += size
        if len(self.samples) < SAMPLES:
            sample = {"text": _head(text)}
            if like is not None:
                sample["like"] = _head(like)
            self.samples.append(sample)


def _head(text: bytes) -> str:
    return text[: 4 * SAMPLE_CHARACTERS].decode(errors="ignore")[:SAMPLE_CHARACTERS]


@dataclass
class Tally:
    """What happened to one domain's documents.

    Attributes:
        documents, bytes: read, before anything was dropped.
        kept_bytes: of the documents that are part of the corpus, as they are after the steps.
        full: whether `max_bytes` is reached.
        dropped: by rule, in the order in which a rule was first met.
        edited: by kind.
        skipped: rows that could not be used.
    """

    documents: int = 0
    bytes: int = 0
    kept_bytes: int = 0
    full: bool = False
    dropped: dict[str, Dropped] = field(default_factory=dict)
    edited: dict[str, Edit] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=Skipped)

    def count(self, rule: str) -> int:
        """Documents that `rule` dropped."""
        return self.dropped[rule].documents if rule in self.dropped else 0

    @property
    def losses(self) -> str:
        """What went missing, for a message."""
        parts = [f"{each.documents:,} {rule}" for rule, each in self.dropped.items()]
        parts += [f"{count:,} rows skipped: {reason}" for reason, count in self.skipped.counts.items()]
        return f"documents read: {self.documents:,}; dropped: {', '.join(parts) or 'none'}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "read": {"documents": self.documents, "bytes": self.bytes},
            "dropped": {
                rule: {"documents": each.documents, "bytes": each.size, "samples": each.samples}
                for rule, each in self.dropped.items()
            },
            "edited": {kind: vars(each) for kind, each in self.edited.items()},
            "skipped": {"rows": dict(self.skipped.counts), "samples": self.skipped.samples},
        }


def write_cleaning(corpus_dir: Path, tallies: Mapping[str, Tally]) -> None:
    """Write cleaning.json."""
    domains = {name: tally.to_dict() for name, tally in tallies.items()}
    write_json(corpus_dir / CLEANING_FILE, {"version": 1, "domains": domains})


def read_cleaning(corpus_dir: Path, samples: int = SAMPLES) -> Cleaning:
    """cleaning.json by domain, with at most `samples` samples a rule.

    Raises:
        ConfigError: when it is missing or damaged.
    """
    data: Cleaning = read_json(corpus_dir / CLEANING_FILE, "`mixlab prepare DIR --force` writes it")["domains"]
    for domain in data.values():
        for part in (*domain["dropped"].values(), *domain["edited"].values(), domain["skipped"]):
            part["samples"] = part["samples"][:samples]
    return data
