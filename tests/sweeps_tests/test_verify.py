"""The proof: what was recommended is trained on fresh seeds, compared with the prediction, and losing is said aloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mixlab.api.fit import fit
from mixlab.api.recommend import recommend
from mixlab.commands.verify import verify as verify_command
from mixlab.errors import ConfigError
from mixlab.files import read_json, write_json
from mixlab.mixture import Mixture
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher
from sweeps.executors.serial import SerialExecutor
from sweeps.executors.work import Work
from sweeps.ledger import read_ledger
from sweeps.proof import Proof, plan_proof, read_mixes
from sweeps.tracking import NoTracker
from sweeps.verification import Contender, Verification, noise_floor_of, score_order, verdict_of
from sweeps.verify import run_proof, verify

BUDGET = 4 * 1.6e9


def prove(folder: StudyFolder, proof: Proof) -> Verification:
    return run_proof(folder, proof, SerialExecutor(Work.of(folder)), NoTracker(), Watcher())


def write_recommendation(folder: StudyFolder, **changes: Any) -> dict[str, Any]:
    """What `mixlab recommend` writes at the proof's budget, with some keys changed; a key that is None is left out."""
    answer = recommend(fit(folder.root, law="effective-data", bootstrap=0), BUDGET).to_dict()
    data = {name: value for name, value in {**answer, **changes}.items() if value is not None}
    write_json(folder.recommendation, data)
    return data


def test_a_proof_trains_every_candidate_beyond_the_sweep(swept_folder: StudyFolder) -> None:
    before = swept_folder.runs.read_bytes()
    proof = plan_proof(swept_folder, seeds=2)
    result = prove(swept_folder, proof)
    assert set(result.candidates) == {"recommended", "uniform", "proportional", "best_observed"}
    assert result.flops == pytest.approx(BUDGET, rel=0.05)
    for candidate in result.candidates.values():
        assert len(candidate.measured) == 2
        assert candidate.measured[0] != candidate.measured[1]
        assert candidate.mean == pytest.approx(sum(candidate.measured) / 2)
    best = result.candidates["recommended"]
    assert result.interval_held == (best.predicted["low"] <= best.mean <= best.predicted["high"])
    assert result.winner == min(result.candidates, key=lambda name: result.candidates[name].mean)
    assert read_json(swept_folder.verification) == json.loads(json.dumps(result.to_dict()))
    assert swept_folder.runs.read_bytes() == before  # nothing measured here flows back into a fit
    swept = {record.spec.seed for record in read_ledger(swept_folder.ledger).records.values()}
    assert not swept & {spec.seed for group in proof.specs.values() for spec in group}
    again = prove(swept_folder, proof)
    assert again == result
    assert repr(result).startswith("<Verification at 6.")
    assert next(iter(result.to_frame()["candidate"])) == result.winner
    assert result.verdict[:40] in result.summary()


def test_the_size_that_is_trained_is_the_recommended_one(swept_folder: StudyFolder) -> None:
    data = write_recommendation(swept_folder, params=17_000.0, tokens=60_000.0)
    proof = plan_proof(swept_folder, seeds=2)
    ladder = {shape.params for shape in proof.plan.shapes}
    assert proof.shape.params not in ladder
    result = prove(swept_folder, proof)
    assert result.recommended == {"flops": BUDGET, "params": 17_000.0, "tokens": 60_000.0}
    assert result.params == proof.shape.params == pytest.approx(17_000, rel=0.03)
    assert result.tokens == pytest.approx(60_000, abs=64)
    assert result.candidates["recommended"].mixture == data["mixture"]
    difference = 100 * (result.params / 17_000 - 1)
    assert "Recommended: 17K parameters, 60K tokens; trained: " in result.summary()
    assert f"({difference:+.1f}%), 60K (" in result.summary()


