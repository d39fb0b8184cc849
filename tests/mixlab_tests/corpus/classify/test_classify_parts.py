"""Shares, filters, buckets, semantic dedup, and study.yaml edited as text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixlab.corpus.classify.cut import DROPPED, cut_domain, plain_name
from mixlab.corpus.classify.shares import even_out, read_reference, topic_shares, uniform_reference
from mixlab.corpus.classify.tag import Tags
from mixlab.corpus.signals.basic import basic_signals
from mixlab.corpus.signals.filters import bucket_names, buckets, drop_lowest, keep
from mixlab.corpus.signals.scores import Scores, write_scores
from mixlab.corpus.signals.semantic import semantic_keepers
from mixlab.errors import ConfigError, CorpusError
from mixlab.study.config import load_config
from mixlab.study.edit import replace_domain


def tags(topic: list[int], labels: tuple[str, ...], tokens: list[int] | None = None) -> Tags:
    n = len(topic)
    sizes = np.array(tokens or [100] * n)
    return Tags(
        domains=("web",),
        domain=np.zeros(n, np.int32),
        labels=labels,
        topic=np.array(topic, np.int32),
        probability=np.ones(n, np.float32),
        bytes=4 * sizes,
        tokens=sizes,
        signals={},
        samples={},
    )


def test_shares_are_of_tokens_and_caps_even_them_out() -> None:
    some = tags([0, 0, 1, 2], ("a", "b", "other"), [300, 300, 200, 200])
    reference = uniform_reference({"a": 600, "b": 200, "other": 200})
    assert reference == pytest.approx({"a": 0.4, "b": 0.4, "other": 0.2})
    shares = topic_shares(some, "web", reference, 1.25)
    assert [(s.topic, s.documents, s.tokens, s.share) for s in shares] == [
        ("a", 2, 600, 0.6),
        ("b", 1, 200, 0.2),
        ("other", 1, 200, 0.2),
    ]
    assert [s.cap for s in shares] == [pytest.approx(0.5), None, None]
    assert even_out(shares, 1.25) == pytest.approx({"a": 0.5, "b": 0.25, "other": 0.25})


def test_what_is_cut_from_one_topic_takes_no_other_above_its_limit() -> None:
    some = tags([0, 1, 2], ("a", "b", "c"), [700, 250, 50])
    shares = topic_shares(some, "web", uniform_reference({"a": 700, "b": 250, "c": 50}), 1.2)
    assert even_out(shares, 1.2) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": 0.5, "b": 0.4}, "sum to 0.9"),
        ({"a": 0.5, "c": 0.5}, "topic `c`"),
        ({"a": 2, "b": -1}, "between 0 and 1"),
        ([1], "shares by topic"),
        ("}", "not JSON"),
    ],
)
def test_references_that_are_none_are_refused(tmp_path: Path, data: object, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(ConfigError, match=message):
        read_reference(path, ("a", "b"))


def test_small_parts_go_to_other_until_it_is_large_enough() -> None:
    labels = ("a", "b", "c", "d")
    some = tags([0] * 60 + [1] * 34 + [2] * 5 + [3], labels)
    stays = np.ones(100, bool)
    cut = cut_domain(some, "web", labels, some.topic, stays, 0.03, {})
    assert cut.names == ("web-a", "web-b", "web-other")
    assert cut.merged == ("c", "d")
    assert cut.documents == {"web-a": 60, "web-b": 34, "web-other": 6}
    stays[:50] = False
    cut = cut_domain(some, "web", labels, some.topic, stays, 0.0, {})
    assert (cut.part == DROPPED).sum() == 50
    assert cut.names == ("web-a", "web-b", "web-c", "web-d")
    assert sum(cut.shares.values()) == pytest.approx(1)
    with pytest.raises(CorpusError, match="drop all documents"):
        cut_domain(some, "web", labels, some.topic, np.zeros(100, bool), 0.0, {})


def test_topics_with_any_name_make_plain_and_different_domains() -> None:
    assert plain_name("<script>alert(1)</script>") == "script-alert-1-script"
    assert plain_name("../../etc/passwd") == "etc-passwd"
    assert plain_name("???") == "topic"
    labels = ("a/b", "a b", "é" * 300)
    some = tags([0, 1, 2], labels)
    cut = cut_domain(some, "web", labels, some.topic, np.ones(3, bool), 0.0, {})
    assert cut.names[:2] == ("web-a-b", "web-a-b-2")
    assert len(cut.names[2]) <= 44


def test_filters_and_their_refusals() -> None:
    signals = {"quality": np.array([0.1, 0.3, 0.5, 0.9]), "length": np.array([10.0, 500.0, 20.0, 900.0])}
    assert keep(signals, "quality > .2 and length >= 500").tolist() == [False, True, False, True]
    assert drop_lowest(signals, "0.5", None).tolist() == [False, False, True, True]
    assert drop_lowest(signals, "length=0.25", None).tolist() == [False, True, True, True]
    for expression in ("quality = .2", "quality > x", "", "quality > .2 and", "__import__('os')"):
        with pytest.raises(ConfigError, match=r"`keep`.*takes comparisons"):
            keep(signals, expression)
    with pytest.raises(ConfigError, match="no signal `lenght`") as caught:
        keep(signals, "lenght > 2")
    assert "length" in str(caught.value.hint)
    for value in ("2", "quality=", "0", "nan"):
        with pytest.raises(ConfigError, match=r"`drop_lowest`.*takes a fraction"):
            drop_lowest(signals, value, None)


def test_buckets_hold_equal_tokens_and_equal_values_stay_together() -> None:
    rng = np.random.default_rng(0)
    values, tokens = rng.normal(size=3000), rng.integers(1, 100, 3000)
    found = buckets(values, tokens, 3, "x")
    shares = np.bincount(found, weights=tokens) / tokens.sum()
    np.testing.assert_allclose(shares, 1 / 3, atol=0.01)
    assert values[found == 0].max() <= values[found == 1].min()
    assert bucket_names(3) == ("low", "middle", "high")
    assert bucket_names(5) == ("q1", "q2", "q3", "q4", "q5")
    with pytest.raises(CorpusError, match="too few different values"):
        buckets(np.ones(10), np.ones(10, int), 2, "x")


def test_compression_tells_repetition_from_prose_and_noise() -> None:
    rng = np.random.default_rng(0)
    noise = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789+/"), 2000))
    found = basic_signals(["again and again " * 100, noise, ""])
    assert found["compression"][0] > 20
    assert found["compression"][1] < 1.5
    assert found["length"].tolist() == [1600, 2000, 0]


def test_semantic_dedup_keeps_the_best_of_near_equals() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(1500, 20))
    copies = base[:500] + 0.01 * rng.normal(size=(500, 20))
    vectors = np.concatenate([base, copies]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.concatenate([np.zeros(1500), np.tile([1.0, -1.0], 250)])
    stays = semantic_keepers(vectors, scores, 0.99, 0)
    assert stays.sum() == 1500
    better = np.arange(500) % 2 == 0  # the copy is the better one
    np.testing.assert_array_equal(stays[1500:], better)
    np.testing.assert_array_equal(stays[:500], ~better)
    twins = np.repeat(vectors[:1], 3, axis=0)
    assert semantic_keepers(twins, np.array([0.0, 2.0, 1.0]), 1.0, 0).tolist() == [False, True, False]


def test_scores_are_joined_by_id_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_scores(path, ["a", "b"], {"perplexity": [3.0, 4.0]})
    assert Scores(path).of(["b", "a", "b"])["perplexity"].tolist() == [4, 3, 4]
    with pytest.raises(CorpusError, match="no scores of document `c`"):
        Scores(path).of(["c"])
    write_scores(path, ["a", "a"], {"perplexity": [3.0, 4.0]})
    with pytest.raises(CorpusError, match="two different scores"):
        Scores(path)
    write_scores(path, ["a"], {"perplexity": [float("nan")]})
    with pytest.raises(CorpusError, match="not a finite number"):
        Scores(path).of(["a"])
    pq.write_table(pa.table({"doc": ["a"]}), path)
    with pytest.raises(CorpusError, match="must have a column `id`"):
        Scores(path)


BLOCK = """\
# my study
name: s
domains:
  code: code.jsonl   # small
  # the crawl
  web:               # as of May
    paths: web.jsonl # raw

    group_field: host
  books: books/
