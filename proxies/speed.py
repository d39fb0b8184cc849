"""How fast this machine trains a shape, measured in a second: the ground of every time estimate."""

from __future__ import annotations

import time

import torch

from mixlab.flops import training_flops
from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from proxies.model import Stack
from proxies.optim import AdamW


def measure_rate(shape: ModelShape, recipe: Recipe, batch: int, device: str, seconds: float = 0.5) -> float:
    """Training FLOP/s of one process with one thread on `batch` sequences of random tokens."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stack = Stack(shape, [0], torch.device(device))
        optimizer = AdamW(stack.flat, shape, [recipe])
        tokens = torch.randint(shape.vocab_size, (1, batch, shape.context + 1), device=device)

        def step(index: int) -> None:
            stack.losses(tokens).mean().backward()
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
    return training_flops(shape, done * batch * shape.context) / elapsed
