"""A linear classifier on TF-IDF features: ridge regression on the labels' indicators, block by block, calibrated.

Each block of features (words, words without function words, pieces of words) has a ridge of its own, and their scores
are added: averaging over views of the text beats one machine on all features at once, and ridge trains several times
faster than logistic regression at the same accuracy (EXPERIMENTS.md). Which blocks and how much regularisation follows
from cross-validation on the examples given, and so does the curve that makes
probabilities of scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mixlab.arrays import Array
from mixlab.corpus.learn.calibrate import Calibration, fit_calibration
from mixlab.corpus.learn.features import CHARACTERS, CONTENT, WORDS, Analysis, Tfidf
from mixlab.corpus.learn.library import library
from mixlab.errors import CorpusError

BLOCKS: dict[str, Analysis] = {"words": WORDS, "content": CONTENT, "characters": CHARACTERS}
CANDIDATES: tuple[tuple[str, ...], ...] = (
    ("words",),
    ("content",),
    ("characters",),
    ("words", "characters"),
    ("content", "characters"),
    ("words", "content", "characters"),
)
WORDS_ONLY = (("words",), ("content",), ("words", "content"))
ALPHAS = (0.4, 1.0)
FOLDS = 4
# Settings are chosen on at most so many examples; more change the choice little and cost in proportion.
CHOICE_EXAMPLES = 10_000


@dataclass(frozen=True)
class Selection:
    """What cross-validation chose.

    Attributes:
        blocks: names of the feature blocks, of `BLOCKS`.
        alphas: ridge penalty of each.
        macro_f1: cross-validated, of every combination of blocks at its best penalties.
        calibration: fitted on the held-out folds.
    """

    blocks: tuple[str, ...]
    alphas: tuple[float, ...]
    macro_f1: dict[str, float]
    calibration: Calibration

    def to_dict(self) -> dict[str, Any]:
        chosen = dict(zip(self.blocks, self.alphas, strict=True))
        return {"alphas": chosen, "macro_f1": self.macro_f1, "calibration": asdict(self.calibration)}


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Scores are sums over blocks of features @ weights, plus an intercept; a curve makes them probabilities.

    Attributes:
        labels: the K labels.
        blocks: TF-IDF features, V_b terms each.
        weights: one array of shape (V_b, K) per block, float32.
        intercept: shape (K,).
        calibration: from scores to probabilities.
    """

    labels: tuple[str, ...]
    blocks: tuple[Tfidf, ...]
    weights: tuple[NDArray[np.float32], ...]
    intercept: NDArray[np.float32]
    calibration: Calibration

    def scores(self, texts: Sequence[str]) -> Array:
        """Shape (n, K); larger is likelier."""
        total = np.tile(self.intercept.astype(np.float64), (len(texts), 1))
        for block, weights in zip(self.blocks, self.weights, strict=True):
            total += block.transform(texts) @ weights
        return total

    def probabilities(self, texts: Sequence[str]) -> Array:
        return self.calibration.probabilities(self.scores(texts))

    def uncalibrated(self, texts: Sequence[str]) -> Array:
        """The softmax of the bare scores, shape (n, K)."""
        result: Array = softmax(self.scores(texts), axis=1)
        return result

    def top_terms(self, label: str, count: int) -> list[str]:
        """The terms that speak most for a label, of the first block that is made of words."""
        at = next((i for i, block in enumerate(self.blocks) if block.analysis.analyzer == "word"), 0)
        weights = self.weights[at][:, self.labels.index(label)]
        order = np.argsort(-weights, kind="stable")[:count]
        return [self.blocks[at].terms[i] for i in order]

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays: dict[str, NDArray[Any]] = {"intercept": self.intercept}
        for i, (block, weights) in enumerate(zip(self.blocks, self.weights, strict=True)):
            arrays |= block.arrays(f"block{i}") | {f"block{i}.weights": weights}
        about = {"labels": list(self.labels), "blocks": len(self.blocks), "calibration": asdict(self.calibration)}
        return arrays, about

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> LinearModel:
        numbers = range(about["blocks"])
        return cls(
            labels=tuple(about["labels"]),
            blocks=tuple(Tfidf.from_arrays(f"block{i}", arrays) for i in numbers),
            weights=tuple(arrays[f"block{i}.weights"] for i in numbers),
            intercept=arrays["intercept"],
            calibration=Calibration(**about["calibration"]),
        )


def train_linear(
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    seed: int,
    candidates: Sequence[tuple[str, ...]] = CANDIDATES,
    without: frozenset[str] = frozenset(),
) -> tuple[LinearModel, Selection]:
    """Choose the settings by grouped cross-validation, then train on all examples.

    Args:
        texts, labels, groups: n examples; those of one group stay in one fold.
        seed: of the folds.
        candidates: combinations of blocks to choose from.
        without: terms that must not be features.

    Raises:
        CorpusError: when the texts have no words in common.
    """
    names = tuple(sorted(set(labels)))
    truth = np.array([names.index(label) for label in labels])
    views = {name: _features(name, texts, without) for name in dict.fromkeys(b for each in candidates for b in each)}
    rows = _sample(len(texts), seed)
    some = {name: matrix[rows] for name, (_, matrix) in views.items()}
    chosen = select(some, truth[rows], [groups[i] for i in rows], len(names), seed, candidates)
    return _assemble(views, truth, names, chosen), chosen


