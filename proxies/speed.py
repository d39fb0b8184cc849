"""How fast this machine trains, and how many runs to train together: the ground of plans and time estimates."""

from __future__ import annotations

import time

import torch

from mixlab.flops import training_flops
from mixlab.specs import RunSpec
from proxies.model import Stack
from proxies.optim import AdamW

CUDA_MEMBERS = 64
CPU_MEMBERS = 3  # more gain little, and a few large jobs leave cores idle at the end
CPU_TOKENS = 1024  # in a step of a whole stack: beyond that a CPU's caches spill and nothing is gained


def mean_batch(spec: RunSpec) -> int:
    """Sequences per step, over the longest branch."""
    steps = spec.steps(spec.tokens[-1])
    return round(spec.recipe.batches.sequences(steps) / steps)


def stack_limit(spec: RunSpec, device: str) -> int:
    """How many runs like `spec` a process should train together: small steps are mostly overhead, which they share."""
    if device == "cuda":
        return CUDA_MEMBERS
    return max(1, min(CPU_MEMBERS, CPU_TOKENS // (mean_batch(spec) * spec.shape.context)))


def measure_rate(spec: RunSpec, device: str, seconds: float = 0.5) -> float:
    """Training FLOP/s of one process with one thread, on random tokens, in stacks of runs like `spec`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape, members, batch = spec.shape, stack_limit(spec, device), mean_batch(spec)
    try:
        stack = Stack(shape, list(range(members)), torch.device(device))
        optimizer = AdamW(stack.flat, shape, [spec.recipe] * members)
        tokens = torch.randint(shape.vocab_size, (members, batch, shape.context + 1), device=device)

        def step(index: int) -> None:
            stack.losses(tokens).mean(dim=(1, 2)).sum().backward()
            optimizer.step(index, 1.0)

        step(0)
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            done += 1
            step(done)
        if device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - started
    finally:
        torch.set_num_threads(threads)
    return training_flops(shape, done * tokens[..., 1:].numel()) / elapsed
