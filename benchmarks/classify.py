"""Topic classification beside scikit-learn's tuned TF-IDF + logistic regression, and how fast documents are tagged.

    python benchmarks/classify.py CORPORA [--seeds 5]

CORPORA holds labelled_topics.jsonl.gz (split by id), labelled_genres.jsonl.gz (split by id stem) and, for the
throughput, encyclopedic.jsonl.gz. Both classifiers see the same split and are tuned inside its training side. The
expected calibration error has 15 bins of equal count; beside it stands what a classifier whose probabilities are
exactly right would show on so few documents.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from mixlab.corpus.classify.labelled import Examples, evaluate, hold_out, read_examples
from mixlab.corpus.classify.tag import Tagger, tag_documents
from mixlab.corpus.learn.calibrate import expected_calibration_error
from mixlab.corpus.learn.clusters import find_clusters
from mixlab.corpus.learn.embed import Lsa
from mixlab.corpus.learn.linear import train_linear
from mixlab.corpus.read.texts import DomainTexts, sample

SETS = (("labelled_topics", "id"), ("labelled_genres", "id-stem"))
GRID = {
    "tfidf__ngram_range": [(1, 1), (1, 2)],
    "tfidf__stop_words": [None, "english"],
    "logistic__C": [2.0, 8.0, 32.0],
}


def baseline(train: Examples, test: Examples, seed: int) -> tuple[float, float, dict[str, object]]:
    """Macro-F1 and calibration error of the tuned baseline on `test`, and what was chosen for it."""
    pipeline = Pipeline(
        [
            ("tfidf", TfidfVectorizer(sublinear_tf=True, min_df=2, dtype=np.float32)),
            ("logistic", LogisticRegression(max_iter=300, tol=1e-3)),
        ]
    )
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The least populated class")
        search = GridSearchCV(pipeline, GRID, scoring="f1_macro", cv=folds)
        search.fit(list(train.texts), list(train.labels), groups=list(train.groups))
    probabilities = search.predict_proba(list(test.texts))
    names = list(search.classes_)
    truth = np.array([names.index(label) if label in names else -1 for label in test.labels])
    said = [names[i] for i in probabilities.argmax(axis=1)]
    score = f1_score(test.labels, said, average="macro", labels=sorted(set(test.labels)), zero_division=0)
    return float(score), expected_calibration_error(probabilities, truth), search.best_params_


def exact_calibration_error(probabilities: np.ndarray, draws: int = 200) -> float:
    """What expected calibration error is measured where every probability is exactly right."""
    rng = np.random.default_rng(0)
    cumulated = probabilities.cumsum(axis=1)
    truths = [(cumulated < rng.random((len(cumulated), 1))).sum(axis=1) for _ in range(draws)]
    return float(np.mean([expected_calibration_error(probabilities, truth) for truth in truths]))


def compare(path: Path, group: str, seeds: int) -> None:
    examples = read_examples(path, "label", "text", group)
    print(f"\n{path.name}: {len(examples.texts):,} documents, {len(set(examples.labels))} labels, by {group}")
    print("seed  held  macro-F1 (baseline)   ECE before   ECE  (exact) (baseline)  seconds (baseline)  features")
    rows = []
    for seed in range(seeds):
        train, test = (examples.take(rows) for rows in hold_out(examples, seed))
        start = time.perf_counter()
        model, chosen = train_linear(train.texts, train.labels, train.groups, seed)
        ours = time.perf_counter() - start
        found = evaluate(model, test)
        start = time.perf_counter()
        score, error, settings = baseline(train, test, seed)
        theirs = time.perf_counter() - start
        exact = exact_calibration_error(model.probabilities(test.texts))
        before = found.uncalibrated_error or 0.0
        rows.append((found.macro_f1, score, before, found.calibration_error, exact, error))
        print(
            f"{seed:4} {found.documents:5}  {found.macro_f1:8.4f} ({score:.4f})   {before:10.4f} {rows[-1][3]:.4f} "
            f"({exact:.4f})   ({error:.4f})   {ours:5.0f} ({theirs:.0f})   {' + '.join(chosen.blocks)}; {settings}",
            flush=True,
        )
    mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
    gain = np.array([row[0] - row[1] for row in rows])
    print(
        f"mean       {mean[0]:8.4f} ({mean[1]:.4f})   {mean[2]:10.4f} {mean[3]:.4f} ({mean[4]:.4f})   ({mean[5]:.4f})"
    )
    print(f"sd         {sd[0]:8.4f} ({sd[1]:.4f})   {sd[2]:10.4f} {sd[3]:.4f} ({sd[4]:.4f})   ({sd[5]:.4f})")
    print(f"macro-F1 above the baseline: {gain.mean():+.4f}, sd over seeds {gain.std(ddof=1):.4f}")


def throughput(corpora: Path) -> None:
    """MB/s of one process that tags the encyclopedia, signals included."""
    examples = read_examples(corpora / "labelled_topics.jsonl.gz", "label", "text", "id")
    source = DomainTexts("encyclopedic", (str((corpora / "encyclopedic.jsonl.gz").resolve()),))
    docs = sample((source,), 0)
    texts = [doc.text for doc in docs]
    lsa = Lsa.fit(texts, 0)
    clusters, _ = find_clusters(texts, lsa.embed(texts), 12, 0, lsa)
    machines = {"signals alone": Tagger(), "clusters": Tagger(clusters)}
    for blocks in (("words",), ("content", "characters")):
        model, _ = train_linear(examples.texts, examples.labels, examples.groups, 0, (blocks,))
        machines[" + ".join(blocks)] = Tagger(model)
    print(f"\ntagging encyclopedic, {sum(len(text.encode()) for text in texts) / 1e6:.1f} MB, one process")
    for name, machine in machines.items():
        labels = machine.classifier.labels if machine.classifier else ("all",)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            tags = tag_documents((source,), machine, Path(folder, "tags.parquet"), labels)
            seconds = time.perf_counter() - start
        print(f"{name:22} {tags.bytes.sum() / 1e6 / seconds:5.1f} MB/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=[*(name for name, _ in SETS), "throughput"])
    given = parser.parse_args()
    for name, group in SETS:
        if given.only in (None, name):
            compare(given.corpora / f"{name}.jsonl.gz", group, given.seeds)
    if given.only in (None, "throughput"):
        throughput(given.corpora)


if __name__ == "__main__":
    main()
