"""Near-duplicates by MinHash and locality-sensitive hashing; of similar documents the first is kept.

Source: Broder 1997 for the estimate of the Jaccard similarity, Leskovec, Rajaraman and Ullman 2014, chapter 3.4, for
the bands. The permutations are those of multiply-shift over 32-bit shingle hashes. Candidates are never trusted: a
document is dropped when the estimate over all hashes, with a document that was kept, reaches the threshold.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import U64, Index, TextArrays, mix

HASHES = 150
# A document is compared with so many before it in its bucket, and with the bucket's first.
NEIGHBOURS = 8
_EMPTY = np.uint32(0xFFFFFFFF)

Signatures = NDArray[np.uint32]


class NearSignatures(Step):
    """Gives every document the signature that near-duplicates are found by, once all documents are known."""

    def __init__(self, words: int) -> None:
        self._words = words

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        return cls(settings.config.near.words) if settings.config.near else None

    def apply(self, part: Part) -> None:
        part.set_signatures(signatures(part.arrays, self._words), _EMPTY)


@cache
def _permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    values = mix(np.arange(1, 2 * HASHES + 1, dtype=np.uint64))
    multipliers = (values[:HASHES] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    return multipliers, (values[HASHES:] >> np.uint64(32)).astype(np.uint32)


def signatures(arrays: TextArrays, words: int) -> Signatures:
    """MinHash signatures over the sets of runs of `words` terms, shape (count, HASHES).

    A shorter document is one shingle; one without a term has a signature that is like no other's.
    """
    hashes, documents = _shingles(arrays, words)
    signed = np.full((arrays.count, HASHES), _EMPTY, dtype=np.uint32)
    if not len(hashes):
        return signed
    starts = np.flatnonzero(np.diff(documents, prepend=-1))
    present = documents[starts]
    small = (hashes >> np.uint64(32)).astype(np.uint32)
    scratch = np.empty_like(small)
    for number, (multiplier, shift) in enumerate(zip(*_permutations(), strict=True)):
        np.multiply(small, multiplier, out=scratch)
        np.add(scratch, shift, out=scratch)
        signed[present, number] = np.minimum.reduceat(scratch, starts)
    return signed


def _shingles(arrays: TextArrays, words: int) -> tuple[U64, Index]:
    hashes, first = arrays.sequences(words)
    documents = arrays.terms.documents[first]
    counts = arrays.per_document(arrays.terms.documents)
    for length in range(1, words):
        if (counts == length).any():
            whole, first = arrays.sequences(length)
            owner = arrays.terms.documents[first]
            chosen = counts[owner] == length
            hashes = np.concatenate([hashes, whole[chosen]])
            documents = np.concatenate([documents, owner[chosen]])
    order = np.argsort(documents, kind="stable")
    return hashes[order], documents[order]


def rows_per_band(threshold: float) -> int:
    """The longest band that still finds at least 96% of the pairs at the threshold."""
    fitting = [rows for rows in (1, 2, 3, 5, 6, 10, 15) if 1 - (1 - threshold**rows) ** (HASHES // rows) >= 0.96]
    return max(fitting, default=1)


def near_duplicates(signed: Signatures, threshold: float) -> Index:
    """For every document the earlier one that it repeats, or -1 where it is kept; shape (documents,).

    Memory beside the signatures (which may be mapped from a file): about 40 bytes a document and 16 a similar pair.
    """
    pairs = _similar_pairs(signed, threshold)
    original = np.full(len(signed), -1, dtype=np.int64)
    for first, second in pairs.tolist():
        # Pairs come in order of the second document, so the first's fate is known.
        if original[second] < 0 and original[first] < 0:
            original[second] = first
    return original


def _similar_pairs(signed: Signatures, threshold: float) -> Index:
    rows = rows_per_band(threshold)
    found = [np.zeros((0, 2), dtype=np.int64)]
    usable = np.flatnonzero(~(np.asarray(signed[:, 0]) == _EMPTY))
    for start in range(0, HASHES, rows):
        band = np.asarray(signed[:, start : start + rows])[usable]
        pairs = usable[_candidates(_band_hashes(band))]
        if len(pairs):
            found.append(pairs[_similar(signed, pairs, threshold)])
    similar = np.unique(np.concatenate(found), axis=0)
    return similar[np.lexsort((similar[:, 0], similar[:, 1]))]


def _band_hashes(band: Signatures) -> U64:
    hashes = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        hashes = mix(hashes * np.uint64(31) + column.astype(np.uint64))
    return hashes


def _candidates(hashes: U64) -> Index:
    """Pairs (earlier, later) of documents with one hash, shape (m, 2)."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    start = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    place = np.arange(len(order)) - start
    far = np.flatnonzero(place > NEIGHBOURS)
    pairs = [np.stack([order[start[far]], order[far]], axis=1)]
    for back in range(1, NEIGHBOURS + 1):
        later = np.flatnonzero(place >= back)
        pairs.append(np.stack([order[later - back], order[later]], axis=1))
    return np.concatenate(pairs)


def _similar(signed: Signatures, pairs: Index, threshold: float) -> NDArray[np.bool_]:
    """Whether the estimated similarity of each pair reaches the threshold."""
    result = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), 1 << 14):
        part = pairs[start : start + (1 << 14)]
        equal = signed[part[:, 0]] == signed[part[:, 1]]
        result[start : start + len(part)] = equal.mean(axis=1) >= threshold
    return result
