"""What `import mixlab` and the first steps of the command line cost over a bare interpreter.

    python benchmarks/importing.py [--repeats 20]

Each line is one fresh process, started in turns with a bare interpreter: the median of the differences in wall time,
its quartiles, and the modules loaded. The target for `import mixlab` is 60 ms.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

BARE = "pass"
PROGRAMS = {
    "import mixlab": "import mixlab",
    "import mixlab, dir": "import mixlab; dir(mixlab)",
    "mixlab.read_runs": "import mixlab; mixlab.read_runs",
    "mixlab.fit": "import mixlab; mixlab.fit",
    "mixlab --help": "from mixlab.cli import main; main(['--help'])",
    "mixlab recommend --help": "from mixlab.cli import main; main(['recommend', '--help'])",
    "mixlab sweep --help": "from mixlab.cli import main; main(['sweep', '--help'])",
}


def seconds(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def modules(program: str) -> int:
    counted = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(str(len(sys.modules)))); {program}"
    done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=False)
    return int(done.stderr.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    print(f"{'':<26}{'over bare, ms':>14}{'quartiles':>16}{'modules':>9}")
    for name, program in PROGRAMS.items():
        differences = [1e3 * (seconds(program) - seconds(BARE)) for _ in range(repeats)]
        low, middle, high = np.percentile(differences, [25, 50, 75])
        print(f"{name:<26}{middle:>14.0f}{f'{low:.0f} to {high:.0f}':>16}{modules(program):>9}")


if __name__ == "__main__":
    main()
