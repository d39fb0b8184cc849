"""`mixlab classify` and `mixlab score` as people run them: on files, on a study, and through to a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from helpers import topic_texts as planted

from mixlab.commands.classify import classify_command
from mixlab.corpus.classify.job import ClassifierSpec, ClassifyJob, CutSpec
from mixlab.corpus.classify.labelled import read_examples, train_labelled
from mixlab.corpus.classify.run import classify
from mixlab.corpus.classify.split import plan_split
from mixlab.corpus.classify.tag import Tagger, tag_documents
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.corpus.read.readers import records
from mixlab.corpus.read.texts import DomainTexts, file_texts, read, sample, study_texts
from mixlab.errors import ConfigError, MixlabError
from mixlab.study.config import load_config
from mixlab.study.folder import StudyFolder

STUDY = """\
name: s
domains:
  web: {paths: web.jsonl, group_field: id-stem}   # to be split
  plain: plain.jsonl
objective: {web: 0.6, plain: 0.4}
corpus: {validation_fraction: 0.2}
mixtures: {prior: uniform, max_epochs: 100}
proxies: {sizes: [6K, 14K], context: 32, eval_tokens: 500, batch_tokens: 64, min_tokens_per_param: 0}
sweep: {budgets: ["4e8", "8e8"], mixtures: 5, sizes_per_mixture: 2, replicates: 2, workers: 1}
"""


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(classify_command, [str(each) for each in arguments], env={"COLUMNS": "80"})
    if code == 0 and result.exception is not None:
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def refusal(*arguments: str | Path) -> MixlabError:
    error = CliRunner().invoke(classify_command, [str(each) for each in arguments]).exception
    assert isinstance(error, MixlabError), error
    return error


@pytest.fixture
def study(tmp_path: Path) -> Path:
    planted.write_rows(tmp_path / "web.jsonl", planted.rows(80))
    plain = [{"text": f"plain text number {i} " * 8, "id": f"p-{i}"} for i in range(120)]
    planted.write_rows(tmp_path / "plain.jsonl", plain)
    planted.write_rows(tmp_path / "labelled.jsonl", planted.rows(40, seed=1))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_a_file_is_classified_by_labels_and_the_output_fits_the_terminal(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(study / "web.jsonl", "--labelled", study / "labelled.jsonl", "-o", out, "--samples", "2")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "Hold-out: accuracy" in result.stdout
    table = pq.read_table(out / "tags.parquet").to_pandas()
    assert list(table.columns[:3]) == ["domain", "id", "topic"]
    truth = [record["label"] for _, record in records([str(study / "web.jsonl")])]
    assert (table["topic"] == truth).mean() > 0.97
    again = run(
        study / "web.jsonl",
        "--model",
        out / "model.safetensors",
        "-o",
        tmp_path / "again",
        "--json",
        "--test",
        study / "labelled.jsonl",
    )
    data = json.loads(again.stdout)
    assert data["domains"]["web"]["topics"][0]["share"] == pytest.approx(1 / 3, abs=0.03)
    assert data["test"]["documents"] == 120
    assert data["test"]["accuracy"] > 0.97
    pd.testing.assert_frame_equal(pq.read_table(tmp_path / "again/tags.parquet").to_pandas(), table)


def test_topics_are_found_without_being_told_any(study: Path, tmp_path: Path) -> None:
    data = json.loads(run(study / "web.jsonl", "-o", tmp_path / "out", "--json").stdout)
    assert data["method"] == "clusters"
    assert len(data["labels"]) == 3


def test_a_split_by_topic_is_prepared_as_it_is(study: Path) -> None:
    shown = run(study, "--domain", "web", "--labelled", study / "labelled.jsonl", "--by", "topic", "--print")
    assert (study / "study.yaml").read_text() == STUDY
    assert not (study / "split").exists()
    assert "+  web-cooking: {paths: split/web/cooking.jsonl.zst, group_field: id-stem}" in shown.stdout

    run(study, "--domain", "web", "--labelled", study / "labelled.jsonl", "--by", "topic", "--split")
    config = load_config(study / "study.yaml")
    assert set(config.domains) == {"web-cooking", "web-sailing", "web-gardens", "plain"}
    assert config.objective is not None
    assert sum(config.objective.values()) == pytest.approx(1)
    assert config.objective["plain"] == 0.4
    rows = [row for _, row in records(["split/web/*.zst"], study)]
    assert len(rows) == 240
    assert {row["id"] for row in rows} == {row["id"] for _, row in records(["web.jsonl"], study)}
    assert set(rows[0]) == {"text", "id", "topic", "probability"}
    inventory = prepare_corpus(StudyFolder.open(study)).inventory
    assert sum(inventory.shards[name].documents for name in config.domains if name != "plain") == 240


def test_python_classifies_and_splits_as_the_command_does(study: Path) -> None:
    folder = StudyFolder.open(study)
    spec = ClassifierSpec(labelled=study / "labelled.jsonl")
    job = ClassifyJob(study_texts(folder, ["web"]), spec, CutSpec(by="topic"), study=folder)
    outcome = classify(job)
    assert outcome.tags_file.is_file()
    split = plan_split(outcome)
    assert list(split.entries) == ["web-cooking", "web-gardens", "web-sailing"]
    assert split.rewrite is not None
    assert split.rewrite.notes == ("the weight of `web` in objective is divided among its parts by their tokens",)
    assert not folder.parts.exists()
    assert (study / "study.yaml").read_text() == STUDY == split.rewrite.before
    files = split.write()
    assert [file.relative_to(study).as_posix() for file in files] == [
        entry["paths"] for entry in split.entries.values()
    ]
    assert (study / "study.yaml").read_text() == split.rewrite.after
    with pytest.raises(ConfigError, match="nothing to split by"):
        plan_split(classify(replace(job, cut=CutSpec())))


def test_files_are_split_into_the_folder_of_their_classification(study: Path, tmp_path: Path) -> None:
    spec = ClassifierSpec(labelled=study / "labelled.jsonl")
    job = ClassifyJob(file_texts([study / "web.jsonl"]), spec, CutSpec(by="topic"), out=tmp_path / "out")
    split = plan_split(classify(job))
    assert split.rewrite is None
    assert sum(1 for file in split.write() for _ in records([str(file)])) == 240
    assert (tmp_path / "out" / "split" / "web" / "cooking.jsonl.zst").is_file()


def test_a_model_of_vectors_serves_semantic_dedup_without_clusters(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one_hot.py").write_text(
        "import numpy as np\n"
        "class Topic:\n"
        "    def embed(self, texts):\n"
        "        return np.array([['recipe' in t, 'anchor' in t, 'seed' in t, 1e-3] for t in texts], dtype=float)\n"
        "model = Topic()\n"
    )
    monkeypatch.chdir(tmp_path)
    result = run(study, "--domain", "web", "--semantic-dedup", "0.99", "--embedder", "one_hot:model", "--json")
    data = json.loads(result.stdout)
    assert data["method"] == "none"
    assert data["parts"][0]["parts"]["web"]["documents"] <= 8  # one of each pattern of three words


def test_a_mistyped_reference_is_named_before_the_text_is_read(study: Path) -> None:
    assert "no domain `plian`" in refusal(study, "--reference", "plian").message
    assert refusal(study, "--reference", "plian").hint == "did you mean `plain`?"
    assert not StudyFolder(study).classification.exists()


def test_the_help_has_every_option_below_a_heading() -> None:
    shown = CliRunner().invoke(classify_command, ["--help"]).stdout
    headings = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Text:", "Topics (from one of the first five):", "Comparison:", "Signals:", "Filters and parts:",
        "Other options:",
    ]  # fmt: skip
    for option in classify_command.params:
        if isinstance(option, click.Option):
            assert f"\n  {', '.join(option.opts)}" in shown


def test_a_split_by_quality_follows_the_reference_of_good_text(study: Path) -> None:
    good = planted.write_rows(study / "good.jsonl", planted.rows(60, seed=5, topics=("sailing",)))
    result = run(study, "--domain", "web", "--good", good, "--by", "quality", "--buckets", "3", "--split", "--json")
    parts = json.loads(result.stdout)["parts"][0]["parts"]
    assert list(parts) == ["web-low-quality", "web-middle-quality", "web-high-quality"]
    high = [row["id"] for _, row in records(["split/web/high-quality.jsonl.zst"], study)]
    assert np.mean([name.startswith("sailing") for name in high]) > 0.8  # a third by chance


def test_a_filtered_domain_keeps_its_name(study: Path) -> None:
    run(study, "--domain", "web", "--drop-lowest", "compression=0.25", "--semantic-dedup", "0.999", "--split")
    config = load_config(study / "study.yaml")
    assert list(config.domains) == ["web", "plain"]
    assert len(list(records(config.domains["web"].paths, study))) == 180
    assert config.objective == {"web": 0.6, "plain": 0.4}


def test_other_domains_and_files_serve_as_reference(study: Path) -> None:
    (study / "r.json").write_text(json.dumps({"cooking": 0.8, "sailing": 0.1, "gardens": 0.1}))
    model = ("--labelled", study / "labelled.jsonl")
    data = json.loads(run(study, "--domain", "web", *model, "--reference", study / "r.json", "--json").stdout)
    ratios = {each["topic"]: each["ratio"] for each in data["domains"]["web"]["topics"]}
    assert ratios["sailing"] == pytest.approx(10 / 3, rel=0.1)
    text = run(study, "--domain", "web", *model, "--reference", study / "r.json").stdout
    assert "web-sailing: 0.15" in text
    data = json.loads(run(study, "--domain", "web", *model, "--reference", "plain", "--json").stdout)
    assert list(data["domains"]) == ["web"]


def test_options_that_cannot_be_meant_are_refused_with_a_hint(study: Path) -> None:
    labelled = ("--labelled", study / "labelled.jsonl")
    topics = study / "topics.yaml"
    topics.write_text("a: [recipe]\nb: [anchor]\n")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((study, "--domain", "wbe"), "no domain `wbe`"),
        ((study / "web.jsonl", "--domain", "web"), "no study.yaml"),
        ((study, *labelled, "--topics", topics), "one source"),
        ((study, *labelled, "--split"), "nothing to split by"),
        ((study, *labelled, "--by", "topic", "--split", "--print"), "both were given"),
        ((study, "--by", "quality"), "no signal `quality`"),
        ((study, "--by", "perplexity"), "no signal `perplexity`"),
        ((study, *labelled, "--label-field", "lable"), "no field `lable`"),
        ((study, *labelled, "--reference", "plian"), "no domain `plian`"),
        ((study, *labelled, "--embedder", "x:y"), "vectors are for clusters"),
    ]
    for arguments, message in cases:
        error = refusal(*arguments)
        assert message in error.message
        assert error.hint
        assert error.exit_code == 2
    assert (study / "study.yaml").read_text() == STUDY


def test_a_study_with_a_bound_on_the_domain_is_left_whole(study: Path) -> None:
    text = STUDY.replace("prior: uniform,", "prior: uniform, max: {web: 0.5},")
    (study / "study.yaml").write_text(text)
    error = refusal(study, "--domain", "web", "--labelled", study / "labelled.jsonl", "--by", "topic", "--split")
    assert "mixtures.max bounds domain `web`" in error.message
    assert (study / "study.yaml").read_text() == text
    assert not (study / "split").exists()


def test_two_processes_tag_as_one_does(study: Path, tmp_path: Path) -> None:
    model = train_labelled(read_examples(study / "labelled.jsonl", "label", "text", None), 0).model
    source = DomainTexts("web", ("web.jsonl",), study)
    one, two = (
        tag_documents((source,), Tagger(model), tmp_path / f"{n}.parquet", model.labels, workers=n) for n in (1, 2)
    )
    np.testing.assert_array_equal(one.topic, two.topic)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_a_sample_is_fair_bounded_and_repeatable(study: Path) -> None:
    source = (DomainTexts("web", ("web.jsonl",), study),)
    docs = list(read(source))
    some = sample(source, 3, most=60)
    assert [doc.index for doc in some] == sorted(doc.index for doc in some)
    assert some == sample(source, 3, most=60) != sample(source, 4, most=60)
    assert 60 < np.mean([doc.index for doc in some]) < 180
    assert sum(len(doc.text) for doc in sample(source, 0, most_bytes=2000)) <= 2000
    assert {doc.id for doc in some} <= {doc.id for doc in docs}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_split_study_is_swept_scored_and_split_again(study: Path) -> None:
    """The commands as real processes, one after another."""

    def mixlab(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mixlab", *arguments],
            cwd=study,
            capture_output=True,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    mixlab("classify", ".", "--domain", "web", "--labelled", "labelled.jsonl", "--by", "topic", "--split")
    mixlab("prepare", ".")
    mixlab("sweep", ".")
    runs = pd.read_parquet(study / "runs.parquet")
    assert {"mix.web-cooking", "mix.web-sailing", "mix.web-gardens", "mix.plain"} <= set(runs.columns)
    scored = json.loads(mixlab("score", ".", "--json"))
    assert scored["documents"] == 360
    table = pq.read_table(study / "classify/scores.parquet").to_pandas()
    plain = table["id"].str.startswith("p-")
    assert table.loc[plain, "bits_per_byte"].median() < table.loc[~plain, "bits_per_byte"].median()
    mixlab("classify", ".", "--domain", "plain", "--scores", "classify/scores.parquet", "--by", "perplexity",
           "--buckets", "2", "--split")  # fmt: skip
    assert "plain-low-perplexity" in load_config(study / "study.yaml").domains
    mixlab("prepare", ".")
