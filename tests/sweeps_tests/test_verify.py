"""The proof: candidates trained on fresh seeds, compared with the prediction, and losing said aloud."""

from __future__ import annotations

import json

import pytest

from mixlab.errors import ConfigError
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher
from sweeps.executors.local import LocalExecutor
from sweeps.executors.work import Work
from sweeps.ledger import read_ledger
from sweeps.tracking import NoTracker
from sweeps.verify import Contender, _noise_floor, _verdict, plan_proof, run_proof


def test_a_proof_trains_every_candidate_beyond_the_sweep(swept_folder: StudyFolder) -> None:
    before = swept_folder.runs.read_bytes()
    proof = plan_proof(swept_folder, None, 2)
    executor = LocalExecutor(Work.of(swept_folder), 2)
    result = run_proof(swept_folder, proof, executor, NoTracker(), Watcher())
    assert set(result.candidates) == {"recommended", "uniform", "proportional", "best_observed"}
    assert result.flops == pytest.approx(4 * 1.6e9, rel=0.05)
    for candidate in result.candidates.values():
        assert len(candidate.measured) == 2
        assert candidate.measured[0] != candidate.measured[1]
        assert candidate.mean == pytest.approx(sum(candidate.measured) / 2)
    best = result.candidates["recommended"]
    assert result.interval_held == (best.predicted["low"] <= best.mean <= best.predicted["high"])
    assert result.winner == min(result.candidates, key=lambda name: result.candidates[name].mean)
    assert json.loads(swept_folder.verification.read_text())["verdict"] == result.verdict
    assert swept_folder.runs.read_bytes() == before  # nothing measured here flows back into a fit
    swept = {record.spec.seed for record in read_ledger(swept_folder.ledger).records.values()}
    assert not swept & {spec.seed for group in proof.specs.values() for spec in group}
    again = run_proof(swept_folder, proof, executor, NoTracker(), Watcher())
    assert again == result


def test_one_seed_has_no_noise(swept_folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match="at least 2 seeds"):
        plan_proof(swept_folder, None, 1)


def test_what_a_seed_does_to_all_mixtures_is_no_noise() -> None:
    assert _noise_floor([[1.0, 1.2, 0.9], [3.0, 3.2, 2.9]]) == pytest.approx(0.0)
    # Residuals of .05 in a 2 x 2 table: variance .01 on 1 degree of freedom, t = 12.7062.
    assert _noise_floor([[1.0, 1.2], [3.0, 3.0]]) == pytest.approx(12.7062 * 0.1, rel=1e-4)


def test_a_defeat_is_said() -> None:
    best = Contender({"a": 1.0}, {"mean": 2.0, "low": 1.9, "high": 2.1}, [2.2, 2.2], 2.2, {})
    beats = {
        "uniform": {"difference": -0.1, "beyond_noise": False},
        "proportional": {"difference": 0.2, "beyond_noise": True},
        "best_observed": {"difference": 0.01, "beyond_noise": False},
    }
    verdict = _verdict(best, False, "uniform", beats, 0.05)
    assert "OUTSIDE the predicted 2.0000 [1.9000, 2.1000]" in verdict
    assert "It LOSES to uniform; the best mixture measured is uniform." in verdict
    assert "beats proportional by more than the noise floor of 0.0500" in verdict
    assert "cannot be told from best observed" in verdict
