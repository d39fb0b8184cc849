"""Blocklists: words and phrases by their share of a document, and web domains by a row's address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.cleaned import URL
from mixlab.corpus.clean.hashes import HashSet
from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import TextArrays, phrase_hash
from mixlab.corpus.read.sources import expand
from mixlab.errors import CorpusError
from mixlab.study.cleaning import UrlsConfig, WordsConfig

MAX_PHRASE = 5


class BlockedWords(Step):
    """Drops documents that hold too many of the listed words and phrases."""

    def __init__(self, config: WordsConfig, base_dir: Path) -> None:
        self._config = config
        by_length: dict[int, list[int]] = defaultdict(list)
        for where, entry in _entries(config.paths, base_dir):
            length, value = phrase_hash(entry)
            if not 1 <= length <= MAX_PHRASE:
                raise CorpusError(
                    f"{where}: an entry has 1 to {MAX_PHRASE} words, but `{entry[:60]}` has {length}", "shorten it"
                )
            by_length[length].append(value)
        self._sets = {length: HashSet(np.array(by_length[length], dtype=np.uint64)) for length in sorted(by_length)}

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        config = settings.config.words
        return cls(config, settings.base_dir) if config else None

    def apply(self, part: Part) -> None:
        part.drop("words", self.broken(part.arrays))

    def broken(self, arrays: TextArrays) -> NDArray[np.bool_]:
        """Documents that hold too many of them, shape (count,)."""
        hits = np.zeros(arrays.count)
        for length, listed in self._sets.items():
            hashes, first = arrays.sequences(length)
            found, _ = listed.find(hashes)
            hits += arrays.per_document(arrays.terms.documents[first[found]])
        terms = np.maximum(arrays.per_document(arrays.terms.documents), 1)
        broken = np.zeros(arrays.count, dtype=bool)
        if self._config.max_share is not None:
            broken |= hits / terms > self._config.max_share
        if self._config.max_count is not None:
            broken |= hits > self._config.max_count
        return broken


class BlockedUrls(Step):
    """Drops documents whose address lies in a listed domain or below it."""

    def __init__(self, config: UrlsConfig, base_dir: Path) -> None:
        self._domains = {entry.lower().lstrip(".") for _, entry in _entries(config.paths, base_dir)}

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        config = settings.config.urls
        return cls(config, settings.base_dir) if config else None

    def apply(self, part: Part) -> None:
        part.drop(URL, [url is not None and self._is_listed(url) for url in part.urls])

    def _is_listed(self, url: str) -> bool:
        try:
            host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
        except ValueError:  # not an address, so of no domain
            return False
        parts = host.split(".")
        return any(".".join(parts[start:]) in self._domains for start in range(len(parts)))


def _entries(paths: Sequence[str], base_dir: Path) -> Iterator[tuple[str, str]]:
    for source in expand(paths, base_dir):
        with source.open_text() as file:
            for row, line in enumerate(file, 1):
                try:
                    entry = line.decode("utf-8-sig").partition("#")[0].strip()
                except UnicodeDecodeError:
                    raise CorpusError(f"{source}, row {row}: not UTF-8", "convert the list to UTF-8") from None
                if entry:
                    yield f"{source}, row {row}", entry
