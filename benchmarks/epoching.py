"""What simulated epoching is worth: one scarce text, recommended for with and without it, and trained at the target.

    python benchmarks/epoching.py QUICKSTART [--keep 60K] [--seed 0]      # a folder that `mixlab quickstart` made

Of `python` only `--keep` tokens may be trained on, and it is most of what the model is for: of such a domain the target
wants many epochs, and the proxies see few. Three answers at 8 times the sweep's largest budget:

    simulated       proxies repeat what the target would (`target.simulate_epochs`), law `auto`
    not simulated   proxies read all there is; `auto`, which charges for repeats as published laws do
    fresh           the same runs, and a law that takes a repeat for fresh text (`effective-data`)
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from mixlab.units import parse_quantity

OTHERS = ("prose", "tests", "cpp_headers", "tables")
PIECE = 4000  # characters
VALIDATION = 0.4  # of every domain: a twentieth of so little text would be too few to measure a loss on
STUDY = """
name: {name}
seed: {seed}
domains: {domains}
objective: {{python: 0.6, prose: 0.4}}
corpus: {{validation_fraction: {validation}}}
mixtures: {{max_epochs: 50}}
proxies: {{sizes: [14K, 26K, 41K], context: 128, min_tokens_per_param: 1, eval_tokens: 8K}}
sweep: {{budgets: ["4e9", "8e9", "1.6e10", "3.2e10", "6.4e10"], mixtures: 18, sizes_per_mixture: 2, replicates: 2}}
target: {{flops: "5.12e11", law: {law}, simulate_epochs: {simulate}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quickstart", type=Path)
    parser.add_argument("--keep", type=parse_quantity, default=60_000, help="tokens (bytes) of python to train on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.keep:,.0f} tokens of python, seed {options.seed}")
    print(f"{'answer':>14} {'python':>7} {'epochs':>7} {'N':>8} {'predicted':>26} {'measured':>9} {'sd':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_texts(options.quickstart / "texts", root / "texts", options.keep, options.seed)
        for name, simulate, law in (
            ("simulated", "true", "auto"),
            ("not simulated", "false", "auto"),
            ("fresh", "false", "effective-data"),
        ):
            folder = root / name.replace(" ", "-")
            if name == "fresh":
                shutil.copytree(root / "not-simulated", folder, ignore=shutil.ignore_patterns("recommend*", "verif*"))
            folder.mkdir(exist_ok=True)
            domains = {domain: str(root / "texts" / f"{domain}.jsonl") for domain in ("python", *OTHERS)}
            settings = {"name": name, "seed": options.seed, "law": law, "simulate": simulate, "validation": VALIDATION}
            text = STUDY.format(domains=json.dumps(domains), **settings)
            (folder / "study.yaml").write_text(text)
            for command in ("prepare", "sweep"):
                mixlab(command, folder)
            show(name, mixlab("recommend", folder), mixlab("verify", folder, "--flops", "5.12e11"))


def write_texts(source: Path, target: Path, keep: float, seed: int) -> None:
    """`python` cut to beginnings of files that leave `keep` bytes for training, the others as they are."""
    target.mkdir()
    texts = {name: read(source / f"{name}.jsonl.gz") for name in OTHERS}
    # One document of a file alone: validation on another part of the same file would reward learning it by heart.
    beginnings = [text[:PIECE] for text in read(source / "python.jsonl.gz")]
    order = np.random.default_rng(seed).permutation(len(beginnings))
    texts["python"] = [beginnings[i] for i in order[: round(keep / (1 - VALIDATION) / PIECE)]]
    for name, whole in texts.items():
        # Files are few, so they are cut into documents that validation can be drawn from.
        pieces = [text[start : start + PIECE] for text in whole for start in range(0, len(text), PIECE)]
        lines = [json.dumps({"text": piece, "id": f"{name}-{i}"}) for i, piece in enumerate(dict.fromkeys(pieces))]
        (target / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def read(path: Path) -> list[str]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line)["text"] for line in file]


def mixlab(command: str, folder: Path, *options: str) -> dict:
    arguments = [sys.executable, "-m", "mixlab", command, str(folder), *options, "--json"]
    result = subprocess.run(arguments, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(arguments)}\n{result.stderr}")
    return json.loads(result.stdout)


def show(name: str, answer: dict, proof: dict) -> None:
    best = proof["candidates"]["recommended"]
    predicted = best["predicted"]
    interval = f"{predicted['mean']:.4f} [{predicted['low']:.4f}, {predicted['high']:.4f}]"
    print(
        f"{name:>14} {answer['mixture']['python']:>7.3f} {answer['epochs']['python']:>7.1f} {answer['params']:>8,.0f} "
        f"{interval:>26} {fmean(best['measured']):>9.4f} {stdev(best['measured']):>7.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
