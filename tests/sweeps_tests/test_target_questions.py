"""What study.yaml asks of the target holds everywhere: in the design, the answer, the report's curve and the proof."""

from __future__ import annotations

from typing import Any

import pytest

import mixlab
from analysis.report.build import render
from analysis.report.picture import gather
from mixlab.errors import ConfigError, InfeasibleError
from mixlab.files import read_json
from mixlab.mixture import Mixture
from mixlab.study.folder import StudyFolder
from sweeps.designs import draw_mixtures
from sweeps.plan import open_plan
from sweeps.proof import plan_proof
from sweeps.proposals import first_round
from sweeps.status import sweep_status

CONSTRAINTS = '  constraints: ["count + words <= 0.7", "count == 2*words"]\n'
TARGET = """
target:
  dollars: 2
  gpu_flops: 1e6
  mfu: 1
  price: 0.9
  law: effective-data
  tokens_per_param: 5
  kl: 0.01
  no_worse: {words: uniform}
"""  # 2 / 0.9 hours of 1e6 FLOP/s are 8e9 FLOPs


def rewrite(folder: StudyFolder, target: str = TARGET, constraints: str = CONSTRAINTS) -> StudyFolder:
    """The same study with constraints and a target."""
    text = folder.config_file.read_text()
    plain = "mixtures: {prior: uniform, max_epochs: 100}\n"
    assert plain in text
    text = text.replace(plain, f"mixtures:\n  prior: uniform\n  max_epochs: 100\n{constraints}")
    folder.config_file.write_text(text + target)
    return StudyFolder.open(folder.root)


def keeps(mixture: Any) -> bool:
    count, words = mixture["count"], mixture["words"]
    return bool(count + words <= 0.7 + 1e-6 and abs(count - 2 * words) <= 1e-6)


@pytest.mark.parametrize("kind", ["dirichlet", "sobol"])
def test_a_design_keeps_the_constraints(study_folder: StudyFolder, kind: str) -> None:
    plan = open_plan(rewrite(study_folder))
    drawn = draw_mixtures(plan.space, plan.prior, 12, kind=kind, seed=1, tokens=plan.longest)
    assert len(set(drawn)) == 12
    assert all(keeps(mixture) for mixture in drawn)


def test_a_study_asks_the_same_everywhere(swept_folder: StudyFolder) -> None:
    folder = rewrite(swept_folder)
    study = mixlab.open_study(folder.root)
    answer = study.recommend(draws=0)
    assert answer.flops == pytest.approx(8e9)
    assert answer.costs["training"]["dollars"] == pytest.approx(2)
    assert answer.tokens / answer.params == pytest.approx(5)
    assert keeps(answer.mixture)
    said = {one["said"]: one for one in answer.held}
    assert set(said) == {"count + words <= 0.7", "count == 2*words", "loss.words <= uniform"}
    assert all(one["room"] >= -1e-5 for one in said.values())
    free = mixlab.recommend(mixlab.fit(folder.root, bootstrap=0), kl=0, draws=0)
    assert free.loss["mean"] <= answer.loss["mean"] + 1e-9  # the pull to the prior costs something, or nothing
    picture = gather(folder.root)
    assert picture.answer == mixlab.Recommendation.from_dict(read_json(folder.recommendation))
    assert all(keeps(point.mixture) for point in picture.frontier)
    assert all(point.tokens / point.params == pytest.approx(5) for point in picture.frontier)
    here = [point for point in picture.frontier if point.flops == answer.flops]
    assert len(here) == 1
    assert here[0].loss == pytest.approx(answer.loss["mean"], abs=1e-6)
    page = render(picture)
    assert "Held to: count + words &lt;= 0.7" in page
    assert "GPU hours = $2" in page
    proof = plan_proof(folder, flops=4e9, seeds=2)
    assert keeps(proof.answer.mixture)
    assert proof.answer.params * 5 == pytest.approx(proof.answer.tokens)
    assert all(keeps(proof.mixtures[name]) for name in ("uniform", "proportional"))


def test_the_status_says_what_the_sweep_costs(study_folder: StudyFolder) -> None:
    assert "costs" not in sweep_status(study_folder, executor="serial").to_dict()
    status = sweep_status(rewrite(study_folder), executor="serial")
    assert status.to_dict()["costs"]["sweep"]["dollars"] == pytest.approx(status.flops / 3.6e9 * 0.9)
    assert "GPU hours = $" in status.summary()


