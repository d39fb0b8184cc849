"""Training loops as people write them, to compare with: a plain PyTorch decoder, and Hugging Face's LlamaForCausalLM.

Each is a whole process: it starts, reads tokens from a file, trains one model with AdamW, warm-up, a stable rate and a
linear decay, and prints its validation loss as JSON.

    python benchmarks/peers.py plain|hf TOKENS --params N --train TOKENS --batch SEQUENCES --seed S --threads K
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from setting import CONTEXT, DECAY, EVALUATED, LEARNING_RATE, VOCABULARY, WARMUP
from torch import Tensor, nn

from mixlab.runs.shapes import ModelShape


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
    """The plain decoder; its forward pass gives the mean loss of sequences of shape (B, T + 1)."""

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


def plain(shape: ModelShape) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    model = Decoder(shape)
    return model, model


def hugging_face(shape: ModelShape) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        use_cache=False,
    )
    model = LlamaForCausalLM(config)

    def loss(tokens: Tensor) -> Tensor:
        logits = model(input_ids=tokens[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    return model, loss


PEERS = {"plain": plain, "hf": hugging_face}


def step_of(model: nn.Module, loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor, float], None]:
    """One step of AdamW with clipping, at a share of the peak rate."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(tokens: Tensor, factor: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * factor
        value = loss(tokens)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=tuple(PEERS))
    parser.add_argument("tokens")
    parser.add_argument("--params", type=float, required=True)
    parser.add_argument("--train", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    shape = ModelShape.near(options.params, VOCABULARY, CONTEXT)
    model, loss = PEERS[options.peer](shape)
    step = step_of(model, loss)
    data = np.fromfile(options.tokens, dtype=np.uint16)
    windows = data[: (len(data) - 1) // CONTEXT * CONTEXT + 1]
    count = len(windows) // CONTEXT - EVALUATED
    order = np.random.default_rng(options.seed).permutation(count)
    steps = max(1, round(options.train / CONTEXT / options.batch))

    def read(indices: np.ndarray) -> Tensor:
        rows = [windows[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in indices]
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    started = time.perf_counter()
    for index in range(steps):
        at = np.arange(index * options.batch, (index + 1) * options.batch) % count
        factor = min(1.0, (index + 1) / max(1, WARMUP * steps), (steps - index) / max(1, DECAY * steps))
        step(read(order[at]), factor)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        validation = float(loss(read(np.arange(count, count + EVALUATED))))
    print(json.dumps({"loss": validation, "train_seconds": seconds, "params": shape.params}))


if __name__ == "__main__":
    main()
