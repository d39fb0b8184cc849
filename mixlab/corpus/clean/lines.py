"""Boilerplate: lines that stand in many documents of a domain (menus, notices, footers) are taken out of all of them.

Lines are compared in lower case without white space at their ends. Counting takes a pass over the domain before the
one that cleans it; what it leaves per block is the hashes of the lines, and memory does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.hashes import HashSet
from mixlab.corpus.clean.words import U64, Block, Index

_BUCKET_BITS = 24


@dataclass(frozen=True)
class LineKeys:
    """The different lines of a block's documents: hash and document of each, shape (m,)."""

    hashes: U64
    documents: Index


def line_keys(block: Block, min_characters: int) -> LineKeys:
    """Every line of at least `min_characters`, once a document."""
    lines = block.lines.pick(block.lines.lengths >= min_characters)
    hashes = block.hashes(lines)
    order = np.lexsort((hashes, lines.documents))
    hashes, documents = hashes[order], lines.documents[order]
    new = np.ones(len(hashes), dtype=bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (documents[1:] != documents[:-1])
    return LineKeys(hashes[new], documents[new])


def frequent(read: Callable[[], Iterator[U64]], limit: int) -> U64:
    """The hashes that stand in more than `limit` documents.

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


def boilerplate(block: Block, listed: HashSet, min_characters: int) -> dict[int, NDArray[np.int64]]:
    """Document -> the numbers of its lines (from 0) that are listed."""
    lines = block.lines.pick(block.lines.lengths >= min_characters)
    found, _ = listed.find(block.hashes(lines))
    documents = lines.documents[found]
    number = np.searchsorted(block.newlines, lines.starts[found])
    number -= np.searchsorted(block.newlines, block.bounds[documents])
    return {int(each): number[documents == each] for each in np.unique(documents)}


def without_lines(text: str, numbers: NDArray[np.int64]) -> tuple[str, list[str]]:
    """`text` without the lines of these numbers, and the lines."""
    lines = text.split("\n")
    taken = set(numbers.tolist())
    kept = [line for number, line in enumerate(lines) if number not in taken]
    return "\n".join(kept), [lines[number] for number in sorted(taken)]
