"""The README's first command, as a real process, whole; and the same command after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

COMMAND = [sys.executable, "-m", "mixlab", "quickstart", "study", "--seed", "5"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quickstart_proves_its_answer_and_survives_a_kill(tmp_path: Path) -> None:
    environment = os.environ | {"NO_COLOR": "1"}
    first = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    study = tmp_path / "study"
    while len(list((study / "ledger").glob("*.json"))) < 3:
        assert first.poll() is None
        time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in (study / "ledger").glob("*.json")}

    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    for name, changed in finished.items():
        assert (study / "ledger" / name).stat().st_mtime_ns == changed  # not run again
    assert "At 5.12e11 FLOPs train" in done.stdout
    runs = pd.read_parquet(study / "runs.parquet")
    assert runs["mix.python"].nunique() > 10
    assert runs["params"].nunique() == 4
    answer = json.loads((study / "recommendation.json").read_text())
    assert sum(answer["mixture"].values()) == pytest.approx(1)
    proof = json.loads((study / "verification.json").read_text())
    assert proof["flops"] == pytest.approx(4 * runs["flops"].max(), rel=0.05)
    assert {"recommended", "uniform", "proportional", "best_observed"} == set(proof["candidates"])
    assert all(len(candidate["measured"]) == 3 for candidate in proof["candidates"].values())
    # Which mixture won is recorded, not asserted: one seed may lose. It must not be the worst, by far.
    assert proof["candidates"]["recommended"]["mean"] < proof["candidates"]["uniform"]["mean"]
    page = (study / "report.html").read_text()
    assert proof["verdict"] in page
