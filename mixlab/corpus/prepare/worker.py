"""What worker processes do for a prepare: count lines, clean a block, tokenise a block.

Each leaves a file per block, written whole or not at all; a block whose file is there is not worked on again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mixlab.corpus.clean.cleaner import Cleaner
from mixlab.corpus.clean.lines import document_lines
from mixlab.corpus.clean.words import U64, Index
from mixlab.corpus.prepare.block_files import read_block, write_block
from mixlab.corpus.prepare.blocks import CleanBlock, RawBlock, clean_block, read_documents
from mixlab.corpus.read.documents import utf8
from mixlab.corpus.shards import SPLITS, closed_ids, slug, token_dtype
from mixlab.corpus.tokenizer import TOKENIZER_FILE, Tokenizer, load_tokenizer
from mixlab.study.config import StudyConfig


@dataclass(frozen=True)
class Build:
    """A corpus that is being built.

    Attributes:
        config: of the study.
        base_dir: what the study's paths are relative to.
        folder: of the new corpus; blocks are in `blocks`, which is gone at the end.
    """

    config: StudyConfig
    base_dir: Path
    folder: Path

    @property
    def blocks(self) -> Path:
        return self.folder / "blocks"

    def block(self, domain: str, number: int, kind: str) -> Path:
        """The file of a block: `lines`, `clean` or `tokens`."""
        return self.blocks / f"{slug(domain)}.{number:06d}.{kind}"

    def boilerplate(self, domain: str) -> Path:
        """The file of a domain's frequent lines."""
        return self.blocks / f"{slug(domain)}.boilerplate.npy"


class Worker:
    """A process's state: the cleaners by domain, and the tokenizer once it is there."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._cleaners: dict[str, Cleaner] = {}
        self._tokenizer: Tokenizer | None = None

    def cleaner(self, domain: str) -> Cleaner:
        if domain not in self._cleaners:
            corpus = self.build.config.corpus
            path = self.build.boilerplate(domain)
            lines = np.load(path, allow_pickle=False) if path.exists() else None
            # One at a time, as lists take memory; blocks come domain by domain.
            self._cleaners = {
                domain: Cleaner(corpus.cleaning_of(self.build.config.domains[domain]), self.build.base_dir, lines)
            }
        return self._cleaners[domain]

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.build.folder / TOKENIZER_FILE)
        return self._tokenizer

    def side(self, group: str) -> str:
        return side(group, self.build.config.corpus.validation_fraction)


def side(group: str, validation_fraction: float) -> str:
    """The split of a group: `validation` for a share `validation_fraction` of the hashes of all groups."""
    number = int.from_bytes(hashlib.sha256(utf8(group, "a group's name")).digest()[:8], "big")
    return "validation" if number < validation_fraction * 2**64 else "train"


def count_lines(worker: Worker, block: RawBlock) -> tuple[str, Path]:
    """Write the keys of a block's documents and the hashes of their lines."""
    path = worker.build.block(block.domain, block.number, "lines")
    if path.exists():
        return block.domain, path
    domain = worker.build.config.domains[block.domain]
    cleaning = worker.build.config.corpus.cleaning_of(domain)
    documents = read_documents(block, domain, cleaning.urls.field if cleaning.urls else None)
    keys, hashes, owners, before = [], [], [], 0
    for chunk_keys, lines in document_lines(cleaning, documents.texts):
        keys.append(chunk_keys)
        hashes.append(lines.hashes)
        owners.append(lines.documents + before)
        before += len(chunk_keys)
    names = ("keys", "hashes", "owners")
    parts = [np.concatenate(each) if each else np.zeros(0, dtype=np.uint64) for each in (keys, hashes, owners)]
    write_block(path, dict(zip(names, parts, strict=True)))
    return block.domain, path


def read_lines(path: Path) -> tuple[U64, U64, Index]:
    """(keys of the documents, hashes of the lines, document of each line) of a block."""
    arrays, _ = read_block(path)
    return arrays["keys"], arrays["hashes"], arrays["owners"].astype(np.int64)


