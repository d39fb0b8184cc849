"""The `cleaning` section of study.yaml: which steps are on, and their thresholds.

Everything is off but the removal of exact copies. `cleaning: standard` is short for `STANDARD`; `preset: standard`
inside a section starts from it and replaces the keys that stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from mixlab.study.section import Section, Weight, refusal

Pii = Literal["email", "ip", "phone"]


class NearConfig(Section):
    """Near-duplicates: MinHash over word shingles.

    Attributes:
        threshold: estimated Jaccard similarity of the sets of shingles from which on the later document is dropped.
            With shingles of 3 words, 0.4 finds copies in which about one word in seven was replaced.
        words: words in a shingle.
    """

    threshold: float = Field(0.4, ge=0.2, le=1)
    words: int = Field(3, ge=1, le=10)


class LinesConfig(Section):
    """Boilerplate: a line that occurs in more than `max_documents` documents of a domain is removed from all of them.

    Attributes:
        max_documents: the most documents in which a line may occur; exact copies of a document count once.
        min_characters: shorter lines are never removed.
    """

    max_documents: int = Field(50, ge=1)
    min_characters: int = Field(12, ge=1)


class QualityConfig(Section):
    """Rules that a document must pass; an absent rule is off.

    Words are separated by white space. `duplicate` shares count what occurs again inside one document, without the
    first occurrences.

    Source: Rae et al. 2021 (Gopher), appendix A1.1, for the rules up to `duplicate_ngrams` and their standard values;
    Raffel et al. 2020 (C4), section 2.2, for the others. Deviations: C4 removes single lines, where this drops
    documents by their share of such lines, and C4 uses a sentence splitter.

    Attributes:
        min_words, max_words: words in a document.
        min_mean_word_length, max_mean_word_length: mean length of a word, in characters.
        max_hash_ratio: occurrences of "#", per word.
        max_ellipsis_ratio: occurrences of "...", per word.
        max_bullet_lines: share of lines that start with a bullet.
        max_ellipsis_lines: share of lines that end with "...".
        min_alphabetic_words: share of words with a letter.
        min_stop_words: how many different words of: the, be, to, of, and, that, have, with. Where languages are
            identified, the rule applies to English only.
        max_duplicate_lines: share of lines that are duplicates.
        max_duplicate_paragraphs: share of paragraphs that are duplicates.
        max_duplicate_line_characters: share of characters in duplicate lines.
        max_duplicate_paragraph_characters: share of characters in duplicate paragraphs.
        top_ngrams: by length n, the largest share of characters in the most frequent sequence of n words.
        duplicate_ngrams: by length n, the largest share of characters in repeated sequences of n words.
        min_terminal_lines: share of lines that end like a sentence.
        min_sentences: words that end like a sentence.
        lorem_ipsum: drop documents that contain "lorem ipsum".
        curly_brace: drop documents that contain "{".
        javascript: drop documents that contain "javascript".
    """

    min_words: int | None = Field(None, ge=0)
    max_words: int | None = Field(None, ge=1)
    min_mean_word_length: float | None = Field(None, ge=0)
    max_mean_word_length: float | None = Field(None, gt=0)
    max_hash_ratio: float | None = Field(None, ge=0)
    max_ellipsis_ratio: float | None = Field(None, ge=0)
    max_bullet_lines: Weight | None = None
    max_ellipsis_lines: Weight | None = None
    min_alphabetic_words: Weight | None = None
    min_stop_words: int | None = Field(None, ge=0, le=8)
    max_duplicate_lines: Weight | None = None
    max_duplicate_paragraphs: Weight | None = None
    max_duplicate_line_characters: Weight | None = None
    max_duplicate_paragraph_characters: Weight | None = None
    top_ngrams: dict[int, Weight] = Field(default_factory=dict)
    duplicate_ngrams: dict[int, Weight] = Field(default_factory=dict)
    min_terminal_lines: Weight | None = None
    min_sentences: int | None = Field(None, ge=0)
    lorem_ipsum: bool = False
    curly_brace: bool = False
    javascript: bool = False

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        return _expand(value, {"standard": STANDARD_QUALITY})

    @model_validator(mode="after")
    def _lengths(self) -> QualityConfig:
        for name in ("top_ngrams", "duplicate_ngrams"):
            for length in getattr(self, name):
                if not 2 <= length <= 20:
                    raise refusal(f"a sequence has 2 to 20 words, but got {length}", "correct the length", name)
        return self


class WordsConfig(Section):
    """A list of words: documents that hold too many of them are dropped.

    Attributes:
        paths: text files, one word or phrase of up to 5 words per line; "#" starts a comment.
        max_share: the largest share of a document's words.
        max_count: the largest number of words; absent: no limit.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    max_share: Weight | None = 0.01
    max_count: int | None = Field(None, ge=0)