def fit_linear(texts: Sequence[str], labels: Sequence[str], chosen: Selection) -> LinearModel:
    """Train with settings that are chosen."""
    names = tuple(sorted(set(labels)))
    truth = np.array([names.index(label) for label in labels])
    return _assemble({name: _features(name, texts, frozenset()) for name in chosen.blocks}, truth, names, chosen)


def select(
    views: Mapping[str, Any],
    truth: NDArray[np.integer],
    groups: Sequence[str],
    count: int,
    seed: int,
    candidates: Sequence[tuple[str, ...]],
) -> Selection:
    """The blocks and penalties of the highest cross-validated macro-F1, and the calibration from the same folds.

    Args:
        views: features by name of block, each of shape (n, V). Their terms and weights (idf) were counted over all
            examples: they know no labels.
        truth: index of the label, shape (n,).
        groups: examples of one group stay in one fold.
        count: the K labels.
        seed: of the folds.
        candidates: combinations of blocks to choose from.
    """
    folds = grouped_folds(truth, groups, FOLDS, seed)
    held: dict[str, Array] = {}
    alphas: dict[str, float] = {}
    for name, features in views.items():
        scored = {alpha: _held_out_scores(features, truth, folds, count, alpha) for alpha in ALPHAS}
        alphas[name] = max(ALPHAS, key=lambda alpha: _macro_f1(truth, scored[alpha]))
        held[name] = scored[alphas[name]]
    totals = {candidate: sum((held[block] for block in candidate), np.zeros(1)) for candidate in candidates}
    measured = {candidate: _macro_f1(truth, scores) for candidate, scores in totals.items()}
    best = max(candidates, key=lambda candidate: measured[candidate])
    return Selection(
        blocks=best,
        alphas=tuple(alphas[block] for block in best),
        macro_f1={" + ".join(candidate): value for candidate, value in measured.items()},
        calibration=fit_calibration(totals[best], truth),
    )


def _assemble(
    views: Mapping[str, tuple[Tfidf, Any]], truth: NDArray[np.integer], names: tuple[str, ...], chosen: Selection
) -> LinearModel:
    weights, intercept = [], np.zeros(len(names))
    for name, alpha in zip(chosen.blocks, chosen.alphas, strict=True):
        ridge = _ridge(views[name][1], truth, len(names), alpha)
        weights.append(np.ascontiguousarray(ridge.coef_.T, dtype=np.float32))
        intercept += ridge.intercept_
    blocks = tuple(views[name][0] for name in chosen.blocks)
    return LinearModel(names, blocks, tuple(weights), intercept.astype(np.float32), chosen.calibration)


def grouped_folds(truth: NDArray[np.integer], groups: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each example, shape (n,): groups stay whole, labels are spread evenly."""
    folds = np.zeros(len(truth), dtype=np.int64)
    count = min(count, len(set(groups)))
    splitter = library("sklearn.model_selection").StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A rare label may be missing from a fold; what is measured there says so.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, rows) in enumerate(splitter.split(truth, truth, groups)):
            folds[rows] = fold
    return folds


def _features(name: str, texts: Sequence[str], without: frozenset[str]) -> tuple[Tfidf, Any]:
    try:
        return Tfidf.fit_transform(BLOCKS[name], texts, without)
    except ValueError:
        raise CorpusError(
            "the examples have no words in common that a classifier could learn from", "give more and longer texts"
        ) from None


def _held_out_scores(
    features: Any, truth: NDArray[np.integer], folds: NDArray[np.integer], count: int, alpha: float
) -> Array:
    scores = np.zeros((len(truth), count))
    for fold in range(folds.max() + 1):
        out = folds == fold
        ridge = _ridge(features[~out], truth[~out], count, alpha)
        scores[out] = features[out] @ ridge.coef_.T + ridge.intercept_
    return scores


def _ridge(features: Any, truth: NDArray[np.integer], count: int, alpha: float) -> Any:
    targets = np.where(truth[:, None] == np.arange(count), 1.0, -1.0).astype(np.float32)
    ridge = library("sklearn.linear_model").Ridge(alpha=alpha, solver="sparse_cg", tol=1e-3)
    return ridge.fit(features, targets)


def _macro_f1(truth: NDArray[np.integer], scores: Array) -> float:
    score: float = library("sklearn.metrics").f1_score(truth, scores.argmax(axis=1), average="macro", zero_division=0)
    return score


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    if count <= CHOICE_EXAMPLES:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, CHOICE_EXAMPLES, replace=False))
