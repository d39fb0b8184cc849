"""Near-duplicates: planted copies are found, unlike documents are kept, and the estimates are those of MinHash."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixlab.corpus.clean.near import HASHES, near_duplicates, rows_per_band, signatures
from mixlab.corpus.clean.words import TextArrays
from mixlab.corpus.read.readers import records

CORPORA = Path(__file__).parents[3] / ".." / "shared" / "corpora"
STANDARD = 0.4


def zipf_texts(count: int, random_: random.Random) -> list[str]:
    """Documents of 80 to 500 words whose frequencies fall like those of a language."""
    vocabulary = [f"{stem}{ending}" for stem in range(2500) for ending in ("a", "o", "en", "ing")]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    return [" ".join(random_.choices(vocabulary, weights, k=random_.randint(80, 500))) for _ in range(count)]


def encyclopedic_texts(count: int, random_: random.Random) -> list[str]:
    rows = records(["encyclopedic.jsonl.gz"], CORPORA)
    texts = (" ".join(record["text"].split()[: random_.randint(80, 500)]) for _, record in rows)
    return [text for text, _ in zip((text for text in texts if len(text.split()) >= 80), range(count), strict=False)]


def changed(text: str, share: float, vocabulary: list[str], random_: random.Random) -> str:
    """`text` with a share of its words replaced by others."""
    words = text.split()
    for at in random_.sample(range(len(words)), round(share * len(words))):
        words[at] = random_.choice([word for word in random_.choices(vocabulary, k=5) if word != words[at]])
    return " ".join(words)


@pytest.mark.parametrize(
    "texts",
    [
        zipf_texts,
        pytest.param(
            encyclopedic_texts, marks=pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")
        ),
    ],
)
def test_planted_near_duplicates_are_found_and_nothing_else(
    texts: Callable[[int, random.Random], list[str]],
) -> None:
    random_ = random.Random(0)
    originals = texts(600, random_)
    vocabulary = [word for text in originals[:100] for word in text.split()]
    copied = random_.sample(range(len(originals)), 300)
    copies = [changed(originals[at], random_.uniform(0.05, 0.15), vocabulary, random_) for at in copied]
    found = near_duplicates(signatures(TextArrays(originals + copies), 3), STANDARD)
    right = sum(found[len(originals) + place] == at for place, at in enumerate(copied))
    assert right / len(copies) >= 0.95
    assert right / np.count_nonzero(found >= 0) >= 0.98


def test_the_estimate_is_the_share_of_common_shingles() -> None:
    words = [f"w{number}" for number in range(1000)]
    pairs = [(words[:600], words[start : start + 600]) for start in (0, 60, 150, 300, 400)]
    for first, second in pairs:
        signed = signatures(TextArrays([" ".join(first), " ".join(second)]), 1)
        true = len(set(first) & set(second)) / len(set(first) | set(second))
        assert np.mean(signed[0] == signed[1]) == pytest.approx(true, abs=4 * np.sqrt(0.25 / HASHES))


def test_estimates_are_as_good_as_those_of_datasketch() -> None:
    datasketch = pytest.importorskip("datasketch")
    random_ = random.Random(1)
    ours, theirs = [], []
    for _ in range(60):
        first = [f"w{random_.randrange(400)}" for _ in range(150)]
        second = first[:75] + [f"w{random_.randrange(400)}" for _ in range(75)]
        true = len(set(first) & set(second)) / len(set(first) | set(second))
        signed = signatures(TextArrays([" ".join(first), " ".join(second)]), 1)
        sketches = [datasketch.MinHash(num_perm=HASHES) for _ in range(2)]
        for sketch, words in zip(sketches, (first, second), strict=True):
            sketch.update_batch([word.encode() for word in words])
        ours.append(np.mean(signed[0] == signed[1]) - true)
        theirs.append(sketches[0].jaccard(sketches[1]) - true)
    assert np.std(ours) < 1.3 * np.std(theirs)
    assert abs(np.mean(ours)) < 3 * np.std(ours) / np.sqrt(len(ours))


def test_the_first_is_kept_also_in_a_crowd() -> None:
    random_ = random.Random(2)
    base = zipf_texts(1, random_)[0]
    crowd = [base, *(changed(base, 0.03, base.split(), random_) for _ in range(100))]
    found = near_duplicates(signatures(TextArrays(crowd), 3), STANDARD)
    assert found[0] == -1
    assert (found[1:] == 0).all()


def test_a_signature_depends_on_its_document_alone() -> None:
    texts = [*zipf_texts(5, random.Random(3)), "two words", "", "Überraschung! 日本語のテキスト", "?!"]
    together = signatures(TextArrays(texts), 3)
    for number, text in enumerate(texts):
        np.testing.assert_array_equal(together[number], signatures(TextArrays([text]), 3)[0])
    # Documents without a word are like none, not like each other.
    assert (near_duplicates(signatures(TextArrays(["", "?!", "..."]), 3), STANDARD) == -1).all()


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    rows = rows_per_band(threshold)
    assert HASHES % rows == 0
    assert rows == 1 or 1 - (1 - threshold**rows) ** (HASHES // rows) >= 0.96