class UrlsConfig(Section):
    """A list of web domains: documents whose address lies in one of them, or below, are dropped.

    Attributes:
        paths: text files, one web domain per line; "#" starts a comment.
        field: the field of a row that holds its address.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    field: str = "url"


class LanguageConfig(Section):
    """Language identification, from the beginning of a document.

    Attributes:
        keep: codes of two letters; documents in other languages are dropped. Absent: all are kept, and counted.
        characters: how many characters are looked at.
    """

    keep: tuple[str, ...] | None = Field(None, min_length=1)
    characters: int = Field(500, ge=50, le=10_000)


class BenchmarksConfig(Section):
    """Decontamination: a document that shares a sequence of words with a benchmark item is dropped.

    Attributes:
        paths: jsonl files of items, packed or not.
        fields: the first field begins an item's text; each value of the others continues it.
        words: length of the sequence.
        min_words: an item of fewer than `words` words is looked for as a whole; one of fewer than this is not.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    fields: tuple[str, ...] = Field(("question", "choices"), min_length=1)
    words: int = Field(13, ge=3, le=50)
    min_words: int = Field(8, ge=3)


class CleaningConfig(Section):
    """The cleaning steps, in the order in which they are applied; `off` as a step's value turns it off.

    Attributes:
        urls: a blocklist of addresses.
        normalise: convert to Unicode NFC and one kind of line end, remove control and zero-width characters.
        exact: drop exact copies, within each `domain` or over the whole `corpus` (the earlier domain keeps it).
        languages: language identification.
        lines: boilerplate lines.
        quality: rules that a document must pass.
        words: a blocklist of words.
        benchmarks: decontamination.
        pii: what to replace with a token such as `<email>`.
        near: near-duplicates, over all domains that use the same settings.
    """

    urls: UrlsConfig | None = None
    normalise: bool = False
    exact: Literal["off", "domain", "corpus"] = "domain"
    languages: LanguageConfig | None = None
    lines: LinesConfig | None = None
    quality: QualityConfig | None = None
    words: WordsConfig | None = None
    benchmarks: BenchmarksConfig | None = None
    pii: tuple[Pii, ...] = ()
    near: NearConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        value = _expand(value, {"off": OFF, "standard": STANDARD})
        if isinstance(value, Mapping):
            off = {key for key, each in value.items() if each == "off" and key in OFF and key != "exact"}
            return {key: OFF[key] if key in off else each for key, each in value.items()}
        return value

    @property
    def costly(self) -> bool:
        """Whether more is on than the removal of exact copies."""
        return self.model_copy(update={"exact": "domain"}) != CleaningConfig()


def _expand(value: Any, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    """`NAME` -> that preset; `{preset: NAME, ...}` -> the preset with the other keys in place of its own."""
    if isinstance(value, str):
        value = {"preset": value}
    if not isinstance(value, Mapping) or "preset" not in value:
        return value
    name = value["preset"]
    if name not in presets:
        raise refusal(f"there is no preset {name!r}", f"known: {', '.join(presets)}")
    return {**presets[name], **{key: each for key, each in value.items() if key != "preset"}}


STANDARD_QUALITY: dict[str, Any] = {
    "min_words": 50,
    "max_words": 100_000,
    "min_mean_word_length": 3,
    "max_mean_word_length": 10,
    "max_hash_ratio": 0.1,
    "max_ellipsis_ratio": 0.1,
    "max_bullet_lines": 0.9,
    "max_ellipsis_lines": 0.3,
    "min_alphabetic_words": 0.8,
    "min_stop_words": 2,
    "max_duplicate_lines": 0.3,
    "max_duplicate_paragraphs": 0.3,
    "max_duplicate_line_characters": 0.2,
    "max_duplicate_paragraph_characters": 0.2,
    "top_ngrams": {2: 0.2, 3: 0.18, 4: 0.16},
    "duplicate_ngrams": {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
    "min_terminal_lines": 0.12,
    "min_sentences": 3,
    "lorem_ipsum": True,
    "curly_brace": True,
    "javascript": True,
}
OFF: dict[str, Any] = {
    "urls": None,
    "normalise": False,
    "exact": "domain",
    "lines": None,
    "languages": None,
    "quality": None,
    "words": None,
    "benchmarks": None,
    "pii": (),
    "near": None,
}
STANDARD: dict[str, Any] = {
    **OFF,
    "normalise": True,
    "exact": "corpus",
    "lines": {},
    "languages": {},
    "quality": "standard",
    "pii": ("email", "ip", "phone"),
    "near": {},
}
