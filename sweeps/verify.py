"""The proof: train the recommended mixture and its rivals at a budget beyond the sweep, and compare.

All candidates are trained at the same model size and token count, each with the same few seeds that the sweep did not
use, and scored on the study's held-out text. Nothing measured here flows back into a fit.
"""

from __future__ import annotations

from collections.abc import Mapping

from mixlab.files import write_json
from mixlab.study.folder import StudyFolder
from sweeps.driver import Watcher, make_runs
from sweeps.executors.base import Executor
from sweeps.executors.registry import make_executor
from sweeps.ledger import Ledger
from sweeps.proof import Proof, plan_proof
from sweeps.tracking import Tracker, make_tracker
from sweeps.verification import Verification, judge


def verify(
    folder: StudyFolder,
    *,
    flops: float | None = None,
    seeds: int = 3,
    mixes: Mapping[str, Mapping[str, float]] | None = None,
    executor: str = "local",
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> Verification:
    """Prove the recommendation of a study that has been swept, and write verification.json.

    Args:
        folder: the study.
        flops, seeds, mixes: see `proof.plan_proof`.
        executor, workers, watcher: see `driver.sweep`.

    Raises:
        ConfigError: when something that is asked for cannot be meant, or a run did not finish.
        FitError: when the runs cannot carry a fit.
        InfeasibleError: when caps leave nothing to compare with.
        SweepError: when another driver verifies this study, or the disk refuses.
    """
    proof = plan_proof(folder, flops=flops, seeds=seeds, mixes=mixes)
    tracker = make_tracker(folder.config.tracking, folder.config.name, folder.root)
    return run_proof(folder, proof, make_executor(executor, folder, workers), tracker, watcher or Watcher())


def run_proof(
    folder: StudyFolder, proof: Proof, executor: Executor, tracker: Tracker, watcher: Watcher
) -> Verification:
    """Train the candidates (those already trained are not repeated), compare, write verification.json."""
    specs = proof.specs
    everything = list({spec.run_id: spec for group in specs.values() for spec in group}.values())
    with Ledger.hold(folder.verification_ledger) as ledger:
        make_runs(everything, ledger, executor, tracker, watcher, proof.plan.facts.objective)
        records = ledger.records
    result = judge(proof, {name: [records[spec.run_id] for spec in group] for name, group in specs.items()})
    write_json(folder.verification, result.to_dict())
    return result
