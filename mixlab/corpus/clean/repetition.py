"""How much of a document repeats itself: its lines, its paragraphs, its sequences of words.

Source: Rae et al. 2021, appendix A1.1, table A1; sequences are of terms (see `words`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.words import U64, Index, Spans, TextArrays, mix

Share = NDArray[np.float64]


@dataclass(frozen=True)
class Repeats:
    """Share of a document's spans, and of their characters, that are copies of one before; shapes (documents,)."""

    spans: Share
    characters: Share


def repeats(arrays: TextArrays, spans: Spans) -> Repeats:
    """The copies among `spans` (lines or paragraphs), by document."""
    keys = _in_document(arrays.hashes(spans), spans.documents)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    copy = np.zeros(len(keys), dtype=bool)
    copy[order[1:]] = ordered[1:] == ordered[:-1]
    lengths = spans.lengths
    counts, sizes = arrays.per_document(spans.documents), arrays.per_document(spans.documents, lengths)
    copies = spans.documents[copy]
    return Repeats(
        _share(arrays.per_document(copies), counts), _share(arrays.per_document(copies, lengths[copy]), sizes)
    )


class Sequences:
    """The runs of `length` terms in the texts, grouped by document and content.

    Args:
        shorter: the runs of a smaller length. A sequence that comes again does so with its beginning, so that only
            those need to be looked at that start where a shorter one is repeated.
    """

    def __init__(self, arrays: TextArrays, length: int, shorter: Sequences | None = None) -> None:
        self._arrays, self._length = arrays, length
        hashes, first = arrays.sequences(length, shorter._repeated() if shorter is not None else None)
        documents = arrays.terms.documents[first]
        # One sort of (hash, position) packed into a word is several times faster than an argsort. About one in 2^40
        # pairs of different sequences shares the bits that are left for the hash.
        bits = max(len(first).bit_length(), 1)
        low = np.uint64((1 << bits) - 1)
        packed = (_in_document(hashes, documents) & ~low) | np.arange(len(first), dtype=np.uint64)
        packed.sort()
        key = packed >> np.uint64(bits)
        same = key[1:] == key[:-1]
        self._new = np.concatenate([[True], ~same])[: len(key)]
        grouped = ~self._new
        grouped[:-1] |= same
        # Only what comes more than once is kept: the terms where it starts, sorted by content, then by place.
        self._first = first[(packed[grouped] & low).astype(np.int64)]
        self._new = self._new[grouped]

    def _repeated(self) -> Index:
        return np.sort(self._first)

    def top_share(self) -> Share:
        """Share of each document's term characters in its most frequent sequence, 0 where none comes twice."""
        arrays = self._arrays
        group = np.flatnonzero(self._new)
        counts = np.diff(np.append(group, len(self._new)))
        term = self._first[group]
        sums = _term_characters(arrays)
        characters = counts * (sums[term + self._length] - sums[term])
        top = np.zeros(arrays.count)
        documents = arrays.terms.documents[term]
        # The most frequent one, and of several the longest.
        order = np.lexsort((characters, counts, documents))
        top[documents[order]] = characters[order]
        return _share(top, _term_totals(arrays))

    def duplicate_share(self) -> Share:
        """Share of each document's term characters inside sequences that occur earlier in it, overlaps counted once."""
        arrays = self._arrays
        copies = self._first[~self._new]
        edges = np.zeros(len(arrays.terms) + 1, dtype=np.int32)
        edges[copies] += 1
        np.subtract.at(edges, copies + self._length, 1)
        covered = np.cumsum(edges[:-1]) > 0
        terms = arrays.terms.pick(covered)
        return _share(arrays.per_document(terms.documents, terms.lengths), _term_totals(arrays))


def _in_document(hashes: U64, documents: Index) -> U64:
    return mix(hashes + documents.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _term_characters(arrays: TextArrays) -> Index:
    return np.concatenate([[0], np.cumsum(arrays.terms.lengths)])


def _term_totals(arrays: TextArrays) -> Share:
    return arrays.per_document(arrays.terms.documents, arrays.terms.lengths)


def _share(part: Share, whole: Share) -> Share:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
