"""How fast a proxy's training step is, beside a plain PyTorch decoder of the same shape, on one CPU thread.

Both do the same work on the same tokens: RMSNorm, rotary positions, causal attention, SwiGLU, cross-entropy, clipping
at norm 1 and AdamW; the plain one is nn.Modules with torch's fused AdamW. Rounds alternate, so a noisy machine disturbs
both; the ratio's median and range over rounds are printed. Then the rate of stacks of 1 to 8 members at small batches,
as ratios to a lone member at one sequence in the same rounds.

    python benchmarks/training.py [--sizes 26K 80K 200K 1M] [--rounds 7] [--seconds 1.5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn

from mixlab.batches import Batches
from mixlab.flops import training_flops
from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from mixlab.units import parse_quantity
from proxies.model import Stack
from proxies.optim import AdamW
from proxies.recipe import batch_sequences

CONTEXT, VOCABULARY = 128, 257
STACKS = ((1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (1, 4), (3, 4))  # members, sequences per batch


class Block(nn.Module):
    """Attention and SwiGLU, each behind an RMSNorm."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d, f = shape.width, shape.hidden
        self.heads = shape.heads
        self.norm1, self.norm2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.gate, self.down = (nn.Linear(*size, bias=False) for size in ((d, f), (d, f), (f, d)))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (F.rms_norm(part, part.shape[-1:]) for part in (q, k))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(B, T, d))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    """The plain decoder."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm, self.head = nn.RMSNorm(shape.width), nn.Linear(shape.width, shape.vocab_size, bias=False)
        half = shape.width // shape.heads // 2
        angle = torch.outer(torch.arange(shape.context), 10_000.0 ** -(torch.arange(half) / half))
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens[:, :-1])
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), tokens[:, 1:].flatten())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def plain_step(shape: ModelShape, tokens: Tensor) -> Callable[[int], None]:
    model = Decoder(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(index: int) -> None:
        loss = model(tokens)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def our_step(shape: ModelShape, tokens: Tensor, members: int = 1) -> Callable[[int], None]:
    stack = Stack(shape, list(range(members)), torch.device("cpu"))
    optimizer = AdamW(stack.flat, shape, [Recipe(1e-3, Batches.constant(len(tokens)), 1)] * members)
    sequences = tokens.expand(members, *tokens.shape)

    def step(index: int) -> None:
        stack.losses(sequences).mean(dim=(1, 2)).sum().backward()
        optimizer.step(index, 1.0)

    return step


def rate(step: Callable[[int], None], seconds: float) -> float:
    """Steps per second."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step(done)
        done += 1
    return done / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["26K", "80K", "200K", "1M"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    against_plain(options)
    stacks(options)


def against_plain(options: argparse.Namespace) -> None:
    print(f"{'params':>9} {'batch':>5} {'plain GFLOP/s':>14} {'mixlab GFLOP/s':>15} {'ratio (range)':>20}")
    for size in options.sizes:
        shape = ModelShape.near(parse_quantity(size), VOCABULARY, CONTEXT)
        batch = batch_sequences(20 * shape.params, CONTEXT)
        tokens = torch.randint(VOCABULARY, (batch, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
        steps = plain_step(shape, tokens), our_step(shape, tokens)
        for step in steps:
            rate(step, 0.5)
        rates = np.array([[rate(step, options.seconds) for step in steps] for _ in range(options.rounds)])
        work = training_flops(shape, batch * CONTEXT) / 1e9
        ratio = rates[:, 1] / rates[:, 0]
        plain, ours = np.median(rates, axis=0) * work
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f})"
        print(f"{shape.params:>9,} {batch:>5} {plain:>14.1f} {ours:>15.1f} {spread:>20}", flush=True)


def stacks(options: argparse.Namespace) -> None:
    """Tokens per second of (members, sequences per batch), as ratios to (1, 1)."""
    print(f"\n{'params':>9} {'GFLOP/s at (1, 1)':>18}  " + " ".join(f"{f'({m}, {b})':>7}" for m, b in STACKS[1:]))
    for size in options.sizes:
        shape = ModelShape.near(parse_quantity(size), VOCABULARY, CONTEXT)
        steps = []
        for members, batch in STACKS:
            tokens = torch.randint(VOCABULARY, (batch, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
            steps.append(our_step(shape, tokens, members))
        rates = np.array([[rate(step, options.seconds / 3) for step in steps] for _ in range(options.rounds)])
        rates *= [members * batch for members, batch in STACKS]
        ratios = np.median(rates / rates[:, :1], axis=0)
        alone = np.median(rates[:, 0]) * training_flops(shape, CONTEXT) / 1e9
        print(f"{shape.params:>9,} {alone:>18.1f}  " + " ".join(f"{ratio:7.2f}" for ratio in ratios[1:]), flush=True)


if __name__ == "__main__":
    main()
