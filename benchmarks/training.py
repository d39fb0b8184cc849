"""How fast many proxies are trained, beside the loops that people write (`peers.py`); ratios within one run.

    python benchmarks/training.py steps [--sizes 50K 200K 1M] [--batches 1 8]    one step on one core, by engine
    python benchmarks/training.py runs [--sizes 50K 200K 1M 10M] [--runs 16]     whole processes, start-up included
    python benchmarks/training.py curves [--sizes 200K] [--runs 4]               the same, five budgets per run
    python benchmarks/training.py cuda                                           stacks on a GPU, where there is one

`runs` and `curves` train the same shapes on the same number of tokens at the same batch, on this Python's own sources
as bytes: each peer in one process per run, first one after the other with all cores, then as many at a time as there
are cores with one thread each; mixlab by its own sweep executor, its start and the start of its workers included.
Losses are shown beside the times, since speed is worth nothing at another loss.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from peers import PEERS, plain, step_of
from setting import CONTEXT, VOCABULARY, spec_of

from mixlab.config import ProxyConfig
from mixlab.flops import training_flops
from mixlab.units import parse_quantity
from proxies.compute import Compute, make_engine, resolve_compute
from proxies.speed import measure_rate, peak_flops

HERE = Path(__file__).parent
CORES = os.cpu_count() or 1
TEXT_BYTES = 8_000_000
TRAIN_TOKENS = {"50K": 6e5, "200K": 6e5, "1M": 3e5, "10M": 6e4}  # by size, of one run
CURVE = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # shares of the longest budget


def steps(options: argparse.Namespace) -> None:
    """CPU time of a step by engine, one thread; rounds alternate so that a noisy machine disturbs all alike."""
    torch.set_num_threads(1)
    best = resolve_compute(ProxyConfig(device="cpu"))
    computes = {"torch": Compute("cpu", "torch", "fp32"), "native": replace(best, precision="fp32")}
    if best.precision == "bf16":
        computes["bf16"] = best
    print(f"{'params':>9} {'batch':>5} {'plain GFLOP/s':>13}  " + "".join(f"{name:>20}" for name in computes))
    for size in options.sizes:
        for batch in options.batches:
            spec = spec_of(size, [1e6], batch)
            tokens = np.random.default_rng(0).integers(VOCABULARY, size=(batch, CONTEXT + 1))
            plain_step, text = step_of(*plain(spec.shape)), torch.from_numpy(tokens)
            works: dict[str, Callable[[int], object]] = {
                "plain": lambda n, s=plain_step, t=text: [s(t, 1.0) for _ in range(n)]
            }
            for name, compute in computes.items():
                engine, rows = make_engine(compute, [spec]), tokens[None].astype(np.int32)
                works[name] = lambda n, e=engine, r=rows, b=batch: e.train(np.tile(r, (1, n, 1)), [b] * n, [1.0] * n, 0)
            times = np.array([[cpu_seconds(work) for work in works.values()] for _ in range(options.rounds)])
            ratio = times[:, :1] / times[:, 1:]
            work = training_flops(spec.shape, batch * CONTEXT) / 1e9
            shown = "".join(
                f"{f'{m:.2f} ({a:.2f}-{b:.2f})':>20}"
                for m, a, b in zip(np.median(ratio, axis=0), ratio.min(axis=0), ratio.max(axis=0), strict=True)
            )
            print(f"{spec.shape.params:>9,} {batch:>5} {work / np.median(times[:, 0]):>13.1f}  {shown}", flush=True)


def cpu_seconds(work: Callable[[int], object], at_least: float = 0.5) -> float:
    """CPU seconds of one step, after one to warm up."""
    started = time.process_time()
    work(1)
    count = max(1, round(at_least / max(time.process_time() - started, 1e-4)))
    started = time.process_time()
    work(count)
    return (time.process_time() - started) / count


def runs(options: argparse.Namespace, shares: Sequence[float] = (1.0,)) -> None:
    """Wall time of whole processes for `options.runs` runs, each at every share of its tokens."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = prepare(folder)
        print(f"{options.runs} runs of {len(shares)} budget(s), batch {options.batch} x {CONTEXT}, {CORES} cores")
        print(f"{'size':>5} {'who':>16} {'how':>12} {'seconds':>8} {'of mixlab':>10} {'loss (sd)':>16}")
        for size in options.sizes:
            longest = TRAIN_TOKENS.get(size, 3e5) * options.length
            ours, losses = timed(lambda s=size, t=longest: mixlab(corpus, s, t, shares, options))
            show(size, "mixlab", f"{CORES} workers", ours, ours, losses)
            for peer in options.peers:
                for together in options.together:
                    seconds, losses = timed(
                        lambda p=peer, k=together, s=size, t=longest: processes(folder, p, k, s, t, shares, options)
                    )
                    show(size, peer, f"{together} at a time", seconds, ours, losses)


