"""The proxy: a decoder with RMSNorm, rotary positions and SwiGLU, K members of one shape in one pass.

Every tensor has a leading member dimension, and a lone model is a stack of one: there is one code path. The members
share nothing; their parameters lie side by side in one flat buffer of shape (K, P), which the optimizer and the
checkpoints treat as a whole.

Shape letters: K members, B sequences, T tokens in a sequence, d width, H heads, f hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor

from mixlab.shapes import ModelShape
from proxies.functions import cross_entropy, unit_scale

EMBEDDING_STD = 0.3
ROPE_BASE = 10_000.0
BLOCK = ("attention_norm", "qkv", "attention_out", "mlp_norm", "mlp_in", "mlp_out")


def parameter_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of one member, in the order of the flat buffer."""
    d, f, vocab = shape.width, shape.hidden, shape.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"embed": (vocab, d)}
    for layer in range(shape.depth):
        shapes |= {
            f"layers.{layer}.attention_norm": (d,),
            f"layers.{layer}.qkv": (d, 3 * d),
            f"layers.{layer}.attention_out": (d, d),
            f"layers.{layer}.mlp_norm": (d,),
            f"layers.{layer}.mlp_in": (d, 2 * f),
            f"layers.{layer}.mlp_out": (f, d),
        }
    shapes["final_norm"] = (d,)
    if not shape.tied:
        shapes["head"] = (d, vocab)
    return shapes


def initial_parameters(shape: ModelShape, seed: int) -> Tensor:
    """One member's parameters, shape (P,): a function of (shape, seed), on any device the same.

    Matrices have standard deviation 1/sqrt(fan in), those that write to the residual stream 1/sqrt(2 depth) of it;
    the head starts at 1/width (muP's output layer), norms at 1.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for name, size in parameter_shapes(shape).items():
        kind = name.rsplit(".", 1)[-1]
        if kind.endswith("norm"):
            parts.append(torch.ones(size))
            continue
        std = EMBEDDING_STD if kind == "embed" else 1 / math.sqrt(size[0])
        if kind in ("attention_out", "mlp_out"):
            std /= math.sqrt(2 * shape.depth)
        if kind == "head":
            std = 1 / shape.width
        parts.append(torch.randn(size, generator=generator) * std)
    return torch.cat([part.flatten() for part in parts])


def named(flat: Tensor, shape: ModelShape) -> dict[str, Tensor]:
    """Views of parameters by name, each of shape (K, ...), for `flat` of shape (K, P)."""
    sizes = parameter_shapes(shape)
    parts = flat.split([math.prod(size) for size in sizes.values()], dim=1)
    return {name: part.unflatten(1, size) for (name, size), part in zip(sizes.items(), parts, strict=True)}


def rope_angles(shape: ModelShape) -> Tensor:
    """Angles of rotary positions (Su et al. 2021), shape (T, channels of a head / 2), fp64."""
    channels = shape.width // shape.heads
    rates = ROPE_BASE ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    return torch.outer(torch.arange(shape.context, dtype=torch.float64), rates)


class Stack:
    """K members of one shape.

    Args:
        shape: the shape of every member.
        seeds: one per member.
        device: where the parameters live.

    Attributes:
        flat: all parameters, shape (K, P), the one leaf of the graph: `backward` leaves the gradient in `flat.grad`.
    """

    def __init__(self, shape: ModelShape, seeds: Sequence[int], device: torch.device) -> None:
        self.shape = shape
        self.members = len(seeds)
        self.device = device
        self.flat = torch.stack([initial_parameters(shape, seed) for seed in seeds]).to(device).requires_grad_()
        angles = rope_angles(shape).to(device).view(shape.context, 1, 1, -1)
        self._rope = angles.cos().float(), angles.sin().float()
        self._offsets = torch.arange(self.members, device=device).view(-1, 1, 1) * shape.vocab_size

    def parameters(self) -> dict[str, Tensor]:
        """Differentiable views of `flat` by name, each of shape (K, ...)."""
        return named(self.flat, self.shape)

    def losses(self, sequences: Tensor, first: int = 0) -> Tensor:
        """Cross-entropy of every next token in nats, shape (k, B, T).

        Args:
            sequences: shape (k, B, T + 1), for k members.
            first: the first of these members.
        """
        logits = self.logits(sequences[..., :-1], first)
        targets = sequences[..., 1:]
        return cross_entropy(logits.float(), targets)

    def logits(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Next-token logits, shape (k, B, T, V), for `tokens` of shape (k, B, T) and members from `first` on."""
        K, B, T = tokens.shape
        p, shape = named(self.flat[first : first + K], self.shape), self.shape
        x = F.embedding(tokens + self._offsets[:K], p["embed"].flatten(0, 1)).view(K, B * T, shape.width)
        cos, sin = (table[:T] for table in self._rope)
        for layer in range(shape.depth):
            block = {name: p[f"layers.{layer}.{name}"] for name in BLOCK}
            x = x + self._attention(x, block, (K, B, T), cos, sin)
            x = x + _mlp(x, block)
        x = _norm(x, p["final_norm"])
        if shape.tied:
            # The shared matrix is scaled like an input layer; 1/width makes it muP's output layer.
            logits = torch.bmm(x, p["embed"].transpose(1, 2)) * (1 / shape.width)
        else:
            logits = torch.bmm(x, p["head"])
        return logits.view(K, B, T, -1)

    def _attention(
        self, x: Tensor, block: dict[str, Tensor], size: tuple[int, int, int], cos: Tensor, sin: Tensor
    ) -> Tensor:
        K, B, T = size
        qkv = torch.bmm(_norm(x, block["attention_norm"]), block["qkv"]).view(K * B, T, 3, self.shape.heads, -1)
        # Queries and keys of unit scale keep the loss finite over a wide band of learning rates (Dehghani et al. 2023).
        q, k = _rotate(unit_scale(qkv[:, :, :2]), cos, sin).permute(2, 0, 3, 1, 4)
        v = qkv[:, :, 2].transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.bmm(mixed.transpose(1, 2).reshape(K, B * T, -1), block["attention_out"])


def _mlp(x: Tensor, block: dict[str, Tensor]) -> Tensor:
    gate, up = torch.bmm(_norm(x, block["mlp_norm"]), block["mlp_in"]).chunk(2, dim=-1)
    return torch.bmm(F.silu(gate) * up, block["mlp_out"])


def _norm(x: Tensor, gain: Tensor) -> Tensor:
    """RMSNorm over the last dimension; `gain` is (K, d)."""
    return unit_scale(x) * gain.unsqueeze(1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + half) of the last dimension; `x` is (K B, T, 2, H, d/H)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
