"""Arrays over texts agree with the same thing said in plain Python."""

from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixlab.corpus.clean.hashes import HashSet, SeenHashes
from mixlab.corpus.clean.repetition import Sequences, repeats
from mixlab.corpus.clean.words import Spans, TextArrays, phrase_hash

TEXTS = ["The cat. The cat sat!\n\nthe cat\n", "", " \n ", "één twee\u00a0drie", "日本語 text 한국어", "a-b c_d 1,5"]


def spelled(arrays: TextArrays, spans: Spans) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(arrays.count)]
    for start, end, document in zip(spans.starts, spans.ends, spans.documents, strict=True):
        found[document].append("".join(map(chr, arrays.codes[start:end])))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("ab é日\n\t.,-1 \u00a0"), max_size=30), min_size=1, max_size=5))
def test_words_lines_and_paragraphs(texts: list[str]) -> None:
    arrays = TextArrays(texts)
    assert spelled(arrays, arrays.words) == [text.lower().split() for text in texts]
    lines = [[line.strip() for line in text.lower().split("\n") if line.strip()] for text in texts]
    assert spelled(arrays, arrays.lines) == lines
    paragraphs = [[part.strip() for part in re.split(r"\n\s*\n", text.lower()) if part.strip()] for text in texts]
    assert spelled(arrays, arrays.paragraphs) == paragraphs


def test_terms_are_runs_of_letters_and_digits_or_one_ideograph() -> None:
    arrays = TextArrays(TEXTS)
    assert spelled(arrays, arrays.terms) == [
        ["the", "cat", "the", "cat", "sat", "the", "cat"],
        [],
        [],
        ["één", "twee", "drie"],
        ["日", "本", "語", "text", "한국어"],
        ["a", "b", "c", "d", "1", "5"],
    ]


def test_equal_spans_have_equal_hashes_wherever_they_stand() -> None:
    arrays = TextArrays(["one two three", "x one two", "three one two three"])
    hashes, first = arrays.sequences(2)
    words = ["one", "two", "three", "x", "one", "two", "three", "one", "two", "three"]
    names = [" ".join(words[at : at + 2]) for at in first]
    assert names == ["one two", "two three", "x one", "one two", "three one", "one two", "two three"]
    by_name: dict[str, set[int]] = {}
    for name, value in zip(names, hashes.tolist(), strict=True):
        by_name.setdefault(name, set()).add(value)
    assert all(len(values) == 1 for values in by_name.values())
    assert len(set.union(*by_name.values())) == len(by_name)
    assert phrase_hash("One, two") == (2, by_name["one two"].pop())


@pytest.mark.parametrize("length", [2, 3, 5])
def test_repetition_is_what_a_loop_counts(length: int) -> None:
    random_ = random.Random(length)
    texts = [" ".join(random_.choices(["aa", "b", "cccc", "dd"], k=random_.randint(0, 60))) for _ in range(30)]
    arrays = TextArrays(texts)
    shorter = Sequences(arrays, length - 1) if length > 2 else None
    found = Sequences(arrays, length, shorter)
    top, duplicate = found.top_share(), found.duplicate_share()
    for number, text in enumerate(texts):
        terms = text.split()
        total = max(sum(map(len, terms)), 1)
        grams = [tuple(terms[at : at + length]) for at in range(len(terms) - length + 1)]
        counts = Counter(grams)
        often = [(count, count * sum(map(len, gram))) for gram, count in counts.items() if count > 1]
        assert top[number] == pytest.approx(max(often, default=(0, 0))[1] / total)
        covered, seen = set(), set()
        for at, gram in enumerate(grams):
            if gram in seen:
                covered.update(range(at, at + length))
            seen.add(gram)
        assert duplicate[number] == pytest.approx(sum(len(terms[at]) for at in covered) / total)


def test_copies_of_lines_are_counted_without_the_first() -> None:
    arrays = TextArrays(["a b\nc\nA b \na b\n", "a b", ""])
    found = repeats(arrays, arrays.lines)
    np.testing.assert_allclose(found.spans, [2 / 4, 0, 0])
    np.testing.assert_allclose(found.characters, [6 / 10, 0, 0])


def test_sets_of_hashes() -> None:
    random_ = np.random.default_rng(0)
    values = random_.integers(0, 2**63, 5000).astype(np.uint64) * np.uint64(2)
    known = HashSet(values[:2000])
    where, which = known.find(values)
    assert where.tolist() == list(range(2000))
    np.testing.assert_array_equal(known.hashes[which], values[:2000])
    seen = SeenHashes(recent=100)
    for value in values[:1000].tolist():
        seen.add(value)
        seen.settle()
    assert seen.known(values[:1000]).all()
    assert not seen.known(values[1000:]).any()
