"""The inventory of a prepared corpus: what every domain holds, and the fingerprint that runs are bound to.

inventory.json is the last file of a corpus to appear, so a corpus that has one is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mixlab.corpus.shards import REBUILD, SPLITS, shard_info, verify_shard
from mixlab.errors import CorpusError
from mixlab.files import read_json
from mixlab.mixture import Domain

INVENTORY_FILE = "inventory.json"


@dataclass(frozen=True)
class DomainShards:
    """What one domain holds.

    Attributes:
        train_tokens, validation_tokens: ids in the shards, ends of documents counted.
        train_bytes, validation_bytes: UTF-8 bytes of the text.
        documents, validation_documents: kept documents in all, and those of the validation side.
        duplicates: exact copies inside the domain that were dropped.
        empty: documents without any character but white space that were dropped.
        train_sha256, validation_sha256: checksums of the shards.
        read_documents, read_bytes: before anything was dropped.
        dropped: documents that a rule dropped, by rule; `exact` and `empty` are the duplicates and empty ones.
        skipped_rows: rows that could not be used, by fault.
        languages: what was kept, by language, where languages are identified.
    """

    train_tokens: int
    train_bytes: int
    validation_tokens: int
    validation_bytes: int
    documents: int
    validation_documents: int
    duplicates: int
    empty: int
    train_sha256: str
    validation_sha256: str
    read_documents: int = 0
    read_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped_rows: Mapping[str, int] = field(default_factory=dict)
    languages: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def unique_tokens(self) -> int:
        """Training tokens after copies and near-duplicates were dropped."""
        return self.train_tokens


@dataclass(frozen=True)
class Inventory:
    """A prepared corpus: tokenizer (hash), vocabulary and shards by domain, in the study's order."""

    shards: Mapping[str, DomainShards]
    vocab_size: int
    tokenizer: str

    @classmethod
    def load(cls, corpus_dir: Path | str) -> Inventory:
        """Read inventory.json.

        Raises:
            CorpusError: when the corpus is not prepared, or its shards are of another build than the inventory.
        """
        path = Path(corpus_dir) / INVENTORY_FILE
        if not path.is_file():
            raise CorpusError(f"no prepared corpus in {corpus_dir}", "run `mixlab prepare DIR` first")
        try:
            data = read_json(path, REBUILD)
            shards = {name: DomainShards(**facts) for name, facts in data["domains"].items()}
            inventory = cls(shards, int(data["vocab_size"]), str(data["tokenizer"]))
            stated = data["fingerprint"]
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{path} is not an inventory: {error}", REBUILD) from None
        if inventory.fingerprint != stated:
            raise CorpusError(f"{path} was edited: its fingerprint does not match its shards", REBUILD)
        for name, facts in shards.items():
            for split in SPLITS:
                if shard_info(corpus_dir, name, split).sha256 != getattr(facts, f"{split}_sha256"):
                    raise CorpusError(f"the {split} shard of domain `{name}` does not match {INVENTORY_FILE}", REBUILD)
        return inventory

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the tokenizer and every shard's domain and SHA-256."""
        parts = [[name, facts.train_sha256, facts.validation_sha256] for name, facts in self.shards.items()]
        text = json.dumps([self.tokenizer, self.vocab_size, sorted(parts)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains with their unique training tokens."""
        return tuple(Domain(name, facts.train_tokens) for name, facts in self.shards.items())

    def verify(self, corpus_dir: Path | str) -> None:
        """Read every shard whole.

        Raises:
            CorpusError: naming the first shard whose checksum differs.
        """
        for name in self.shards:
            for split in SPLITS:
                verify_shard(corpus_dir, name, split)

    def to_dict(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "vocab_size": self.vocab_size,
            "tokenizer": self.tokenizer,
            "domains": {name: asdict(facts) for name, facts in self.shards.items()},
        }
