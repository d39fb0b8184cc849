"""Applies the steps of `options.CleaningConfig` to a block of documents, as far as a block can be judged by itself.

Order: address, normalisation, empty text, boilerplate lines, language, quality rules, words, benchmarks, masking, and
the signature that near-duplicates are found by. Whether a document is a copy of another is not decided here: the block
only carries the keys.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from mixlab.corpus.clean.blocklist import UrlList, WordList
from mixlab.corpus.clean.contamination import Benchmarks
from mixlab.corpus.clean.hashes import HashSet
from mixlab.corpus.clean.language import LanguageIdentifier
from mixlab.corpus.clean.lines import LineKeys, boilerplate, line_keys, without_lines
from mixlab.corpus.clean.near import HASHES, Signatures, signatures
from mixlab.corpus.clean.normalise import normalise
from mixlab.corpus.clean.options import BenchmarksConfig, CleaningConfig
from mixlab.corpus.clean.pii import mask
from mixlab.corpus.clean.quality import broken_rules
from mixlab.corpus.clean.words import U64, Block

# Arrays over so many characters stay in a core's cache.
CHUNK_CHARACTERS = 300_000
SAMPLES = 10
SAMPLE_CHARACTERS = 300

URL, EMPTY, EXACT, NEAR = "url", "empty", "exact", "near"


@dataclass
class Edit:
    """What one kind of change did to the documents of a block: how many, how often, and what it took away."""

    documents: int = 0
    count: int = 0
    samples: list[str] = field(default_factory=list)

    def note(self, count: int, samples: Sequence[str] = ()) -> None:
        self.documents += 1
        self.count += count
        self.samples += [each[:SAMPLE_CHARACTERS] for each in samples[: SAMPLES - len(self.samples)]]

    def merge(self, other: Edit) -> None:
        self.documents += other.documents
        self.count += other.count
        self.samples += other.samples[: SAMPLES - len(self.samples)]


@dataclass
class Cleaned:
    """Documents after the steps; all lists have one entry a document.

    Attributes:
        texts: what is left of the text; of a dropped document its beginning.
        sizes: bytes of the text as it was read.
        keys: 64-bit hashes of the text before anything was taken out of it, 0 for dropped addresses.
        finals: hashes of the text as it is now.
        drops: the rule that a document breaks, or None.
        languages: codes, empty where languages are not identified.
        signatures: shape (documents, HASHES), where near-duplicates are looked for.
        edits: by kind.
    """

    texts: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    finals: list[int] = field(default_factory=list)
    drops: list[str | None] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    signatures: list[Signatures] = field(default_factory=list)
    edits: dict[str, Edit] = field(default_factory=dict)


def key_of(text: str) -> int:
    """64 bits of the SHA-256 of the text. Among 40 million documents two different ones agree once in 23,000 tries."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


