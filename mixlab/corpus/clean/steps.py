"""Applies the steps of `options.CleaningConfig` to a block of documents, as far as a block can be judged by itself.

Order: address, normalisation, empty text, language, boilerplate lines, quality rules, words, benchmarks, masking, and
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
from mixlab.corpus.clean.pii import mask, may_hold
from mixlab.corpus.clean.quality import broken_rules
from mixlab.corpus.clean.words import U64, Block
from mixlab.study.cleaning import BenchmarksConfig, CleaningConfig

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
        result = Cleaned(sizes=[len(text.encode()) for text in texts])
        plain = _plain(self.config, texts)
        for before, after in zip(texts, plain, strict=True):
            if after is not before and after != before:
                result.edits.setdefault("normalised", Edit()).note(1, [before])
        result.keys = [key_of(text) for text in plain]
        result.drops = [self._first_verdict(text, url) for text, url in zip(plain, urls, strict=True)]
        result.languages = self._languages(plain, result.drops)
        result.texts = list(plain)
        if self.config.costly:
            for start, end in _chunks(plain):
                self._chunk(start, end, result)
        result.finals = [
            key if now is then else key_of(now) for key, now, then in zip(result.keys, result.texts, plain, strict=True)
        ]
        result.texts = [
            text[:SAMPLE_CHARACTERS] if drop else text for text, drop in zip(result.texts, result.drops, strict=True)
        ]
        return result

    def _first_verdict(self, text: str, url: str | None) -> str | None:
        if self._urls is not None and url is not None and url in self._urls:
            return URL
        return EMPTY if not text or text.isspace() else None

    def _languages(self, texts: Sequence[str], drops: list[str | None]) -> list[str]:
        """The language of every document; those in others than the wanted ones are marked in `drops`."""
        if self._identifier is None or self.config.languages is None:
            return [""] * len(texts)
        languages = self._identifier.identify(texts)
        keep = self.config.languages.keep
        for number, language in enumerate(languages):
            if keep is not None and drops[number] is None and language not in keep:
                drops[number] = "language"
        return languages

    def _chunk(self, start: int, end: int, result: Cleaned) -> None:
        """The steps after languages, over some documents; changes `result` in place."""
        signed = np.full((end - start, HASHES), 0xFFFFFFFF, dtype=np.uint32) if self.config.near else None
        left = [number for number in range(start, end) if result.drops[number] is None]
        if left:
            block = self._without_boilerplate(left, result)
            languages = [result.languages[number] for number in left] if self._identifier is not None else None
            for rule, broken in self._rules(block, languages):
                for place in np.flatnonzero(broken):
                    result.drops[left[place]] = result.drops[left[place]] or rule
            if self.config.pii:
                self._mask_all(block, left, result)
            if signed is not None and self.config.near is not None:
                signed[np.array(left) - start] = signatures(block, self.config.near.words)
        if signed is not None:
            result.signatures.append(signed)

    def _without_boilerplate(self, left: list[int], result: Cleaned) -> Block:
        """Take listed lines out of the documents `left`, and analyse what they are then."""
        block = Block([result.texts[number] for number in left])
        if self._lines is None or self.config.lines is None:
            return block
        found = boilerplate(block, self._lines, self.config.lines.min_characters)
        for place, numbers in found.items():
            number = left[place]
            text, taken = without_lines(result.texts[number], numbers)
            result.texts[number] = text
            result.edits.setdefault("lines", Edit()).note(len(taken), taken)
            if not text or text.isspace():
                result.drops[number] = "lines"
        return Block([result.texts[number] for number in left]) if found else block

    def _rules(self, block: Block, languages: list[str] | None) -> Iterator[tuple[str, np.ndarray]]:
        if self.config.quality is not None:
            yield from broken_rules(block, self.config.quality, languages)
        if self._words is not None:
            yield "words", self._words.broken(block)
        if self._benchmarks is not None:
            found = self._benchmarks.find(block)
            for number, name in enumerate(self._benchmarks.names):
                yield f"benchmark {name}", found == number

    def _mask_all(self, block: Block, left: list[int], result: Cleaned) -> None:
        worth = may_hold(block)
        for place, number in enumerate(left):
            kinds = [kind for kind in self.config.pii if worth[kind][place]]
            if result.drops[number] is None and kinds:
                result.texts[number] = _mask(result.texts[number], kinds, result.edits)


def _mask(text: str, kinds: Sequence[str], edits: dict[str, Edit]) -> str:
    counts: Counter[str] = Counter()
    masked = mask(text, kinds, counts)
    for kind, count in (+counts).items():
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