def clean(worker: Worker, block: RawBlock) -> tuple[str, Path]:
    """Write a block's cleaned documents."""
    path = worker.build.block(block.domain, block.number, "clean")
    if not path.exists():
        domain = worker.build.config.domains[block.domain]
        clean_block(block, domain, worker.cleaner(block.domain), worker.side, path)
    return block.domain, path


@dataclass(frozen=True)
class Admitted:
    """A block's documents that are part of the corpus: `kept`, one byte a document, 1 or 0."""

    domain: str
    path: Path
    kept: bytes

    @property
    def chosen(self) -> np.ndarray:
        """Numbers of the kept documents."""
        return np.flatnonzero(np.frombuffer(self.kept, dtype=np.uint8))


@dataclass
class Amount:
    """Documents, bytes of UTF-8 and tokens (ends of documents counted)."""

    documents: int = 0
    size: int = 0
    tokens: int = 0

    def add(self, documents: int, size: int, tokens: int) -> None:
        self.documents += documents
        self.size += size
        self.tokens += tokens

    def to_dict(self) -> dict[str, int]:
        return {"documents": self.documents, "bytes": self.size, "tokens": self.tokens}


@dataclass
class TokenFacts:
    """Amounts, by split and by language."""

    splits: dict[str, Amount] = field(default_factory=lambda: {split: Amount() for split in SPLITS})
    languages: dict[str, Amount] = field(default_factory=dict)

    def merge(self, other: TokenFacts) -> None:
        for mine, others in ((self.splits, other.splits), (self.languages, other.languages)):
            for name, amount in others.items():
                mine.setdefault(name, Amount()).add(amount.documents, amount.size, amount.tokens)


Tokens = tuple[dict[str, bytes], TokenFacts]


def encode(worker: Worker, block: Admitted) -> Tokens:
    """The ids of a block's kept documents by split, and the amounts."""
    ids = worker.build.config.domains[block.domain].format != "auto"
    item = token_dtype(worker.tokenizer.vocab_size).itemsize
    facts, parts = TokenFacts(), {split: list[bytes]() for split in SPLITS}
    for split, language, size, data in _encoded(worker.tokenizer, CleanBlock(block.path), block.chosen, ids):
        parts[split].append(data)
        tokens = len(data) // item
        facts.splits[split].add(1, size, tokens)
        if language:
            facts.languages.setdefault(language, Amount()).add(1, size, tokens)
    return {split: b"".join(parts[split]) for split in SPLITS}, facts


def tokenise(worker: Worker, block: Admitted) -> Path:
    """Write what `encode` gives."""
    # What is kept follows from the sources, and so is the same when a prepare goes on.
    path = block.path.with_suffix(".tokens")
    if not path.exists():
        data, facts = encode(worker, block)
        arrays = {split: np.frombuffer(data[split], dtype=np.uint8) for split in SPLITS}
        write_block(path, arrays, asdict(facts))
    return path


def _encoded(
    tokenizer: Tokenizer, block: CleanBlock, chosen: np.ndarray, ids: bool
) -> Iterator[tuple[str, str, int, bytes]]:
    """(split, language, bytes of text, closed ids) of every kept document."""
    lengths = tokenizer.byte_lengths() if ids else None
    for number in chosen.tolist():
        data = block.data(number)
        if lengths is None:
            encoded, size = tokenizer.encode(data.decode()), len(data)
        else:
            encoded = np.frombuffer(data, dtype=np.uint32)
            size = int(lengths[encoded].sum())
        split = "validation" if block.validation[number] else "train"
        closed = closed_ids(encoded, tokenizer.vocab_size, tokenizer.end_of_document)
        yield split, block.languages[number], size, closed


def read_tokens(path: Path) -> Tokens:
    """What `tokenise` wrote."""
    arrays, facts = read_block(path)
    splits = {split: Amount(**amount) for split, amount in facts["splits"].items()}
    languages = {name: Amount(**amount) for name, amount in facts["languages"].items()}
    return {split: arrays[split].tobytes() for split in SPLITS}, TokenFacts(splits, languages)
