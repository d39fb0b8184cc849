"""A study from Python: every method does what the command of its name does, and leaves the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

import mixlab
from mixlab.errors import ConfigError, RunTableError
from mixlab.files import read_json
from mixlab.study.folder import StudyFolder
from sweeps.study import Study


def test_a_study_is_opened_by_its_folder(study_folder: StudyFolder, tmp_path: Path) -> None:
    study = mixlab.open_study(str(study_folder.root))
    assert isinstance(study, Study)
    assert repr(study) == f"<Study tiny in {study_folder.root}: 3 domains>"
    with pytest.raises(RunTableError, match="has no runs yet"):
        _ = study.runs
    with pytest.raises(ConfigError, match=r"no study\.yaml") as caught:
        mixlab.open_study(tmp_path)
    assert "mixlab init" in (caught.value.hint or "")


def test_a_mistake_in_the_study_is_found_on_opening(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("seed: 1")
    with pytest.raises(ConfigError, match="key `name` is missing"):
        mixlab.open_study(tmp_path)


def test_prepare_says_what_the_corpus_holds(study_folder: StudyFolder) -> None:
    study = mixlab.open_study(study_folder.root)
    study.prepare(progress=False)
    prepared = study.prepare(progress=False)
    assert not prepared.built  # the second time nothing has changed
    assert list(prepared.to_frame()["domain"]) == [domain.name for domain in prepared.inventory.domains]
    assert prepared.to_frame()["train_tokens"].sum() > 0
    assert "3 domains" in repr(prepared)
    assert "train tokens" in prepared.summary(width=200)


def test_results_are_kept_where_the_commands_keep_them(swept_folder: StudyFolder) -> None:
    study = mixlab.open_study(swept_folder.root)
    assert study.status().left == 0
    assert len(study.sweep(progress=False).to_frame()) == study.status().runs
    fitted = study.fit(law="additive-data", bootstrap=20)
    assert read_json(swept_folder.fit) == fitted.to_dict()
    answer = study.recommend("1e9", fit=fitted)
    assert read_json(swept_folder.recommendation) == answer.to_dict()
    assert answer.made_from["runs"] == study.runs.digest