class Cleaner:
    """Args:
    config: the steps of a domain.
    base_dir: what relative paths of lists and benchmarks are relative to.
    lines: hashes of the domain's boilerplate lines.
    """

    def __init__(self, config: CleaningConfig, base_dir: Path, lines: U64 | None = None) -> None:
        self.config = config
        self._urls = UrlList(config.urls, base_dir) if config.urls else None
        self._lines = HashSet(lines) if lines is not None and len(lines) else None
        self._identifier = _identifier(config.languages.characters) if config.languages else None
        if self._identifier is not None and config.languages and config.languages.keep:
            self._identifier.check(config.languages.keep)
        self._words = WordList(config.words, base_dir) if config.words else None
        self._benchmarks = _benchmarks(config.benchmarks, base_dir) if config.benchmarks else None

    def clean(self, texts: Sequence[str], urls: Sequence[str | None]) -> Cleaned:
        """Apply the steps; memory is bounded by the longest document, of which 4 million characters are judged."""
        result = Cleaned()
        for start, end in _chunks(texts):
            self._chunk(texts[start:end], urls[start:end], result)
        return result

    def _chunk(self, texts: Sequence[str], urls: Sequence[str | None], result: Cleaned) -> None:
        drops: list[str | None] = [
            URL if self._urls is not None and url is not None and url in self._urls else None for url in urls
        ]
        plain = _plain(self.config, texts)
        for before, after in zip(texts, plain, strict=True):
            if after is not before and after != before:
                result.edits.setdefault("normalised", Edit()).note(1, [before])
        for number, text in enumerate(plain):
            if drops[number] is None and (not text or text.isspace()):
                drops[number] = EMPTY
        keys = [key_of(text) for text in plain]
        left = [number for number, drop in enumerate(drops) if drop is None]
        finals, languages = list(plain), [""] * len(plain)
        signed = np.full((len(plain), HASHES), 0xFFFFFFFF, dtype=np.uint32) if self.config.near else None
        if left and self.config.costly:
            self._judge(left, finals, languages, drops, signed, result.edits)
        result.texts += [text[:SAMPLE_CHARACTERS] if drop else text for text, drop in zip(finals, drops, strict=True)]
        result.sizes += [len(text.encode()) for text in texts]
        result.keys += keys
        result.finals += [
            key if now is then else key_of(now) for key, now, then in zip(keys, finals, plain, strict=True)
        ]
        result.drops += drops
        result.languages += languages
        if signed is not None:
            result.signatures.append(signed)

    def _judge(
        self,
        left: list[int],
        texts: list[str],
        languages: list[str],
        drops: list[str | None],
        signed: Signatures | None,
        edits: dict[str, Edit],
    ) -> None:
        """The steps after the empty ones, over the documents `left`; changes the lists in place."""
        block = self._without_boilerplate([texts[number] for number in left], left, texts, drops, edits)
        names = None
        if self._identifier is not None:
            names = self._identifier.identify([texts[number] for number in left])
            for number, name in zip(left, names, strict=True):
                languages[number] = name
        for rule, broken in self._rules(block, names):
            for place in np.flatnonzero(broken):
                drops[left[place]] = drops[left[place]] or rule
        for number in left:
            if drops[number] is None and self.config.pii:
                texts[number] = self._mask(texts[number], edits)
        if signed is not None and self.config.near is not None:
            signed[left] = signatures(block, self.config.near.words)

    def _without_boilerplate(
        self,
        given: list[str],
        left: list[int],
        texts: list[str],
        drops: list[str | None],
        edits: dict[str, Edit],
    ) -> Block:
        block = Block(given)
        if self._lines is None or self.config.lines is None:
            return block
        found = boilerplate(block, self._lines, self.config.lines.min_characters)
        for place, numbers in found.items():
            number = left[place]
            texts[number], taken = without_lines(texts[number], numbers)
            edits.setdefault("lines", Edit()).note(len(taken), taken)
            if not texts[number] or texts[number].isspace():
                drops[number] = "lines"
        return Block([texts[number] for number in left]) if found else block

    def _rules(self, block: Block, languages: list[str] | None) -> Iterator[tuple[str, np.ndarray]]:
        keep = self.config.languages.keep if self.config.languages else None
        if languages is not None and keep is not None:
            yield "language", np.array([language not in keep for language in languages])
        if self.config.quality is not None:
            yield from broken_rules(block, self.config.quality, languages)
        if self._words is not None:
            yield "words", self._words.broken(block)
        if self._benchmarks is not None:
            found = self._benchmarks.find(block)
            for number, name in enumerate(self._benchmarks.names):
                yield f"benchmark {name}", found == number

    def _mask(self, text: str, edits: dict[str, Edit]) -> str:
        counts: Counter[str] = Counter()
        masked = mask(text, self.config.pii, counts)
        for kind, count in counts.items():
            at = max(masked.find(f"<{kind}>") - 60, 0)
            edits.setdefault(kind, Edit()).note(count, [masked[at : at + 140]])
        return masked


def document_lines(config: CleaningConfig, texts: Sequence[str]) -> Iterator[tuple[U64, LineKeys]]:
    """Chunk by chunk the documents' keys and their lines, for the pass that counts lines."""
    assert config.lines is not None
    for start, end in _chunks(texts):
        plain = _plain(config, texts[start:end])
        keys = np.array([key_of(text) for text in plain], dtype=np.uint64)
        yield keys, line_keys(Block(plain), config.lines.min_characters)


def _plain(config: CleaningConfig, texts: Sequence[str]) -> list[str]:
    return [normalise(text) for text in texts] if config.normalise else list(texts)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start, size = 0, 0
    for number, text in enumerate(texts):
        if size and size + len(text) > CHUNK_CHARACTERS:
            yield start, number
            start, size = number, 0
        size += len(text) + 1
    if start < len(texts):
        yield start, len(texts)


@lru_cache(maxsize=2)
def _identifier(characters: int) -> LanguageIdentifier:
    return LanguageIdentifier(characters)


@lru_cache(maxsize=2)
def _benchmarks(config: BenchmarksConfig, base_dir: Path) -> Benchmarks:
    return Benchmarks(config, base_dir)
