"""Applies the steps of a domain's cleaning to a block of documents, as far as a block can be judged by itself.

Whether a document is a copy of another is not decided here: the block only carries what copies are found by.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixlab.corpus.clean.blocklist import BlockedUrls, BlockedWords
from mixlab.corpus.clean.cleaned import SAMPLE_CHARACTERS, Cleaned, chunks, key_of
from mixlab.corpus.clean.contamination import Decontamination
from mixlab.corpus.clean.language import Languages
from mixlab.corpus.clean.lines import Boilerplate
from mixlab.corpus.clean.near import NearSignatures
from mixlab.corpus.clean.normalise import EmptyText, Normalise
from mixlab.corpus.clean.pii import MaskPii
from mixlab.corpus.clean.quality import QualityRules
from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import U64
from mixlab.study.cleaning import CleaningConfig

# In order. What a document is recognised by as a copy of another is its text after the first of these, and the second
# are applied chunk by chunk, as they work on arrays over the text. Signatures are of the text before it is masked.
STEPS_ON_TEXT: tuple[type[Step], ...] = (Normalise, BlockedUrls, EmptyText, Languages)
STEPS_ON_ARRAYS: tuple[type[Step], ...] = (
    Boilerplate,
    QualityRules,
    BlockedWords,
    Decontamination,
    NearSignatures,
    MaskPii,
)


class Cleaner:
    """The steps of one domain.

    Args:
        config: which are on.
        base_dir: what relative paths of lists and benchmarks are relative to.
        boilerplate: hashes of the domain's frequent lines.

    Raises:
        ConfigError, CorpusError: on lists that cannot be read, or settings that mean nothing.
    """

    def __init__(self, config: CleaningConfig, base_dir: Path, boilerplate: U64 | None = None) -> None:
        self.config = config
        settings = StepSettings(config, base_dir, boilerplate)
        self._on_text = _made(STEPS_ON_TEXT, settings)
        self._on_arrays = _made(STEPS_ON_ARRAYS, settings)

    def clean(self, texts: Sequence[str], urls: Sequence[str | None]) -> Cleaned:
        """Apply the steps; memory is bounded by the longest document, of which 4 million characters are judged."""
        count = len(texts)
        sizes = [len(text.encode()) for text in texts]
        cleaned = Cleaned(texts=list(texts), sizes=sizes, drops=[None] * count, languages=[""] * count)
        whole = Part(cleaned, urls, 0, count)
        for step in self._on_text:
            step.apply(whole)
        plain = list(cleaned.texts)
        cleaned.keys = [key_of(text) for text in plain]
        for start, end in chunks(plain) if self._on_arrays else ():
            part = Part(cleaned, urls, start, end)
            for step in self._on_arrays if len(part) else ():
                step.apply(part)
        cleaned.finals = [
            key if now is before else key_of(now)
            for key, now, before in zip(cleaned.keys, cleaned.texts, plain, strict=True)
        ]
        cleaned.texts = [
            text[:SAMPLE_CHARACTERS] if drop else text for text, drop in zip(cleaned.texts, cleaned.drops, strict=True)
        ]
        return cleaned


def _made(kinds: Sequence[type[Step]], settings: StepSettings) -> list[Step]:
    return [step for kind in kinds if (step := kind.of(settings)) is not None]
