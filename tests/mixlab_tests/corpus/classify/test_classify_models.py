"""Classifiers: planted topics are found, probabilities mean what they say, bad files and input are refused."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import topic_texts as planted

from mixlab.corpus.classify.labelled import hold_out, read_examples, train_labelled
from mixlab.corpus.classify.seeds import read_topics, train_from_seeds
from mixlab.corpus.learn.by_name import import_classifier, import_embedder
from mixlab.corpus.learn.calibrate import Calibration, expected_calibration_error, fit_calibration
from mixlab.corpus.learn.clusters import find_clusters
from mixlab.corpus.learn.contracts import checked_probabilities, checked_vectors
from mixlab.corpus.learn.embed import Lsa, read_embeddings
from mixlab.corpus.learn.store import load_classifier, save_classifier
from mixlab.errors import ConfigError, CorpusError


def test_calibration_mends_scores_of_the_wrong_scale_and_keeps_their_order() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4)) * 1.5
    truth = (np.exp(logits).cumsum(1) / np.exp(logits).sum(1, keepdims=True) < rng.random((4000, 1))).sum(axis=1)
    scores = np.sign(logits) * np.sqrt(np.abs(logits)) * 0.1  # too timid, and bent
    plain = Calibration(1.0, 0.0, 1.0).probabilities(scores)
    found = fit_calibration(scores, truth).probabilities(scores)
    assert expected_calibration_error(plain, truth) > 0.2
    assert expected_calibration_error(found, truth) < 0.03
    assert (found.argmax(axis=1) == plain.argmax(axis=1)).all()


@pytest.mark.parametrize("bend", [-0.45, 0.0, 30.0])
def test_the_calibration_curve_rises_everywhere(bend: float) -> None:
    points = np.linspace(-3, 3, 601)
    assert (np.diff(Calibration(2.0, bend, 1.0).curve(points)) > 0).all()


def test_expected_calibration_error_of_a_case_worked_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    truth = np.array([0, 1, 0, 0])  # .9 came true once of two, .6 twice of two
    assert expected_calibration_error(probabilities, truth, bins=2) == pytest.approx((0.4 + 0.4) / 2)


def test_labelled_topics_are_learnt_measured_and_stored(tmp_path: Path) -> None:
    path = planted.write_rows(tmp_path / "labelled.jsonl", planted.rows())
    examples = read_examples(path, "label", "text", "id-stem")
    train, test = hold_out(examples, 0)
    assert not {examples.groups[i] for i in train} & {examples.groups[i] for i in test}
    trained = train_labelled(examples, 0)
    assert trained.evaluation.accuracy > 0.95
    assert trained.evaluation.confusion.sum() == trained.evaluation.documents == len(test)
    assert set(trained.model.top_terms("sailing", 5)) <= set(planted.WORDS["sailing"])

    save_classifier(tmp_path / "a.safetensors", trained.model)
    save_classifier(tmp_path / "b.safetensors", train_labelled(examples, 0).model)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    texts = [row["text"] for row in planted.rows(5, seed=9)]
    read = load_classifier(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read.probabilities(texts), trained.model.probabilities(texts))


def test_labels_without_a_pattern_are_not_learnt(tmp_path: Path) -> None:
    """The hold-out must not know what it is asked: with shuffled labels it does no better than chance."""
    data = planted.rows(40)
    labels = [row["label"] for row in data]
    random.Random(1).shuffle(labels)
    shuffled = [row | {"label": label} for row, label in zip(data, labels, strict=True)]
    path = planted.write_rows(tmp_path / "x.jsonl", shuffled)
    assert train_labelled(read_examples(path, "label", "text", None), 0).evaluation.accuracy < 0.6


def test_damaged_foreign_and_pickled_models_are_refused(tmp_path: Path) -> None:
    examples = read_examples(planted.write_rows(tmp_path / "l.jsonl", planted.rows(10)), "label", "text", None)
    path = tmp_path / "model.safetensors"
    save_classifier(path, train_labelled(examples, 0).model)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorpusError, match="checksum mismatch"):
        load_classifier(path)
    for name in ("model.pkl", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(CorpusError, match="is a pickle"):
            load_classifier(tmp_path / name)
    path.write_bytes(b"hello")
    with pytest.raises(CorpusError, match="not a classifier of mixlab"):
        load_classifier(path)


def test_a_header_of_any_length_is_not_taken_for_a_pickle(tmp_path: Path) -> None:
    examples = read_examples(planted.write_rows(tmp_path / "l.jsonl", planted.rows(10)), "label", "text", None)
    model = train_labelled(examples, 0).model
    path = tmp_path / "m.safetensors"
    starts = set()
    for length in range(1, 257, 8):
        save_classifier(path, replace(model, labels=("x" * length, *model.labels[1:])))
        starts.add(path.read_bytes()[0])
        assert load_classifier(path).labels[0] == "x" * length
    assert 0x80 in starts  # as a pickle starts


def test_a_model_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = read_examples(planted.write_rows(tmp_path / "l.jsonl", planted.rows(10)), "label", "text", None)
    monkeypatch.setattr("mixlab.corpus.learn.store.MODEL_FORMAT", 2)
    save_classifier(tmp_path / "m.safetensors", train_labelled(examples, 0).model)
    monkeypatch.undo()
    with pytest.raises(CorpusError, match="format 2 is not known"):
        load_classifier(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda rows: [{"text": r["text"], "topic": "a"} for r in rows], "no field `label`", "label-field"),
        (lambda rows: [r | {"label": "one"} for r in rows], "at least 2 labels", "another field"),
        (lambda rows: [*rows, {"text": "x y", "label": "rare"}], "`rare` has 1", "add examples"),
        (lambda rows: [r | {"label": None} for r in rows], "must be text or a whole number", "its label"),
        (lambda rows: [r | {"text": 3} for r in rows], "must be text", "field that holds the text"),
        (lambda rows: [r | {"label": f"l{i}"} for i, r in enumerate(rows * 9)], "at most 500 labels", "label-field"),
    ],
)
def test_examples_that_cannot_teach_are_refused(tmp_path: Path, change: object, message: str, hint: str) -> None:
    assert callable(change)
    path = planted.write_rows(tmp_path / "l.jsonl", change(planted.rows(20)))
    with pytest.raises(CorpusError, match=message) as caught:
        read_examples(path, "label", "text", None)
    assert hint in str(caught.value.hint)


def test_too_few_groups_leave_nothing_to_hold_out(tmp_path: Path) -> None:
    data = [
        row | {"id": f"{row['label']}{i % 4 // 2}-{i}"}
        for i, row in enumerate(planted.rows(20, topics=("cooking", "sailing")))
    ]
    examples = read_examples(planted.write_rows(tmp_path / "l.jsonl", data), "label", "text", "id-stem")
    with pytest.raises(CorpusError, match="at least 5 groups"):
        train_labelled(examples, 0)
    more = [row | {"id": "one-0"} if row["label"] == "sailing" else row for row in planted.rows(20)]
    examples = read_examples(planted.write_rows(tmp_path / "m.jsonl", more), "label", "text", "id-stem")
    with pytest.raises(CorpusError, match="all examples of label `sailing` belong to one group"):
        train_labelled(examples, 0)


def test_seed_words_find_documents_that_have_none_of_them() -> None:
    rng = random.Random(0)
    data = planted.rows(100)
    texts = [row["text"] for row in data] + [planted.text(None, rng) for _ in range(100)]
    seeds = {"cooking": ("recipe", "oven"), "sailing": ("anchor", "mast"), "gardens": ("soil", "compost", "zzz")}
    model, report = train_from_seeds(texts, seeds, 0)
    assert report.unused == {"gardens": ["zzz"]}
    unseen = [(t, planted.text(t, rng)) for t in planted.WORDS for _ in range(60)]
    unseen = [(t, x) for t, x in unseen if not any(word in x for word in sum(seeds.values(), ()))]
    unseen += [("other", planted.text(None, rng)) for _ in range(40)]
    said = [model.labels[i] for i in model.probabilities([x for _, x in unseen]).argmax(axis=1)]
    assert np.mean([t == s for (t, _), s in zip(unseen, said, strict=True)]) > 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds none"),
        ("{}", "holds none"),
        ("a: [x]", "at least 2 topics"),
        ("a: [x]\nb: []", "no seed words"),
        ("a: [x]\na: [y]", "duplicate|twice"),
        ("a: [x]\nb: [X, y]", "seed of `a` and of `b`"),
        ("a: [x]\nother: [y]", "documents of no topic"),
        ("- a\n- b", "holds none"),
    ],
)
def test_topics_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_topics(path)


def test_seeds_that_hardly_occur_are_refused() -> None:
    texts = [row["text"] for row in planted.rows(20)]
    with pytest.raises(CorpusError, match="`moon` occur in 0"):
        train_from_seeds(texts, {"sailing": ("anchor",), "moon": ("crater",)}, 0)


def test_clusters_are_counted_found_and_named(tmp_path: Path) -> None:
    data = planted.rows(80)
    texts, truth = [row["text"] for row in data], np.array([row["label"] for row in data])
    lsa = Lsa.fit(texts, 0)
    model, choice = find_clusters(texts, checked_vectors(lsa, texts), None, 0, lsa)
    assert choice.count == 3
    said = model.probabilities(texts).argmax(axis=1)
    for k, name in enumerate(model.labels):
        topics, counts = np.unique(truth[said == k], return_counts=True)
        assert counts.max() > 0.95 * counts.sum()
        assert set(name.split("-")) <= set(planted.WORDS[topics[counts.argmax()]])
    save_classifier(tmp_path / "c.safetensors", model)
    read = load_classifier(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(read.probabilities(texts), model.probabilities(texts))
    with pytest.raises(CorpusError, match="more documents"):
        find_clusters(texts[:3], checked_vectors(lsa, texts[:3]), 5, 0, lsa)


def test_embeddings_are_matched_by_id_and_checked(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    vectors = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"id": ["c", "a", "b"], "embedding": list(vectors[[2, 0, 1]])}), path)
    np.testing.assert_allclose(read_embeddings(path, ids), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    with pytest.raises(CorpusError, match="no embedding of 1 of 2 documents, the first `d`"):
        read_embeddings(path, ["a", "d"])
    np.save(tmp_path / "e.npy", vectors)
    assert read_embeddings(tmp_path / "e.npy", ids).shape == (3, 2)
    with pytest.raises(CorpusError, match="one row per document"):
        read_embeddings(tmp_path / "e.npy", ids[:2])
    np.save(tmp_path / "o.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(CorpusError, match="cannot read embeddings"):
        read_embeddings(tmp_path / "o.npy", ids)
    vectors[0, 0] = np.nan
    np.save(tmp_path / "n.npy", vectors)
    with pytest.raises(ConfigError, match="finite"):
        read_embeddings(tmp_path / "n.npy", ids)


def test_a_classifier_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_topics.py").write_text(
        "import numpy as np\n"
        "class Half:\n"
        "    labels = ('a', 'b')\n"
        "    def probabilities(self, texts):\n"
        "        return np.full((len(texts), 2), .5)\n"
        "half = Half()\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert checked_probabilities(import_classifier("own_topics:half"), ["x", "y"]).shape == (2, 2)
    for name, message in (
        ("own_topics", "must be module:object"),
        ("own_topics:halff", "has no `halff`"),
        ("own_topics:number", "has no `labels`"),
        ("nowhere_at_all:x", "cannot import"),
    ):
        with pytest.raises(ConfigError, match=message):
            import_classifier(name)
    with pytest.raises(ConfigError, match="has no `embed`"):
        import_embedder("own_topics:half")
    wrong = SimpleNamespace(labels=("a", "b"), probabilities=lambda texts: np.ones((len(texts), 2)))
    with pytest.raises(ConfigError, match="sum to 1"):
        checked_probabilities(wrong, ["x"])


def test_the_header_of_a_model_can_be_read_without_mixlab(tmp_path: Path) -> None:
    from safetensors import safe_open

    examples = read_examples(planted.write_rows(tmp_path / "l.jsonl", planted.rows(10)), "label", "text", None)
    save_classifier(tmp_path / "m.safetensors", train_labelled(examples, 0).model)
    with safe_open(tmp_path / "m.safetensors", framework="numpy") as file:
        header = json.loads(file.metadata()["mixlab"])
    assert header["kind"] == "linear"
    assert header["about"]["labels"] == sorted(planted.WORDS)
