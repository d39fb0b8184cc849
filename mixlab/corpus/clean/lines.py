"""Boilerplate: lines that many documents of a domain share (menus, notices, footers) are taken out of all of them.

Lines are compared in lower case without white space at their ends. Counting takes a pass over the domain before the
one that cleans it; what it leaves per block is the hashes of the lines, and memory does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.cleaned import chunks, key_of
from mixlab.corpus.clean.hashes import HashSet
from mixlab.corpus.clean.normalise import normalise
from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import U64, Index, TextArrays
from mixlab.study.cleaning import CleaningConfig

_BUCKET_BITS = 24


class Boilerplate(Step):
    """Takes the frequent lines out, and drops documents that are nothing else."""

    def __init__(self, listed: HashSet, min_characters: int) -> None:
        self._listed = listed
        self._min_characters = min_characters

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        config, hashes = settings.config.lines, settings.boilerplate
        if config is None or hashes is None or not len(hashes):
            return None
        return cls(HashSet(hashes), config.min_characters)

    def apply(self, part: Part) -> None:
        texts = part.texts
        empty = np.zeros(len(part), dtype=bool)
        for place, numbers in boilerplate(part.arrays, self._listed, self._min_characters).items():
            text, taken = without_lines(texts[place], numbers)
            part.change(place, text)
            part.note("lines", len(taken), taken)
            empty[place] = not text or text.isspace()
        part.drop("lines", empty)


@dataclass(frozen=True)
class LineKeys:
    """The different lines of documents: hash and document of each, shape (m,)."""

    hashes: U64
    documents: Index


def line_keys(arrays: TextArrays, min_characters: int) -> LineKeys:
    """Every line of at least `min_characters`, once a document."""
    lines = arrays.lines.pick(arrays.lines.lengths >= min_characters)
    hashes = arrays.hashes(lines)
    order = np.lexsort((hashes, lines.documents))
    hashes, documents = hashes[order], lines.documents[order]
    new = np.ones(len(hashes), dtype=bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (documents[1:] != documents[:-1])
    return LineKeys(hashes[new], documents[new])


def document_lines(config: CleaningConfig, texts: Sequence[str]) -> Iterator[tuple[U64, LineKeys]]:
    """Chunk by chunk the documents' keys and their lines, for the pass that counts lines."""
    assert config.lines is not None
    for start, end in chunks(texts):
        plain = [normalise(text) for text in texts[start:end]] if config.normalise else list(texts[start:end])
        keys = np.array([key_of(text) for text in plain], dtype=np.uint64)
        yield keys, line_keys(TextArrays(plain), config.lines.min_characters)


def frequent(read: Callable[[], Iterator[U64]], limit: int) -> U64:
    """The hashes of lines that more than `limit` documents have.

    `read` is called twice and gives the lines of every block (each line once a document): the first time lines are
    counted by the upper 24 bits of their hash, the second time one by one where such a count passes the limit.
    """
    buckets = np.zeros(1 << _BUCKET_BITS, dtype=np.uint32)
    for hashes in read():
        bucket, count = np.unique(_bucket(hashes), return_counts=True)
        buckets[bucket] += count.astype(np.uint32)
    full = buckets > limit
    counts: dict[int, int] = {}
    for hashes in read():
        values, count = np.unique(hashes[full[_bucket(hashes)]], return_counts=True)
        for value, number in zip(values.tolist(), count.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    return np.array(sorted(value for value, number in counts.items() if number > limit), dtype=np.uint64)


def _bucket(hashes: U64) -> Index:
    return (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)


def boilerplate(arrays: TextArrays, listed: HashSet, min_characters: int) -> dict[int, NDArray[np.int64]]:
    """Document -> the numbers of its lines (from 0) that are listed."""
    lines = arrays.lines.pick(arrays.lines.lengths >= min_characters)
    found, _ = listed.find(arrays.hashes(lines))
    documents = lines.documents[found]
    number = np.searchsorted(arrays.newlines, lines.starts[found])
    number -= np.searchsorted(arrays.newlines, arrays.bounds[documents])
    return {int(each): number[documents == each] for each in np.unique(documents)}


def without_lines(text: str, numbers: NDArray[np.int64]) -> tuple[str, list[str]]:
    """`text` without the lines of these numbers, and the lines."""
    lines = text.split("\n")
    taken = set(numbers.tolist())
    kept = [line for number, line in enumerate(lines) if number not in taken]
    return "\n".join(kept), [lines[number] for number in sorted(taken)]
