"""Labelled examples: read them, hold some out by group, train on the rest, and say how good that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.corpus.learn.calibrate import expected_calibration_error
from mixlab.corpus.learn.contracts import Classifier, checked_probabilities
from mixlab.corpus.learn.library import library
from mixlab.corpus.learn.linear import LinearModel, Selection, fit_linear, train_linear
from mixlab.corpus.read.documents import document
from mixlab.corpus.read.readers import no_field, records
from mixlab.errors import CorpusError, argument

FEWEST_EXAMPLES = 5
HOLD_OUT = 0.2
MAX_LABELS = 500


@dataclass(frozen=True)
class Examples:
    """Labelled texts: n of each; examples of one group are related and stay on one side of every split."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]

    def take(self, rows: NDArray[np.integer]) -> Examples:
        parts = (self.texts, self.labels, self.groups)
        return Examples(*(tuple(part[i] for i in rows) for part in parts))


@dataclass(frozen=True)
class HoldOutScores:
    """What a classifier is worth on examples it has not seen.

    Attributes:
        labels: the K labels, in the order of the confusion's rows and columns.
        documents: examples held out.
        accuracy: share that was right.
        macro_f1: mean over labels of F1.
        f1: by label.
        confusion: counts, shape (K, K): rows are the truth, columns what was said.
        calibration_error: expected calibration error, 15 bins of equal count.
        uncalibrated_error: the same before calibration (None: the classifier is not ours).
    """

    labels: tuple[str, ...]
    documents: int
    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    confusion: NDArray[np.int64]
    calibration_error: float
    uncalibrated_error: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "f1": self.f1,
            "confusion": {"labels": list(self.labels), "counts": self.confusion.tolist()},
            "calibration_error": {"before": self.uncalibrated_error, "after": self.calibration_error},
        }


@dataclass(frozen=True)
class Trained:
    """A classifier trained on all examples, with what the same procedure is worth on held-out ones."""

    model: LinearModel
    evaluation: HoldOutScores
    selection: Selection


def read_examples(path: Path, label_field: str, text_field: str, group_field: str | None) -> Examples:
    """Read labelled examples.

    Raises:
        CorpusError: when a row lacks the label or the text, there is one label alone, or a label has fewer than
            `FEWEST_EXAMPLES` examples.
    """
    texts, labels, groups = [], [], []
    for where, record in records([str(path)]):
        if label_field not in record:
            raise no_field(where, label_field, record, argument("label_field"))
        label = record[label_field]
        if isinstance(label, bool) or not isinstance(label, (str, int)) or not str(label).strip():
            raise CorpusError(
                f"{where}: field `{label_field}` must be text or a whole number, but is {label!r:.60}",
                f"give every row its label, or name another field by {argument('label_field')}",
            )
        text, group = document(record, where, text_field, group_field)
        texts.append(text)
        labels.append(str(label).strip())
        groups.append(group)
    _check_labels(path, label_field, labels)
    return Examples(tuple(texts), tuple(labels), tuple(groups))


def _check_labels(path: Path, label_field: str, labels: Sequence[str]) -> None:
    counts = Counter(labels)
    if len(counts) < 2:
        raise CorpusError(
            f"{path}: a classifier needs at least 2 labels, but field `{label_field}` holds only `{labels[0]:.60}`",
            f"name another field by {argument('label_field')}, or add examples of something else",
        )
    if len(counts) > MAX_LABELS:
        raise CorpusError(
            f"{path}: a classifier takes at most {MAX_LABELS} labels, but field `{label_field}` holds {len(counts):,}",
            f"name the field that holds the topic by {argument('label_field')}",
        )
    few = {label: count for label, count in counts.items() if count < FEWEST_EXAMPLES}
    if few:
        listed = ", ".join(f"`{label:.40}` has {count}" for label, count in sorted(few.items())[:5])
        more = f", and {len(few) - 5} more labels have too few" if len(few) > 5 else ""
        raise CorpusError(
            f"{path}: every label needs at least {FEWEST_EXAMPLES} examples, but {listed}{more}",
            "add examples, merge such labels with others, or leave them out",
        )


def hold_out(examples: Examples, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out, about `HOLD_OUT` of them, by label; groups stay whole.

    Raises:
        CorpusError: when there are too few groups.
    """
    splits = round(1 / HOLD_OUT)
    groups = len(set(examples.groups))
    if groups < splits:
        raise CorpusError(
            f"labelled examples must come from at least {splits} groups, but they come from {groups}",
            f"give {argument('group_field')} a field of more values, or leave it out if rows are not related",
        )
    folds = library("sklearn.model_selection").StratifiedGroupKFold(splits, shuffle=True, random_state=seed)
    train, test = next(folds.split(examples.texts, examples.labels, examples.groups))
    return train, test


def train_labelled(examples: Examples, seed: int) -> Trained:
    """Measure the procedure on a hold-out, then train it on all examples.

    Settings and calibration come from cross-validation inside the training side; the final model keeps them.

    Raises:
        CorpusError: when a label's examples are all of one group, or there are too few groups.
    """
    _check_groups(examples)
    rows, held = hold_out(examples, seed)
    train, test = examples.take(rows), examples.take(held)
    model, selection = train_linear(train.texts, train.labels, train.groups, seed)
    final = fit_linear(examples.texts, examples.labels, selection)
    return Trained(final, evaluate(model, test), selection)


def _check_groups(examples: Examples) -> None:
    groups: dict[str, set[str]] = {}
    for label, group in zip(examples.labels, examples.groups, strict=True):
        groups.setdefault(label, set()).add(group)
    single = sorted(label for label, found in groups.items() if len(found) < 2)
    if single:
        raise CorpusError(
            f"all examples of label `{single[0]:.60}` belong to one group, so none can be held out",
            f"add examples from other groups, or give {argument('group_field')} a field of more values",
        )


def evaluate(model: Classifier, examples: Examples) -> HoldOutScores:
    """Score a classifier on examples; a label it does not know counts as wrong.

    Raises:
        CorpusError: when it knows none of the examples' labels.
    """
    known = {label: i for i, label in enumerate(model.labels)}
    if not known.keys() & set(examples.labels):
        raise CorpusError(
            f"the classifier knows none of the labels of the examples ({', '.join(sorted(set(examples.labels))[:5])})",
            f"use examples with its labels: {', '.join(model.labels[:5])}",
        )
    truth = np.array([known.get(label, -1) for label in examples.labels])
    probabilities = checked_probabilities(model, examples.texts)
    said = probabilities.argmax(axis=1)
    before = None
    if isinstance(model, LinearModel):
        before = expected_calibration_error(model.uncalibrated(examples.texts), truth)
    f1 = _f1(truth, said, len(known))
    return HoldOutScores(
        labels=model.labels,
        documents=len(truth),
        accuracy=float((said == truth).mean()),
        macro_f1=float(np.mean([f1[known[label]] for label in known if (truth == known[label]).any()])),
        f1={label: float(f1[i]) for label, i in known.items()},
        confusion=_confusion(truth, said, len(known)),
        calibration_error=expected_calibration_error(probabilities, truth),
        uncalibrated_error=before,
    )


def _f1(truth: NDArray[np.integer], said: NDArray[np.integer], count: int) -> Array:
    hit = np.array([((truth == k) & (said == k)).sum() for k in range(count)], dtype=float)
    either = np.array([(truth == k).sum() + (said == k).sum() for k in range(count)], dtype=float)
    return np.divide(2 * hit, either, out=np.zeros(count), where=either > 0)


def _confusion(truth: NDArray[np.integer], said: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    known = truth >= 0
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (truth[known], said[known]), 1)
    return table
