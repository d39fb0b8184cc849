"""The quality rules: which of them each document breaks.

The rules and their sources are in `mixlab.study.cleaning.QualityConfig`; every rule has the name of its key there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.repetition import Sequences, repeats
from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import ALPHA, Spans, TextArrays, phrase_hash
from mixlab.study.cleaning import QualityConfig

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "•‣▪◦●*-–"
TERMINAL = ".!?。！？…"
QUOTES = "\"'”’»)"

Broken = NDArray[np.bool_]


class QualityRules(Step):
    """Drops documents that break a rule."""

    def __init__(self, config: QualityConfig, languages_known: bool) -> None:
        self._config = config
        self._languages_known = languages_known

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        config = settings.config
        return cls(config.quality, config.languages is not None) if config.quality else None

    def apply(self, part: Part) -> None:
        languages = part.languages if self._languages_known else None
        for rule, broken in broken_rules(part.arrays, self._config, languages):
            part.drop(rule, broken)


def broken_rules(
    arrays: TextArrays, config: QualityConfig, languages: Sequence[str] | None = None
) -> Iterator[tuple[str, Broken]]:
    """Yield (rule, documents that break it, shape (count,)) for every rule that is on, in a fixed order."""
    yield from _counts(arrays, config, languages)
    yield from _lines(arrays, config)
    yield from _markers(arrays, config)
    yield from _repetition(arrays, config)


def _counts(arrays: TextArrays, config: QualityConfig, languages: Sequence[str] | None) -> Iterator[tuple[str, Broken]]:
    words = arrays.words
    counts = arrays.per_document(words.documents)
    some = np.maximum(counts, 1)
    if config.min_words is not None:
        yield "min_words", counts < config.min_words
    if config.max_words is not None:
        yield "max_words", counts > config.max_words
    mean = arrays.per_document(words.documents, words.lengths) / some
    if config.min_mean_word_length is not None:
        yield "min_mean_word_length", mean < config.min_mean_word_length
    if config.max_mean_word_length is not None:
        yield "max_mean_word_length", mean > config.max_mean_word_length
    if config.max_hash_ratio is not None:
        signs = arrays.documents_at(np.flatnonzero(arrays.codes == ord("#")))
        yield "max_hash_ratio", arrays.per_document(signs) / some > config.max_hash_ratio
    if config.max_ellipsis_ratio is not None:
        dots = np.array([text.count("...") + text.count("…") for text in arrays.lowered])
        yield "max_ellipsis_ratio", dots / some > config.max_ellipsis_ratio
    if config.min_alphabetic_words is not None:
        letters = np.concatenate([[0], np.cumsum((arrays.classes & ALPHA) != 0)])
        with_letter = letters[words.ends] > letters[words.starts]
        share = arrays.per_document(words.documents[with_letter]) / some
        yield "min_alphabetic_words", share < config.min_alphabetic_words
    if config.min_stop_words is not None:
        few = _stop_words(arrays) < config.min_stop_words
        if languages is not None:
            few &= np.array([language == "en" for language in languages], dtype=bool)
        yield "min_stop_words", few


def _stop_words(arrays: TextArrays) -> NDArray[np.int64]:
    """Different stop words in each document."""
    wanted = np.sort(np.array([phrase_hash(word)[1] for word in STOP_WORDS], dtype=np.uint64))
    # A stop word has 2 to 4 letters, which spares most look-ups.
    terms = arrays.terms
    short = np.flatnonzero((terms.lengths >= 2) & (terms.lengths <= 4))
    hashes = arrays.sequences(1)[0][short]
    at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    hit = wanted[at] == hashes
    seen = np.zeros((arrays.count, len(wanted)), dtype=bool)
    seen[terms.documents[short[hit]], at[hit]] = True
    return seen.sum(axis=1)


def _lines(arrays: TextArrays, config: QualityConfig) -> Iterator[tuple[str, Broken]]:
    lines = arrays.lines
    counts = np.maximum(arrays.per_document(lines.documents), 1)

    def share(chosen: Broken) -> NDArray[np.float64]:
        return arrays.per_document(lines.documents[chosen]) / counts

    if config.max_bullet_lines is not None:
        first = arrays.codes[lines.starts]
        yield "max_bullet_lines", share(_among(first, BULLETS)) > config.max_bullet_lines
    if config.max_ellipsis_lines is not None:
        last = [arrays.codes[np.maximum(lines.ends - back, 0)] for back in (1, 2, 3)]
        dots = (last[0] == ord(".")) & (last[1] == ord(".")) & (last[2] == ord(".")) | (last[0] == ord("…"))
        yield "max_ellipsis_lines", share(dots) > config.max_ellipsis_lines
    if config.min_terminal_lines is not None:
        yield "min_terminal_lines", share(_terminal(arrays, lines)) < config.min_terminal_lines
    if config.min_sentences is not None:
        ends = arrays.words.pick(_terminal(arrays, arrays.words))
        yield "min_sentences", arrays.per_document(ends.documents) < config.min_sentences


def _among(codes: NDArray[np.uint32], characters: str) -> Broken:
    return np.isin(codes, np.array(sorted(map(ord, characters)), dtype=np.uint32))


def _terminal(arrays: TextArrays, spans: Spans) -> Broken:
    """Whether a span ends like a sentence, closing quotes and brackets allowed after it."""
    last = arrays.codes[spans.ends - 1]
    before = arrays.codes[np.maximum(spans.ends - 2, 0)]
    return _among(last, TERMINAL) | (_among(last, QUOTES) & _among(before, TERMINAL) & (spans.lengths > 1))


def _markers(arrays: TextArrays, config: QualityConfig) -> Iterator[tuple[str, Broken]]:
    for rule, marker in (("lorem_ipsum", "lorem ipsum"), ("curly_brace", "{"), ("javascript", "javascript")):
        if getattr(config, rule):
            yield rule, np.array([marker in text for text in arrays.lowered], dtype=bool)


def _repetition(arrays: TextArrays, config: QualityConfig) -> Iterator[tuple[str, Broken]]:
    for kind, spans in (("line", arrays.lines), ("paragraph", arrays.paragraphs)):
        of_spans = getattr(config, f"max_duplicate_{kind}s")
        of_characters = getattr(config, f"max_duplicate_{kind}_characters")
        if of_spans is None and of_characters is None:
            continue
        found = repeats(arrays, spans)
        if of_spans is not None:
            yield f"max_duplicate_{kind}s", found.spans > of_spans
        if of_characters is not None:
            yield f"max_duplicate_{kind}_characters", found.characters > of_characters
    sequences: Sequences | None = None
    for length in sorted({*config.top_ngrams, *config.duplicate_ngrams}):
        sequences = Sequences(arrays, length, sequences)
        if length in config.top_ngrams:
            yield f"top_ngrams_{length}", sequences.top_share() > config.top_ngrams[length]
        if length in config.duplicate_ngrams:
            yield f"duplicate_ngrams_{length}", sequences.duplicate_share() > config.duplicate_ngrams[length]
