"""How fast this machine trains, and how many runs to train together: the ground of plans and time estimates."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from mixlab.flops import training_flops
from mixlab.specs import RunSpec
from proxies.compute import Compute, make_engine, use_one_thread
from proxies.memory import members_in
from proxies.native.build import load_library

CUDA_MEMBERS = 64  # at most: a sweep seldom has more runs of one size and the same token counts
CPU_MEMBERS = 3  # more gain little, and a few large jobs leave cores idle at the end
CPU_TOKENS = 1024  # in a step of a whole stack: beyond that a CPU's caches spill and nothing is gained
PEAK_SIZE = {"cpu": 768, "cuda": 8192}  # rows and columns of the matrices that measure PyTorch's peak
PEAK_ROUNDS = 100_000  # of products in registers, which measure the native engine's: a few milliseconds
PEAK_SECONDS = 0.03


def mean_batch(spec: RunSpec) -> int:
    """Sequences per step, over the longest branch."""
    steps = spec.steps(spec.tokens[-1])
    return round(spec.recipe.batches.sequences(steps) / steps)


def stack_limit(spec: RunSpec, compute: Compute) -> int:
    """How many runs like `spec` a process should train together.

    PyTorch's small steps are mostly overhead, which a stack shares; the native engine has none to share.
    """
    if compute.device == "cuda":
        return min(
            CUDA_MEMBERS, members_in(_cuda_memory(), spec.shape, _largest_batch(spec), compute.precision == "bf16")
        )
    if compute.engine == "native":
        return 1
    return max(1, min(CPU_MEMBERS, CPU_TOKENS // (mean_batch(spec) * spec.shape.context)))


def _largest_batch(spec: RunSpec) -> int:
    """Sequences in the last step of the longest branch: batches never shrink."""
    return spec.recipe.batches.size(spec.steps(spec.tokens[-1]) - 1)


def _cuda_memory() -> int:
    """All bytes of the GPU, free or not."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory


def measure_rate(spec: RunSpec, compute: Compute, seconds: float = 0.5, members: int | None = None) -> float:
    """Training FLOP/s of one process with one thread, on random tokens, in stacks of `members` runs like `spec`.

    Without `members`, in stacks as a sweep makes them.
    """
    members, batch = members or stack_limit(spec, compute), mean_batch(spec)
    engine = make_engine(compute, [spec] * members)
    tokens = np.random.default_rng(0).integers(spec.shape.vocab_size, size=(members, batch, spec.shape.context + 1))
    sequences, steps = tokens.astype(np.int32), 1

    def chunk() -> None:
        engine.train(np.tile(sequences, (1, steps, 1)), [batch] * steps, [1.0] * steps, 0)

    use_one_thread(compute)
    chunk()
    # As many steps at a time as training takes: what a call costs besides them must not count.
    steps = max(1, round(0.1 * seconds / _seconds(chunk, 0.0)))
    taken = _seconds(chunk, seconds)
    return training_flops(spec.shape, steps * members * batch * spec.shape.context) / taken


@functools.cache
def peak_flops(compute: Compute) -> float:
    """FLOP/s that this device has for matrix products at `compute`'s precision, one thread on a CPU.

    The native engine's is that of products in registers, PyTorch's that of large square matrices.
    """
    return _native_peak(compute) if compute.engine == "native" else _torch_peak(compute)


def _native_peak(compute: Compute) -> float:
    products, bf16 = load_library().functions.mixlab_products, compute.precision == "bf16"
    count = products(PEAK_ROUNDS, bf16)
    return count / _seconds(lambda: products(PEAK_ROUNDS, bf16), PEAK_SECONDS)


def _torch_peak(compute: Compute) -> float:
    import torch

    use_one_thread(compute)
    size = PEAK_SIZE[compute.device]
    dtype = torch.bfloat16 if compute.precision == "bf16" else torch.float32
    matrix = torch.ones((size, size), dtype=dtype, device=compute.device)

    def product() -> None:
        matrix @ matrix
        if compute.device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * size**3 / _seconds(product, PEAK_SECONDS)


def _seconds(work: Callable[[], None], at_least: float) -> float:
    """Mean time of `work`, repeated for `at_least` seconds."""
    started, done = time.perf_counter(), 0
    while True:
        work()
        done += 1
        elapsed = time.perf_counter() - started
        if elapsed >= at_least:
            return elapsed / done
