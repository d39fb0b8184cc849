"""The proxy: a decoder with RMSNorm, rotary positions and SwiGLU, K members of one shape in one pass.

Every tensor has a leading member dimension, and a lone model is a stack of one: there is one code path. The members
share nothing; their parameters lie side by side in one flat buffer of shape (K, P), which the optimizer and the
checkpoints treat as a whole.

Shape letters: K members, B sequences, T tokens in a sequence, d width, H heads, f hidden, V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor

from mixlab.runs.shapes import ModelShape
from proxies.model.parameters import Floats, parameter_shapes, rope_angles
from proxies.pytorch.functions import cross_entropy, unit_scale

LAYER = ("attention_norm", "qkv", "attention_out", "mlp_norm", "mlp_in", "mlp_out")


def named(flat: Tensor, shape: ModelShape) -> dict[str, Tensor]:
    """Views of parameters by name, each of shape (K, ...), for `flat` of shape (K, P)."""
    sizes = parameter_shapes(shape)
    parts = flat.split([math.prod(size) for size in sizes.values()], dim=1)
    return {name: part.unflatten(1, size) for (name, size), part in zip(sizes.items(), parts, strict=True)}


class ModelStack:
    """K members of one shape.

    Args:
        shape: the shape of every member.
        parameters: of the members, shape (K, P).
        device: where the parameters live.

    Attributes:
        flat: all parameters, shape (K, P), the one leaf of the graph.
    """

    def __init__(self, shape: ModelShape, parameters: Floats, device: torch.device) -> None:
        self.shape = shape
        self.members = len(parameters)
        self.device = device
        self.flat = torch.tensor(parameters, device=device, requires_grad=True)
        angles = torch.from_numpy(rope_angles(shape)).to(device).view(shape.context, 1, 1, -1)
        self._rope = angles.cos().float(), angles.sin().float()
        self._offsets = torch.arange(self.members, device=device).view(-1, 1, 1) * shape.vocab_size

    def parameters(self) -> dict[str, Tensor]:
        """Differentiable views of `flat` by name, each of shape (K, ...)."""
        return named(self.flat, self.shape)

    def mean_losses(self, flat: Tensor, sequences: Tensor) -> Tensor:
        """Each member's mean loss in nats per token, shape (k,), for the k members whose parameters are `flat`."""
        return self.losses(sequences, flat).mean(dim=(1, 2))

    def losses(self, sequences: Tensor, flat: Tensor | None = None) -> Tensor:
        """Cross-entropy of every next token in nats, shape (k, B, T).

        Args:
            sequences: shape (k, B, T + 1), for k members.
            flat: their parameters, shape (k, P); absent: those of all members.
        """
        logits = self.logits(sequences[..., :-1], flat)
        targets = sequences[..., 1:]
        return cross_entropy(logits.float(), targets)

    def logits(self, tokens: Tensor, flat: Tensor | None = None) -> Tensor:
        """Next-token logits, shape (k, B, T, V), for `tokens` of shape (k, B, T) and parameters as in `losses`."""
        K, B, T = tokens.shape
        p, shape = named(self.flat if flat is None else flat, self.shape), self.shape
        x = F.embedding(tokens + self._offsets[:K], p["embed"].flatten(0, 1)).view(K, B * T, shape.width)
        cos, sin = (table[:T] for table in self._rope)
        for layer in range(shape.depth):
            block = {name: p[f"layers.{layer}.{name}"] for name in LAYER}
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
