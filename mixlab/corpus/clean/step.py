"""What a cleaning step is: it is made from the settings, or is off, and is applied to a part of the documents.

A new step is a `Step` in a file of its own, a key in `mixlab.study.cleaning`, and a line in `cleaner`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.cleaned import Cleaned, Edit
from mixlab.corpus.clean.words import U64, TextArrays
from mixlab.study.cleaning import CleaningConfig


@dataclass(frozen=True)
class StepSettings:
    """What a step is made from.

    Attributes:
        config: the cleaning of one domain.
        base_dir: what relative paths of lists and benchmarks are relative to.
        boilerplate: hashes of the domain's frequent lines (None: they were not counted).
    """

    config: CleaningConfig
    base_dir: Path
    boilerplate: U64 | None = None


class Step(ABC):
    """One step of cleaning."""

    @classmethod
    @abstractmethod
    def of(cls, settings: StepSettings) -> Self | None:
        """The step, or None where the settings do not ask for it.

        Raises:
            ConfigError, CorpusError: on lists that cannot be read, or settings that mean nothing.
        """

    @abstractmethod
    def apply(self, part: Part) -> None:
        """Drop documents of the part, or change their texts."""


class Part:
    """Documents `start` to `end`, those of them that no rule had dropped when the part was made.

    A document's *place* is its index among these; masks and lists go by place, and have shape (count,).
    """

    def __init__(self, cleaned: Cleaned, urls: Sequence[str | None], start: int, end: int) -> None:
        self._cleaned = cleaned
        self._urls = urls
        self._numbers = [number for number in range(start, end) if cleaned.drops[number] is None]
        self._arrays: TextArrays | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def texts(self) -> list[str]:
        return [self._cleaned.texts[number] for number in self._numbers]

    @property
    def urls(self) -> list[str | None]:
        return [self._urls[number] for number in self._numbers]

    @property
    def languages(self) -> list[str]:
        return [self._cleaned.languages[number] for number in self._numbers]

    @property
    def arrays(self) -> TextArrays:
        """The texts as arrays, made once and again after texts were changed."""
        if self._arrays is None:
            self._arrays = TextArrays(self.texts)
        return self._arrays

    def is_dropped(self, place: int) -> bool:
        return self._cleaned.drops[self._numbers[place]] is not None

    def drop(self, rule: str, broken: NDArray[np.bool_] | Sequence[bool]) -> None:
        """Drop the documents that break a rule; one that was dropped before keeps its first rule."""
        for place in np.flatnonzero(broken):
            number = self._numbers[place]
            self._cleaned.drops[number] = self._cleaned.drops[number] or rule

    def change(self, place: int, text: str) -> None:
        """Put `text` in a document's place."""
        self._cleaned.texts[self._numbers[place]] = text
        self._arrays = None

    def note(self, kind: str, count: int, samples: Sequence[str]) -> None:
        """Count a change of a document: what kind, how often, and samples to show."""
        self._cleaned.edits.setdefault(kind, Edit()).note(count, samples)

    def set_languages(self, languages: Sequence[str]) -> None:
        for number, language in zip(self._numbers, languages, strict=True):
            self._cleaned.languages[number] = language

    def set_signatures(self, signed: NDArray[np.uint32], empty: np.uint32) -> None:
        """Signatures of the part's documents; those of no part have `empty` in every place."""
        cleaned = self._cleaned
        if cleaned.signatures is None:
            cleaned.signatures = np.full((len(cleaned.texts), signed.shape[1]), empty, dtype=np.uint32)
        cleaned.signatures[self._numbers] = signed