def test_what_is_proved_is_recommendation_json(swept_folder: StudyFolder) -> None:
    odd = {"count": 0.31, "words": 0.46, "noise": 0.23}
    write_recommendation(swept_folder, mixture=odd)
    proof = plan_proof(swept_folder)
    assert proof.mixtures["recommended"] == Mixture(odd)
    assert proof.surface.law == "effective-data"  # who recommended also predicts
    assert not proof.notes
    made_from = read_json(swept_folder.recommendation)["made_from"]
    assert set(made_from) == {"runs", "study"}
    assert proof.made_from == made_from


def test_a_recommendation_of_an_earlier_format_is_proved_with_a_word(swept_folder: StudyFolder) -> None:
    odd = {"count": 0.31, "words": 0.46, "noise": 0.23}
    write_recommendation(swept_folder, mixture=odd, made_from=None, objective=None)
    proof = plan_proof(swept_folder)
    assert proof.mixtures["recommended"] == Mixture(odd)
    assert proof.notes == ("recommendation.json does not say which runs it was made from: it is proved as it is",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"made_from": {"runs": "0" * 16, "study": "0" * 16}}, "was made from other runs, or for another study.yaml"),
        ({"objective": {"loss.noise": 1.0}}, "is for another objective"),
        ({"flops": 1e12}, r"is for 1e12 FLOPs, and this verification has 6.4e9"),
    ],
)
def test_a_recommendation_that_does_not_fit_is_asked_anew_with_a_word(
    swept_folder: StudyFolder, changes: dict[str, Any], why: str
) -> None:
    odd = {"count": 0.31, "words": 0.46, "noise": 0.23}
    write_recommendation(swept_folder, mixture=odd, **changes)
    proof = plan_proof(swept_folder)
    assert proof.mixtures["recommended"] != Mixture(odd)
    assert proof.answer.flops == BUDGET
    (note,) = proof.notes
    assert note.startswith(f"recommendation.json {why}")
    assert note.endswith("it is not proved, the study is asked anew")


def test_a_recommendation_that_is_damaged_is_refused(swept_folder: StudyFolder) -> None:
    swept_folder.recommendation.write_text('{"flops": 1e9')
    with pytest.raises(ConfigError, match=r"recommendation.json is damaged"):
        plan_proof(swept_folder)