@pytest.mark.slow
def test_what_was_asked_on_the_command_line_is_asked_again(swept_folder: StudyFolder) -> None:
    folder = rewrite(swept_folder, "\ntarget: {flops: 8e9, law: effective-data}\n", "")
    study = mixlab.open_study(folder.root)
    answer = study.recommend(constraints="noise >= 0.25", draws=0)
    assert read_json(folder.recommendation)["asked"] == {"constraints": ["noise >= 0.25"]}
    assert answer.mixture["noise"] >= 0.25 - 1e-6
    assert all(point.mixture["noise"] >= 0.25 - 1e-6 for point in gather(folder.root).frontier)
    elsewhere = gather(folder.root, flops=4e9, constraints="noise >= 0.5").answer
    assert elsewhere is not None
    assert elsewhere.mixture["noise"] >= 0.5 - 1e-6
    proof = plan_proof(folder, flops=4e9, seeds=2)
    assert "recommendation.json is for 8e9 FLOPs" in " ".join(proof.notes)
    assert proof.mixtures["recommended"]["noise"] >= 0.25 - 1e-6
    assert isinstance(proof.mixtures["recommended"], Mixture)


def test_mistakes_in_the_target_are_found_by_line(study_folder: StudyFolder) -> None:
    text = study_folder.config_file.read_text()
    for wrong, message in (
        (
            "target: {flops: 1e9, no_worse: {word: 2.0}}",
            r"study\.yaml:\d+: `target\.no_worse\.word`: there is no domain",
        ),
        ("target: {dollars: 5, gpu: h100}", r"study\.yaml:\d+: `target`: a budget in dollars needs a price"),
        ("target: {flops: 1e9, dollars: 5, gpu: h100}", "a budget is stated once"),
        ("target: {flops: 1e9, gpu: h1}", "known are a100"),
        ("target: {flops: 1e9, no_worse: {words: best}}", r"`target\.no_worse\.words`"),
    ):
        study_folder.config_file.write_text(f"{text}\n{wrong}\n")
        with pytest.raises(ConfigError, match=message):
            _ = StudyFolder.open(study_folder.root).config
    study_folder.config_file.write_text(text)
    clash = rewrite(study_folder, "", '  constraints: ["count + words >= 0.9", "noise >= 0.2"]\n')
    with pytest.raises(InfeasibleError, match=r"`count \+ words >= 0\.9`, `noise >= 0\.2`"):
        open_plan(clash)


def test_a_limit_on_domains_holds_in_the_design_the_answer_and_the_proof(swept_folder: StudyFolder) -> None:
    before, text = swept_folder.config.answer_digest, swept_folder.config_file.read_text()
    folder = rewrite(swept_folder, "\ntarget: {flops: 8e9}\n", "  max_domains: 2\n")
    assert folder.config.answer_digest != before

    def few(mixture: Any) -> bool:
        return 0 < sum(weight > 0 for weight in mixture.values()) <= 2

    assert all(few(mixture) for mixture in first_round(open_plan(folder)))
    answer = mixlab.open_study(folder.root).recommend(draws=0)
    assert all(few(mixture) for mixture in (answer.mixture, *answer.decision.get("alike", ())))
    proof = plan_proof(folder, flops=8e9, seeds=2)
    assert few(proof.mixtures["recommended"])
    assert not few(proof.mixtures["uniform"])  # what is trained where nobody chooses
    folder.config_file.write_text(text)
    clash = rewrite(folder, "", "  max_domains: 1\n  min: {words: 0.1, count: 0.1}\n")
    with pytest.raises(InfeasibleError, match=r"`at most 1 domain`, `count >= 0\.1`, `words >= 0\.1`"):
        open_plan(clash)


def test_a_constraint_on_a_domain_for_evaluation_counts_it_as_nothing(study_folder: StudyFolder) -> None:
    text = '  max: {noise: 0}\n  constraints: ["count >= 0.5 + noise"]\n'
    space = open_plan(rewrite(study_folder, "", text)).space
    assert space.names == ("count", "words")
    assert space.uniform()["count"] == pytest.approx(0.5)
    assert space.project([0.1, 0.9]) == pytest.approx([0.5, 0.5])
