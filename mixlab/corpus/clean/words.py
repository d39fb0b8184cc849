"""Documents as arrays: words, terms, lines and sequences of terms of many texts at once, with 64-bit hashes.

Everything is over one array of code points (n) of the texts in lower case, so that rules cost a few passes
over memory rather than a loop over words. A *word* is what lies between white space; a *term* is a run of letters,
digits and marks, or one ideograph. A hash of a span is sum_i (c_i + 1) B^(i - start) mod 2^64, mixed, which differences
of one cumulative sum give for every span at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Index = NDArray[np.int64]

SPACE, ALPHA, TERM, IDEOGRAPH = 1, 2, 4, 8
MAX_CHARACTERS = 4_000_000
_BASE = 0x9E3779B97F4A7C15 | 1
_TERM_BASE = 0xC2B2AE3D27D4EB4F | 1
_MASK = (1 << 64) - 1
_TABLE_SIZE = 0x33480  # above are only unassigned, private and tag characters


@cache
def _classes() -> NDArray[np.uint8]:
    table = np.zeros(_TABLE_SIZE, dtype=np.uint8)
    for code in range(_TABLE_SIZE):
        character = chr(code)
        if 0x3400 <= code < 0xA000 or 0x3040 <= code < 0x3100 or code >= 0x20000:
            table[code] = ALPHA | TERM | IDEOGRAPH
        elif character.isspace():
            table[code] = SPACE
        elif character.isalpha():
            table[code] = ALPHA | TERM
        elif character.isdigit() or unicodedata.category(character)[0] == "M":
            table[code] = TERM
    return table


def _powers(base: int, size: int) -> U64:
    """base^0 ... base^(size-1) mod 2^64."""
    powers = np.full(size, base, dtype=np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


class _Powers:
    """Powers of a base and of its inverse, grown as needed."""

    def __init__(self, base: int) -> None:
        self._base, self._inverse = base, pow(base, -1, 1 << 64)
        self._up = self._down = np.ones(1, dtype=np.uint64)

    def up(self, size: int) -> U64:
        self._grow(size)
        return self._up[:size]

    def down(self, at: Index) -> U64:
        return self._down[at]

    def _grow(self, size: int) -> None:
        if size > len(self._up):
            size = max(size, 1 << 20)
            self._up, self._down = _powers(self._base, size), _powers(self._inverse, size)


_CHARACTER_POWERS = _Powers(_BASE)
_TERM_POWERS = _Powers(_TERM_BASE)


def mix(values: U64) -> U64:
    """Spread every bit over the word (the finaliser of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _cumulative(values: U64) -> U64:
    """0 and the running sums mod 2^64, shape (n + 1,)."""
    sums = np.empty(len(values) + 1, dtype=np.uint64)
    sums[0] = 0
    np.cumsum(values, out=sums[1:])
    return sums


def _group(positions: Index, bounds: Index) -> Index:
    """How many of `bounds` are at or before each of `positions`, both sorted; a search for the shorter list."""
    ends = np.searchsorted(positions, bounds)
    return np.repeat(np.arange(len(bounds) + 1), np.diff(ends, prepend=0, append=len(positions)))


@dataclass(frozen=True)
class Spans:
    """Pieces of the code points: [starts, ends) of each, shape (m,), and the document it is in."""

    starts: Index
    ends: Index
    documents: Index

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Index:
        return self.ends - self.starts

    def pick(self, chosen: NDArray[np.bool_]) -> Spans:
        return Spans(self.starts[chosen], self.ends[chosen], self.documents[chosen])


class TextArrays:
    """The arrays of some texts, made on demand.

    A text of more than `MAX_CHARACTERS` characters is seen by its beginning; `cut` says which are, shape (count,).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lowered = [text[:MAX_CHARACTERS].lower() for text in texts]
        joined = "\n".join(lowered) + "\n"
        self.lowered = lowered
        self.codes: NDArray[np.uint32] = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        self.count = len(texts)
        sizes = np.fromiter(map(len, lowered), dtype=np.int64, count=len(lowered))
        # Where each text starts, and one past the last; the separator belongs to the text before it.
        self.bounds: Index = np.concatenate([[0], np.cumsum(sizes + 1)])
        self.cut = np.array([len(text) > MAX_CHARACTERS for text in texts], dtype=bool)

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """Flags of every code point, shape (n,)."""
        return _classes()[np.minimum(self.codes, _TABLE_SIZE - 1)]

    def documents_at(self, positions: Index) -> Index:
        """The documents that code points belong to; `positions` must be sorted."""
        return _group(positions, self.bounds[1:-1])

    @cached_property
    def _sums(self) -> U64:
        return _cumulative((self.codes.astype(np.uint64) + np.uint64(1)) * _CHARACTER_POWERS.up(len(self.codes)))

    def hashes(self, spans: Spans) -> U64:
        """A hash of the text of every span, shape (m,)."""
        _CHARACTER_POWERS.up(len(self.codes) + 1)
        return mix((self._sums[spans.ends] - self._sums[spans.starts]) * _CHARACTER_POWERS.down(spans.starts))

    def _runs(self, inside: NDArray[np.bool_]) -> tuple[Index, Index]:
        edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        if inside[0]:
            edges = np.concatenate([[0], edges])
        # The last code point is a separator and never inside.
        return edges[0::2], edges[1::2]

    @cached_property
    def words(self) -> Spans:
        starts, ends = self._runs((self.classes & SPACE) == 0)
        return Spans(starts, ends, self.documents_at(starts))

    @cached_property
    def lines(self) -> Spans:
        """Lines with a character on them, from their first word's start to their last one's end."""
        words = self.words
        line = _group(words.starts, self.newlines)
        first = np.flatnonzero(np.diff(line, prepend=-1))
        last = np.append(first[1:], len(words)) - 1
        if not len(words):
            return words
        return Spans(words.starts[first], words.ends[last], words.documents[first])

    @cached_property
    def newlines(self) -> Index:
        return np.flatnonzero(self.codes == ord("\n"))

    @cached_property
    def paragraphs(self) -> Spans:
        """Lines without a blank line between them."""
        lines = self.lines
        if not len(lines):
            return lines
        number = _group(lines.starts, self.newlines)
        first = np.flatnonzero((np.diff(number, prepend=-2) > 1) | (np.diff(lines.documents, prepend=-1) > 0))
        last = np.append(first[1:], len(lines)) - 1
        return Spans(lines.starts[first], lines.ends[last], lines.documents[first])

    @cached_property
    def terms(self) -> Spans:
        inside = (self.classes & TERM) != 0
        ideographs = (self.classes & IDEOGRAPH) != 0
        if not ideographs.any():
            starts, ends = self._runs(inside)
        else:
            before = np.concatenate([[False], inside[:-1] & ~ideographs[:-1]])
            starts = np.flatnonzero(inside & (ideographs | ~before))
            after = np.concatenate([inside[1:] & ~ideographs[1:], [False]])
            ends = np.flatnonzero(inside & (ideographs | ~after)) + 1
        return Spans(starts, ends, self.documents_at(starts))

    @cached_property
    def term_hashes(self) -> U64:
        return self.hashes(self.terms)

    @cached_property
    def _term_sums(self) -> U64:
        return _cumulative(self.term_hashes * _TERM_POWERS.up(len(self.terms)))

    def sequences(self, length: int, among: Index | None = None) -> tuple[U64, Index]:
        """Hashes of the runs of `length` terms inside one document, and the index of the first term of each.

        Args:
            among: only runs that start at these terms.
        """
        documents = self.terms.documents
        count = max(len(documents) - length + 1, 0)
        if among is None:
            first = np.flatnonzero(documents[:count] == documents[length - 1 :][:count])
        else:
            first = among[among < count]
            first = first[documents[first] == documents[first + length - 1]]
        _TERM_POWERS.up(len(self.terms) + 1)
        sums = self._term_sums
        return mix((sums[first + length] - sums[first]) * _TERM_POWERS.down(first) + np.uint64(length)), first

    def per_document(self, documents: Index, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """How many of `documents`, which must be sorted, or how much of `weights` belongs to each, shape (count,)."""
        bounds = np.searchsorted(documents, np.arange(self.count + 1))
        if weights is not None:
            bounds = np.concatenate([[0], np.cumsum(weights)])[bounds]
        return np.diff(bounds).astype(np.float64)


def phrase_hash(text: str) -> tuple[int, int]:
    """(number of terms, hash) of a phrase, as `TextArrays.sequences` of that length gives it."""
    arrays = TextArrays([text])
    length = len(arrays.terms)
    return (length, int(arrays.sequences(length)[0][0])) if length else (0, 0)