def test_mixtures_of_ones_own_are_compared(swept_folder: StudyFolder, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("words: 0.7\ncount: 0.3\n")
    (tmp_path / "other.json").write_text(json.dumps({"mixture": {"noise": 1.0}, "flops": 1e9, "params": 1}))
    arguments = [str(swept_folder.root), "--seeds", "2", "--executor", "serial", "--json"]
    arguments += ["--mix", str(tmp_path / "mine.yaml"), "--mix", str(tmp_path / "other.json")]
    data = json.loads(CliRunner().invoke(verify_command, arguments, catch_exceptions=False).stdout)
    assert set(data["candidates"]) == {"recommended", "uniform", "proportional", "best_observed", "mine", "other"}
    assert data["candidates"]["mine"]["mixture"] == {"count": 0.3, "words": 0.7, "noise": 0.0}
    # Noise teaches nothing about counting: the planted loser loses, and was predicted to.
    assert data["candidates"]["other"]["mean"] == max(one["mean"] for one in data["candidates"].values())
    assert data["beats"]["other"]["beyond_noise"]
    scored = data["forecast_scored"]
    assert scored["orders"]["other"]["held"] is True
    assert set(scored["orders"]) == set(data["candidates"]) - {"recommended"}
    for name, one in scored["intervals"].items():
        candidate = data["candidates"][name]
        assert (one["predicted"], one["measured"]) == (candidate["predicted"]["mean"], candidate["mean"])
        assert one["held"] == (candidate["predicted"]["low"] <= candidate["mean"] <= candidate["predicted"]["high"])
    assert data["made_from"]["study"] == swept_folder.config.answer_digest


def test_a_mixture_beyond_the_caps_is_trained_with_a_word(swept_folder: StudyFolder) -> None:
    text = swept_folder.config_file.read_text()
    swept_folder.config_file.write_text(text.replace("max_epochs: 100", "max_epochs: 5"))
    folder = StudyFolder.open(swept_folder.root)
    proof = plan_proof(folder, mixes={"mine": {"count": 1.0}})
    assert proof.mixtures["mine"] == Mixture({"count": 1.0, "words": 0.0, "noise": 0.0})
    assert any(note.startswith("mine reads `count`") and "max_epochs = 5" in note for note in proof.notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.yaml", "words: 0.5\n", "sum to 1, but sum to 0.5"),
        ("mine.yaml", "words: 1.5\ncount: -0.5\n", "must be >= 0"),
        ("mine.yaml", "wrods: 1\n", "no domain `wrods`"),
        ("mine.yaml", "- words\n", "must hold weights by domain"),
        ("mine.json", "{}", "must hold weights by domain"),
        ("mine.json", "{", "is damaged"),
        ("uniform.json", '{"words": 1}', "cannot be called `uniform`"),
    ],
)
def test_a_mixture_that_cannot_be_meant_is_refused(
    swept_folder: StudyFolder, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        verify(swept_folder, mixes=read_mixes([tmp_path / name]))


def test_two_mixtures_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.json").write_text('{"words": 1}')
    with pytest.raises(ConfigError, match="two mixtures are called `mine`"):
        read_mixes([tmp_path / "a" / "mine.json", tmp_path / "b" / "mine.json"])


def test_one_seed_has_no_noise(swept_folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match="at least 2 seeds"):
        plan_proof(swept_folder, seeds=1)


def test_what_a_seed_does_to_all_mixtures_is_no_noise() -> None:
    assert noise_floor_of([[1.0, 1.2, 0.9], [3.0, 3.2, 2.9]]) == pytest.approx(0.0)
    # Residuals of .05 in a 2 x 2 table: variance .01 on 1 degree of freedom, t = 12.7062.
    assert noise_floor_of([[1.0, 1.2], [3.0, 3.0]]) == pytest.approx(12.7062 * 0.1, rel=1e-4)


def contender(predicted: float, measured: float) -> Contender:
    interval = {"mean": predicted, "low": predicted - 0.1, "high": predicted + 0.1}
    return Contender({"a": 1.0}, interval, [measured, measured], measured, {})


def test_a_forecast_is_scored_beyond_the_noise_alone() -> None:
    best = contender(2.0, 2.0)
    assert score_order(best, contender(2.1, 2.2), 0.05)["held"] is True
    assert score_order(best, contender(2.1, 1.9), 0.05)["held"] is False
    assert score_order(best, contender(1.9, 1.8), 0.05)["held"] is True
    assert score_order(best, contender(2.1, 1.96), 0.05)["held"] is None
    assert score_order(best, contender(2.1, 2.2), 0.05)["predicted"] == pytest.approx(0.1)


def test_a_defeat_is_said() -> None:
    best = contender(2.0, 2.2)
    beats = {
        "uniform": {"difference": -0.1, "beyond_noise": False},
        "proportional": {"difference": 0.2, "beyond_noise": True},
        "best_observed": {"difference": 0.01, "beyond_noise": False},
    }
    verdict = verdict_of(best, "uniform", beats, 0.05)
    assert "OUTSIDE the predicted 2.0000 [1.9000, 2.1000]" in verdict
    assert "It LOSES to uniform; the best mixture measured is uniform." in verdict
    assert "beats proportional by more than the noise floor of 0.0500" in verdict
    assert "cannot be told apart from best observed within that noise" in verdict
    close = verdict_of(best, "uniform", {"uniform": {"difference": 0.01, "beyond_noise": False}}, 0.05)
    assert close.endswith("It cannot be told apart from uniform within the noise floor of 0.0500.")