objective: {web: 0.5, code: 0.5}   # what it is for
mixtures:
  prior:
    web: 0.6
    code: 0.4
  max: {code: 0.3}
"""
ENTRIES = {"web-a": {"paths": "split/web/a.jsonl.zst"}, "web-b: x": {"paths": "split/web/b.jsonl.zst"}}


def test_a_domain_is_replaced_and_all_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    rewrite = replace_domain(path, BLOCK, "web", ENTRIES, {"web-a": 2 / 3, "web-b: x": 1 / 3}, "by topic")
    path.write_text(rewrite.after)
    config = load_config(path)
    assert list(config.domains) == ["code", "web-a", "web-b: x", "books"]
    assert config.objective == pytest.approx({"web-a": 1 / 3, "web-b: x": 1 / 6, "code": 0.5}, abs=1e-6)
    assert config.mixtures.prior == pytest.approx({"web-a": 0.4, "web-b: x": 0.2, "code": 0.4})
    assert len(rewrite.notes) == 2
    for comment in ("# my study", "# small", "# the crawl", "# as of May", "# raw", "# what it is for", "host"):
        assert comment in rewrite.after
    assert "  books: books/\n" in rewrite.after


def test_a_study_in_flow_style_is_edited_too(tmp_path: Path) -> None:
    text = "name: s\ndomains: {web: web.jsonl, code: {paths: [c.jsonl]}}\nobjective: {web: 1}\n"
    rewrite = replace_domain(tmp_path / "study.yaml", text, "web", ENTRIES, {"web-a": 0.5, "web-b: x": 0.5}, "by topic")
    (tmp_path / "study.yaml").write_text(rewrite.after)
    config = load_config(tmp_path / "study.yaml")
    assert list(config.domains) == ["web-a", "web-b: x", "code"]
    assert config.objective == {"web-a": 0.5, "web-b: x": 0.5}


def test_a_bound_on_the_domain_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"study.yaml:16: mixtures.max bounds domain `code`") as caught:
        replace_domain(tmp_path / "study.yaml", BLOCK, "code", ENTRIES, {"web-a": 1.0, "web-b: x": 0.0}, "by topic")
    assert "remove this line" in str(caught.value.hint)


def test_a_filtered_domain_keeps_its_name_weights_and_bounds(tmp_path: Path) -> None:
    entries = {"code": {"paths": "split/code/code.jsonl.zst"}}
    rewrite = replace_domain(tmp_path / "study.yaml", BLOCK, "code", entries, {"code": 1.0}, "by keep quality > .3")
    (tmp_path / "study.yaml").write_text(rewrite.after)
    config = load_config(tmp_path / "study.yaml")
    assert config.domains["code"].paths == ("split/code/code.jsonl.zst",)
    assert config.mixtures.max == {"code": 0.3}
    assert config.objective == {"web": 0.5, "code": 0.5}
