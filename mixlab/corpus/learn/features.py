"""TF-IDF features that can be fitted, written as plain arrays, and read back to give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.learn.library import library


@dataclass(frozen=True)
class Analysis:
    """How text becomes terms.

    Attributes:
        analyzer: `word` (runs of two or more letters and digits), or `char_wb` (characters inside words).
        shortest, longest: lengths of n-grams.
        min_documents: a term must occur in so many documents.
        max_terms: the most frequent so many terms are kept.
        english_stop_words: leave out English function words.
        most_characters: a document is read so far: its topic shows by then, and pieces of words take long to count.
    """

    analyzer: str = "word"
    shortest: int = 1
    longest: int = 2
    min_documents: int = 2
    max_terms: int = 200_000
    english_stop_words: bool = False
    most_characters: int = 20_000


WORDS = Analysis()
CONTENT = Analysis(english_stop_words=True)
CHARACTERS = Analysis("char_wb", 3, 5, 3, 100_000, most_characters=3_000)


class Tfidf:
    """One block of TF-IDF features; rows have length 1 (or 0 where no term is known).

    Term frequencies are 1 + ln(tf), inverse document frequencies ln((1 + n)/(1 + df)) + 1 (scikit-learn's smooth form).
    """

    def __init__(self, analysis: Analysis, terms: Sequence[str], idf: NDArray[np.floating]) -> None:
        """Args:
        analysis: how text becomes terms.
        terms: the V terms, in the order of the columns.
        idf: weight of each term, shape (V,).
        """
        self.analysis = analysis
        self.terms = tuple(terms)
        self._vectorizer = _vectorizer(analysis, vocabulary={term: i for i, term in enumerate(self.terms)})
        self._vectorizer.idf_ = np.asarray(idf, dtype=np.float32)

    @classmethod
    def fit_transform(
        cls, analysis: Analysis, texts: Sequence[str], without: frozenset[str] = frozenset()
    ) -> tuple[Tfidf, Any]:
        """Learn terms and weights from `texts`, without the terms in `without`; and the texts' features.

        Raises:
            ValueError: when no term is frequent enough.
        """
        # In a handful of documents no term would be frequent enough.
        fewest = min(analysis.min_documents, max(1, len(texts) // 20))
        vectorizer = _vectorizer(analysis, min_df=fewest, max_features=analysis.max_terms)
        features = vectorizer.fit_transform([text[: analysis.most_characters] for text in texts])
        terms = [str(term) for term in vectorizer.get_feature_names_out()]
        kept = [i for i, term in enumerate(terms) if term not in without]
        if not kept:
            raise ValueError("no term is left")
        block = cls(analysis, [terms[i] for i in kept], vectorizer.idf_[kept])
        return block, features if len(kept) == len(terms) else block.transform(texts)

    def transform(self, texts: Sequence[str]) -> Any:
        """Features, a CSR matrix of shape (n, V), float32."""
        return self._vectorizer.transform([text[: self.analysis.most_characters] for text in texts])

    @property
    def idf(self) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = self._vectorizer.idf_.astype(np.float32)
        return weights

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads, named `<prefix>.terms` and so on."""
        about = json.dumps({"analysis": asdict(self.analysis), "terms": self.terms}).encode()
        return {f"{prefix}.terms": np.frombuffer(about, dtype=np.uint8), f"{prefix}.idf": self.idf}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Tfidf:
        about = json.loads(arrays[f"{prefix}.terms"].tobytes())
        return cls(Analysis(**about["analysis"]), about["terms"], arrays[f"{prefix}.idf"])


def _vectorizer(analysis: Analysis, **more: Any) -> Any:
    return library("sklearn.feature_extraction.text").TfidfVectorizer(
        analyzer=analysis.analyzer,
        ngram_range=(analysis.shortest, analysis.longest),
        stop_words="english" if analysis.english_stop_words else None,
        sublinear_tf=True,
        dtype=np.float32,
        **more,
    )