def show(size: str, who: str, how: str, seconds: float, ours: float, losses: Sequence[float]) -> None:
    spread = f"{np.mean(losses):.4f} ({np.std(losses, ddof=1) if len(losses) > 1 else 0:.4f})"
    print(f"{size:>5} {who:>16} {how:>12} {seconds:>8.1f} {seconds / ours:>10.2f} {spread:>16}", flush=True)


def timed(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    started = time.perf_counter()
    losses = work()
    return time.perf_counter() - started, losses


def prepare(folder: Path) -> Path:
    """Python's own sources as one file of tokens for the peers, and as a prepared corpus."""
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    text = "\n".join(path.read_text(errors="ignore") for path in sources)[:TEXT_BYTES]
    np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16).tofile(folder / "tokens.bin")
    pieces = [text[start : start + 4000] for start in range(0, len(text), 4000)]
    for name, part in {"text": pieces, "rest": [piece[::-1] for piece in pieces[:200]]}.items():
        lines = [json.dumps({"text": piece}) for piece in dict.fromkeys(part)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    study = folder / "study.yaml"
    study.write_text("name: bench\ndomains: {text: text.jsonl, rest: rest.jsonl}\n")
    subprocess.run([sys.executable, "-m", "mixlab", "prepare", str(folder)], check=True, capture_output=True)
    return folder / "corpus"


def mixlab(
    corpus: Path, size: str, longest: float, shares: Sequence[float], options: argparse.Namespace
) -> list[float]:
    """In a process of its own, as a sweep is."""
    command = [sys.executable, str(HERE / "ours.py"), str(corpus), "--size", size, "--runs", str(options.runs)]
    command += ["--batch", str(options.batch), "--tokens", *(str(longest * share) for share in shares)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def processes(
    folder: Path,
    peer: str,
    together: int,
    size: str,
    longest: float,
    shares: Sequence[float],
    options: argparse.Namespace,
) -> list[float]:
    """One process for each run and budget, `together` at a time; the losses at the largest budget."""
    threads = max(1, CORES // together)

    def one(job: tuple[int, float]) -> float:
        seed, share = job
        command = [sys.executable, str(HERE / "peers.py"), peer, str(folder / "tokens.bin")]
        command += ["--params", str(parse_quantity(size)), "--train", str(longest * share)]
        command += ["--batch", str(options.batch), "--seed", str(seed), "--threads", str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return float(json.loads(result.stdout)["loss"])

    jobs = [(seed, share) for seed in range(options.runs) for share in shares]
    with ThreadPoolExecutor(together) as pool:
        losses = list(pool.map(one, jobs))
    return losses[len(shares) - 1 :: len(shares)]


def cuda(options: argparse.Namespace) -> None:
    """Stacks of 64 beside one model at a time, and the share of the peak at larger sizes."""
    compute = resolve_compute(ProxyConfig(device="cuda"))
    print(torch.cuda.get_device_name(), f"peak {peak_flops(compute):.3g} FLOP/s ({compute.precision})")
    for size, members in (("1M", 1), ("1M", 64), ("10M", 16), ("100M", 1)):
        rate = measure_rate(spec_of(size, [1e8], options.batch), compute, 3.0, members=members)
        print(f"{size:>5} x {members:<3} {rate:.3g} FLOP/s, MFU {rate / peak_flops(compute):.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("steps", "runs", "curves", "cuda"))
    parser.add_argument("--sizes", nargs="+")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--length", type=float, default=1.0, help="times the tokens of a run")
    parser.add_argument("--peers", nargs="+", default=list(PEERS))
    parser.add_argument("--together", nargs="+", type=int, default=[1, CORES], help="a peer's processes at a time")
    options = parser.parse_args()
    defaults = {"steps": ["50K", "200K", "1M"], "runs": list(TRAIN_TOKENS), "curves": ["200K"]}
    options.sizes = options.sizes or defaults.get(options.part, [])
    if options.part == "curves":
        runs(options, CURVE)
    else:
        {"steps": steps, "runs": runs, "cuda": cuda}[options.part](options)


if __name__ == "__main__":
    main()
