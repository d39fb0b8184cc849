"""How fast many proxies are trained, beside the loops that people write (`peers.py`); ratios within one run.

    python benchmarks/training.py steps [--sizes 50K 200K 1M] [--batches 1 8]    one step on one core, by engine
    python benchmarks/training.py runs [--sizes 50K 200K 1M 10M] [--runs 16]     whole processes, start-up included
    python benchmarks/training.py curves [--sizes 200K] [--runs 4]               the same, five budgets per run
    python benchmarks/training.py cuda [--sizes 1M 10M 100M] [--minutes 4.5]     stacks on a GPU, eager and compiled

`runs` and `curves` train the same shapes on the same number of tokens at the same batch, on this Python's own sources
as bytes: each peer in one process per run, first one after the other with all cores, then as many at a time as there
are cores with one thread each; mixlab by its own sweep executor, its start and the start of its workers included.
Losses are shown beside the times, since speed is worth nothing at another loss.

`cuda` begins nothing more when its minutes are over; `cuda --device cpu --sizes 50K` tries the same on a CPU.
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
from typing import TypeVar

import numpy as np
import torch
from peers import PEERS, plain, step_of
from setting import CONTEXT, VOCABULARY, spec_of

from mixlab.runs.flops import training_flops
from mixlab.study.sweep import ProxyConfig
from mixlab.units import parse_quantity
from proxies.backend.choice import Backend, choose_backend, make_engine
from proxies.backend.speed import measure_rate, peak_flops
from proxies.backend.stacking import stack_limit

T = TypeVar("T")

HERE = Path(__file__).parent
CORES = os.cpu_count() or 1
TEXT_BYTES = 8_000_000
TRAIN_TOKENS = {"50K": 6e5, "200K": 3e5, "1M": 75e3, "10M": 12e3}  # by size, of one run: seconds, not more
CURVE = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # shares of the longest budget


def steps(options: argparse.Namespace) -> None:
    """CPU time of a step by engine, one thread; rounds alternate so that a noisy machine disturbs all alike."""
    torch.set_num_threads(1)
    best = choose_backend(ProxyConfig(device="cpu"))
    backends = {"torch": Backend("cpu", "torch", "fp32"), "native": replace(best, precision="fp32")}
    if best.precision == "bf16":
        backends["bf16"] = best
    print(f"{'params':>9} {'batch':>5} {'plain GFLOP/s':>13}  " + "".join(f"{name:>20}" for name in backends))
    for size in options.sizes:
        for batch in options.batches:
            spec = spec_of(size, [1e6], batch)
            tokens = np.random.default_rng(0).integers(VOCABULARY, size=(batch, CONTEXT + 1))
            plain_step, text = step_of(*plain(spec.shape)), torch.from_numpy(tokens)
            works: dict[str, Callable[[int], object]] = {
                "plain": lambda n, s=plain_step, t=text: [s(t, 1.0) for _ in range(n)]
            }
            for name, backend in backends.items():
                engine, rows = make_engine(backend, [spec]), tokens[None].astype(np.int32)
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
            longest = TRAIN_TOKENS.get(size, 75e3) * options.length
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


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of them."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


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
    """Whether compiled and stacked steps come to the same losses, and how fast each is."""
    end = time.perf_counter() + 60 * options.minutes
    eager = choose_backend(ProxyConfig(device=options.device, engine="torch", compile="off"))
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, one thread"
    print(f"{card}, PyTorch {torch.__version__}: peak {peak_flops(eager):.3g} FLOP/s ({eager.precision})", flush=True)
    for precision in dict.fromkeys(("fp32", eager.precision)):
        agreement(options.sizes[0], options.batch, replace(eager, precision=precision))
    headings = ("FLOP/s", "MFU", "of eager", "of lone eager", "seconds until it runs")
    print(f"{'size':>5} {'members':>7} {'how':>9}" + "".join(f"{heading:>{len(heading) + 3}}" for heading in headings))
    for size in options.sizes:
        spec = spec_of(size, [1e7], options.batch)
        # The largest of several sizes fills a card by itself.
        alone = size == options.sizes[-1] != options.sizes[0]
        rates: list[float] = []
        for members in dict.fromkeys((1,) if alone else (1, stack_limit(spec, eager))):
            pair: list[float] = []
            for backend in (eager, replace(eager, compile=True)):
                how = f"{size:>5} {members:>7} {'compiled' if backend.compile else 'eager':>9}"
                if time.perf_counter() > end:
                    print(how, f"  left out: {options.minutes:g} minutes are over")
                    return
                ready, _ = timed(lambda s=spec, c=backend, m=members: measure_rate(s, c, 0.0, m))
                pair.append(measure_rate(spec, backend, 2.0, members))
                rates.append(pair[-1])
                print(
                    f"{how}   {pair[-1]:>6.3g}{pair[-1] / peak_flops(eager):>6.1%}{pair[-1] / pair[0]:>11.2f}"
                    f"{pair[-1] / rates[0]:>16.2f}{ready:>24.1f}",
                    flush=True,
                )


def agreement(size: str, batch: int, eager: Backend, members: int = 4, count: int = 20) -> None:
    """The largest relative difference of losses over the first steps, beside eager stacks of `members`."""
    specs = [spec_of(size, [1e7], batch, seed) for seed in range(members)]
    rng = np.random.default_rng(0)
    text = rng.integers(VOCABULARY, size=(members, count * batch, CONTEXT + 1)).astype(np.int32)

    def losses(backend: Backend, first: int, last: int) -> tuple[np.ndarray, str]:
        engine = make_engine(backend, specs[first:last])
        return engine.train(text[first:last], [batch] * count, [1.0] * count, 0), engine.describe()["compile"]

    expected, _ = losses(eager, 0, members)
    lone = np.concatenate([losses(eager, member, member + 1)[0] for member in range(members)])
    compiled, status = losses(replace(eager, compile=True), 0, members)
    allowed = 1e-2 if eager.precision == "bf16" else 1e-4
    for name, found in {"stacked against lone": lone, f"compiled ({status}) against eager": compiled}.items():
        off = float(np.max(np.abs(found / expected - 1)))
        print(f"{size}, {eager.precision}, {name}: {off:.1e}, {'within' if off < allowed else 'BEYOND'} {allowed:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("steps", "runs", "curves", "cuda"))
    parser.add_argument("--sizes", nargs="+")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, help="default: 16, and 4 of five budgets each")
    parser.add_argument("--length", type=float, default=1.0, help="times the tokens of a run")
    parser.add_argument("--peers", nargs="+", default=list(PEERS))
    parser.add_argument("--together", nargs="+", type=int, default=[1, CORES], help="a peer's processes at a time")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=4.5)
    options = parser.parse_args()
    defaults = {
        "steps": ["50K", "200K", "1M"],
        "runs": list(TRAIN_TOKENS),
        "curves": ["200K"],
        "cuda": ["1M", "10M", "100M"],
    }
    options.sizes = options.sizes or defaults.get(options.part, [])
    options.runs = options.runs or (4 if options.part == "curves" else 16)
    if options.part == "curves":
        runs(options, CURVE)
    else:
        {"steps": steps, "runs": runs, "cuda": cuda}[options.part](options)


if __name__ == "__main__":
    main()
