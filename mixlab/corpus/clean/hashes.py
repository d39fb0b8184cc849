"""Sets of 64-bit hashes in flat memory: a fixed one to look spans up in, and a growing one that remembers documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.words import U64

_BITS = 20


class HashSet:
    """A fixed set. A table of the upper 20 bits answers for most hashes that are not in it."""

    def __init__(self, hashes: U64) -> None:
        self.hashes = np.unique(hashes)
        self._table = np.zeros(1 << _BITS, dtype=bool)
        self._table[self._bucket(self.hashes)] = True

    def __len__(self) -> int:
        return len(self.hashes)

    @staticmethod
    def _bucket(hashes: U64) -> NDArray[np.int64]:
        return (hashes >> np.uint64(64 - _BITS)).astype(np.int64)

    def find(self, hashes: U64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(where in `hashes`, which of `self.hashes`) of all that are in the set."""
        if not len(self):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        maybe = np.flatnonzero(self._table[self._bucket(hashes)])
        at = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self) - 1)
        hit = self.hashes[at] == hashes[maybe]
        return maybe[hit], at[hit]


class SeenHashes:
    """A growing set, 8 bytes an entry: the ones of late in a Python set, the others in one sorted array."""

    def __init__(self, recent: int = 1 << 18) -> None:
        self._limit = recent
        self._old: U64 = np.zeros(0, dtype=np.uint64)
        self._recent: set[int] = set()

    def known(self, hashes: U64) -> NDArray[np.bool_]:
        """Which of `hashes` were added before; shape as given."""
        at = np.minimum(np.searchsorted(self._old, hashes), max(len(self._old) - 1, 0))
        old = self._old[at] == hashes if len(self._old) else np.zeros(len(hashes), dtype=bool)
        return old | np.fromiter((int(each) in self._recent for each in hashes), dtype=bool, count=len(hashes))

    def __contains__(self, value: int) -> bool:
        """Whether `value` is among the ones of late; `known` answers for all."""
        return value in self._recent

    def add(self, value: int) -> None:
        self._recent.add(value)

    def settle(self) -> None:
        """Move the recent ones into the array when they have become many."""
        if len(self._recent) >= self._limit:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._old = np.unique(np.concatenate([self._old, recent]))
            self._recent = set()
