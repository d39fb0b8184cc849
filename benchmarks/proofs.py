"""What the proofs of several studies came to, one row each, as a Markdown table.

for s in 0 1 2 3 4; do mixlab quickstart q$s --seed $s; done
python benchmarks/proofs.py q0 q1 q2 q3 q4
"""

from __future__ import annotations

import math
import sys
from statistics import fmean, variance

from mixlab.files import read_json
from mixlab.study.folder import StudyFolder

ORDER = ("recommended", "best_observed", "proportional", "uniform")


def row(directory: str) -> list[str]:
    """Seed, answer, prediction, measurement, and what the recommendation gains on each baseline."""
    folder = StudyFolder.open(directory)
    answer = read_json(folder.recommendation)
    proof = read_json(folder.verification)
    best = proof["candidates"]["recommended"]
    predicted = best["predicted"]
    top = sorted(answer["mixture"].items(), key=lambda item: -item[1])
    mix = ", ".join(f"{name} {weight:.2f}" for name, weight in top if weight >= 0.005)
    means = [proof["candidates"][name]["mean"] if name in proof["candidates"] else float("nan") for name in ORDER]
    beaten = {name: "" if result["beyond_noise"] else " (not beaten)" for name, result in proof["beats"].items()}
    return [
        str(folder.config.seed),
        mix,
        f"{answer['params']:,.0f}",
        f"{predicted['mean']:.3f} [{predicted['low']:.3f}, {predicted['high']:.3f}]",
        f"{means[0]:.4f}",
        "yes" if proof["interval_held"] else "NO",
        *(f"{mean:.4f}{beaten.get(name, '')}" for name, mean in zip(ORDER[1:], means[1:], strict=True)),
        f"{proof['noise_floor']:.4f}",
        f"{math.sqrt(fmean(variance(one['measured']) for one in proof['candidates'].values())):.4f}",
    ]


def main() -> None:
    baselines = [name.replace("_", " ") for name in ORDER[1:]]
    heading = ["seed", "mixture", "N", "predicted", "measured", "held", *baselines, "noise floor", "sd over seeds"]
    print("| " + " | ".join(heading) + " |")
    print("|" + "---|" * len(heading))
    for directory in sys.argv[1:]:
        print("| " + " | ".join(row(directory)) + " |")


if __name__ == "__main__":
    main()
