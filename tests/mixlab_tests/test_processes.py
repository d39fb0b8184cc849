"""A worker does not run the script of its parent again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import pathlib
from concurrent.futures import ProcessPoolExecutor
from math import sqrt

from mixlab.processes import WORKERS

with open("ran", "a") as file:
    file.write("once ")
with ProcessPoolExecutor(2, mp_context=WORKERS) as pool:
    print(list(pool.map(sqrt, [4, 9])))
process = WORKERS.Process(target=print, args=("a worker",))
process.start()
process.join()
import __main__
print(__main__.pathlib.Path("ran").read_text())
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "[2.0, 3.0]", "a worker", "once "]
