"""Decontamination: finds documents that share a sequence of words with an item of a benchmark.

Source: Brown et al. 2020, appendix C, for sequences of 13 words. Deviations: a document that holds one is dropped
whole, and an item that is shorter is looked for as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.hashes import HashSet
from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import U64, TextArrays
from mixlab.corpus.read.readers import no_field, records
from mixlab.corpus.read.sources import expand
from mixlab.errors import CorpusError
from mixlab.study.cleaning import BenchmarksConfig


class Decontamination(Step):
    """Drops documents that share a sequence of words with an item of a benchmark."""

    def __init__(self, benchmarks: Benchmarks) -> None:
        self._benchmarks = benchmarks

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        config = settings.config.benchmarks
        return cls(_benchmarks(config, settings.base_dir)) if config else None

    def apply(self, part: Part) -> None:
        found = self._benchmarks.find(part.arrays)
        for number, name in enumerate(self._benchmarks.names):
            part.drop(f"benchmark {name}", found == number)


class Benchmarks:
    """The sequences of all items, by length, and the file of each.

    Attributes:
        names: the benchmark files, by name.
    """

    def __init__(self, config: BenchmarksConfig, base_dir: Path) -> None:
        sources = expand(config.paths, base_dir)
        self.names = [source.name.rsplit("/", 1)[-1] for source in sources]
        found: dict[int, dict[int, int]] = {}
        for number, source in enumerate(sources):
            texts = list(_texts(source.name, config))
            for length, hashes in _sequences(TextArrays(texts), config):
                # An item of two benchmarks counts for the first.
                known = found.setdefault(length, {})
                for value in hashes.tolist():
                    known.setdefault(value, number)
        self._sets: dict[int, tuple[HashSet, NDArray[np.int64]]] = {}
        for length, known in sorted(found.items()):
            listed = HashSet(np.fromiter(known, dtype=np.uint64, count=len(known)))
            self._sets[length] = listed, np.array([known[int(value)] for value in listed.hashes])

    def find(self, arrays: TextArrays) -> NDArray[np.int64]:
        """The number of the benchmark that each document shares a sequence with, or -1; shape (count,)."""
        benchmark = np.full(arrays.count, -1, dtype=np.int64)
        for length, (hashes, numbers) in self._sets.items():
            sequences, first = arrays.sequences(length)
            where, which = hashes.find(sequences)
            benchmark[arrays.terms.documents[first[where]]] = numbers[which]
        return benchmark


@lru_cache(maxsize=2)
def _benchmarks(config: BenchmarksConfig, base_dir: Path) -> Benchmarks:
    # Domains mostly share one list, and reading it takes long.
    return Benchmarks(config, base_dir)


def _sequences(arrays: TextArrays, config: BenchmarksConfig) -> Iterator[tuple[int, U64]]:
    yield config.words, np.unique(arrays.sequences(config.words)[0])
    counts = arrays.per_document(arrays.terms.documents)
    for length in range(config.min_words, config.words):
        hashes, first = arrays.sequences(length)
        whole = hashes[counts[arrays.terms.documents[first]] == length]
        if len(whole):
            yield length, np.unique(whole)


def _texts(path: str, config: BenchmarksConfig) -> Iterator[str]:
    """The first field of every item, and it with each value of the others after it."""
    for where, record in records([path]):
        for name in config.fields:
            if name not in record:
                raise no_field(where, name, record, "corpus.cleaning.benchmarks.fields")
        stem, *others = (_values(record[name], f"{where}, field `{name}`") for name in config.fields)
        start = " ".join(stem)
        yield start
        for values in others:
            for value in values:
                yield f"{start} {value}"


def _values(value: Any, where: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    for each in values:
        if not isinstance(each, str):
            hint = "name fields that hold text, or lists of texts"
            raise CorpusError(f"{where}: must be text or a list of texts, but holds {each!r:.60}", hint)
    return values
