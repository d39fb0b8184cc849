"""FLOP/s of a backend on this machine: those of training, for estimates of time, and the most there could be."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunSpec
from proxies.backend.choice import Backend, make_engine, use_one_thread
from proxies.backend.stacking import mean_batch, stack_limit
from proxies.native.library import load_library

RATE_SECONDS = 0.5  # of training: enough for an estimate of hours
CHUNK_SHARE = 0.1  # of them in one call of the engine
PEAK_SECONDS = 0.03  # of products: every worker measures, before its first record
PEAK_SIZE = {"cpu": 768, "cuda": 8192}  # rows and columns of the matrices that measure PyTorch's peak
PEAK_ROUNDS = 100_000  # of products in registers, which measure the native engine's: a few milliseconds


def measure_rate(spec: RunSpec, backend: Backend, seconds: float = RATE_SECONDS, members: int | None = None) -> float:
    """Training FLOP/s of one process with one thread, on random tokens, in stacks of `members` runs like `spec`.

    Without `members`, in stacks as a sweep makes them.
    """
    members, batch = members or stack_limit(spec, backend), mean_batch(spec)
    engine = make_engine(backend, [spec] * members)
    tokens = np.random.default_rng(0).integers(spec.shape.vocab_size, size=(members, batch, spec.shape.context + 1))
    sequences, steps = tokens.astype(np.int32), 1

    def chunk() -> None:
        engine.train(np.tile(sequences, (1, steps, 1)), [batch] * steps, [1.0] * steps, 0)

    use_one_thread(backend)
    chunk()
    # As many steps at a time as training takes: what a call costs besides them must not count.
    steps = max(1, round(CHUNK_SHARE * seconds / _seconds_of(chunk, 0.0)))
    taken = _seconds_of(chunk, seconds)
    return training_flops(spec.shape, steps * members * batch * spec.shape.context) / taken


@functools.cache
def peak_flops(backend: Backend) -> float:
    """FLOP/s that this device has for matrix products at `backend`'s precision, one thread on a CPU.

    The native engine's is that of products in registers, PyTorch's that of large square matrices.
    """
    return _native_peak(backend) if backend.engine == "native" else _torch_peak(backend)


def _native_peak(backend: Backend) -> float:
    products, bf16 = load_library().functions.mixlab_products, backend.precision == "bf16"
    count = products(PEAK_ROUNDS, bf16)
    return count / _seconds_of(lambda: products(PEAK_ROUNDS, bf16), PEAK_SECONDS)


def _torch_peak(backend: Backend) -> float:
    import torch

    use_one_thread(backend)
    size = PEAK_SIZE[backend.device]
    dtype = torch.bfloat16 if backend.precision == "bf16" else torch.float32
    matrix = torch.ones((size, size), dtype=dtype, device=backend.device)

    def product() -> None:
        matrix @ matrix
        if backend.device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * size**3 / _seconds_of(product, PEAK_SECONDS)


def _seconds_of(work: Callable[[], None], at_least: float) -> float:
    """Mean time of `work`, repeated for `at_least` seconds."""
    started, done = time.perf_counter(), 0
    while True:
        work()
        done += 1
        elapsed = time.perf_counter() - started
        if elapsed >= at_least:
            return elapsed / done
