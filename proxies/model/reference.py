"""The whole training step of a proxy in plain NumPy, written to be read: what `native/step.cpp` and `pytorch/` compute.

Nothing trains with it. Tests hold both engines to it, and it to the slopes of its own loss. It goes through one model,
one sequence, one head and one position at a time, in double precision, and works out what a backward pass needs again
rather than keeping it. After every `forward` comes its `backward`, which takes the same inputs and the gradient of the
loss by the output, and returns that by the input; gradients of parameters are added to `grads`.

Shape letters: T tokens in a sequence, d width, H heads, w = d / H channels of a head, f hidden channels of SwiGLU,
V vocabulary, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.parameters import NORM_EPSILON, initial_parameters, rope_angles, unpacked
from proxies.model.recipe import ADAM_EPSILON, BASE_WIDTH, CLIP_EPSILON

Array = NDArray[np.float64]
Named = dict[str, Array]


# Building blocks. Every one works on rows: the last dimension is a vector, those before it count vectors.


def unit_scale(x: Array) -> Array:
    """Scale every vector to a root mean square of 1 (RMSNorm without its gain)."""
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + NORM_EPSILON)


def unit_scale_backward(x: Array, dy: Array) -> Array:
    inverse = 1 / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + NORM_EPSILON)
    y = x * inverse
    # The scale takes out the part of the gradient that points along y, which only makes the vector longer.
    return (dy - y * np.mean(dy * y, axis=-1, keepdims=True)) * inverse


def rotate(x: Array, angles: Array) -> Array:
    """Rotary positions: turn the pairs (i, i + w/2) of every head at position t by `angles[t, i]`; x is (T, H, w)."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def rotate_backward(dy: Array, angles: Array) -> Array:
    return rotate(dy, -angles)


def softmax(x: Array) -> Array:
    """Of one vector."""
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def silu_slope(x: Array) -> Array:
    """Derivative of `silu`."""
    sigmoid = 1 / (1 + np.exp(-x))
    return sigmoid * (1 + x * (1 - sigmoid))


# Causal attention of unit-scaled, rotated queries and keys: (T, H, w) each.


def attend(q: Array, k: Array, v: Array) -> Array:
    """Each position's mean of the values up to it, weighted by softmax(q k / sqrt(w))."""
    T, H, w = q.shape
    out = np.zeros_like(q)
    for h in range(H):
        for t in range(T):
            weights = softmax(k[: t + 1, h] @ q[t, h] / math.sqrt(w))
            out[t, h] = weights @ v[: t + 1, h]
    return out


def attend_backward(q: Array, k: Array, v: Array, dout: Array) -> tuple[Array, Array, Array]:
    T, H, w = q.shape
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for h in range(H):
        for t in range(T):
            past = slice(0, t + 1)
            weights = softmax(k[past, h] @ q[t, h] / math.sqrt(w))
            dv[past, h] += np.outer(weights, dout[t, h])
            dweights = v[past, h] @ dout[t, h]
            dscores = weights * (dweights - weights @ dweights) / math.sqrt(w)
            dq[t, h] = dscores @ k[past, h]
            dk[past, h] += np.outer(dscores, q[t, h])
    return dq, dk, dv


# The two halves of a layer. Each adds its result to the residual stream x, (T, d); `p` holds the layer's parameters.


def attention(x: Array, p: Named, angles: Array, heads: int) -> Array:
    _, q, k, v = _queries_keys_values(x, p, angles, heads)
    return x + attend(q, k, v).reshape(x.shape) @ p["attention_out"]


def attention_backward(x: Array, p: Named, angles: Array, heads: int, dy: Array, grads: Named) -> Array:
    raw, q, k, v = _queries_keys_values(x, p, angles, heads)
    mixed = attend(q, k, v)
    grads["attention_out"] += mixed.reshape(x.shape).T @ dy
    dq, dk, dv = attend_backward(q, k, v, (dy @ p["attention_out"].T).reshape(mixed.shape))
    dq = unit_scale_backward(raw[:, 0], rotate_backward(dq, angles))
    dk = unit_scale_backward(raw[:, 1], rotate_backward(dk, angles))
    dqkv = np.stack([dq, dk, dv], axis=1).reshape(len(x), -1)
    grads["qkv"] += (unit_scale(x) * p["attention_norm"]).T @ dqkv
    return dy + norm_backward(x, p["attention_norm"], dqkv @ p["qkv"].T, grads, "attention_norm")


def _queries_keys_values(x: Array, p: Named, angles: Array, heads: int) -> tuple[Array, Array, Array, Array]:
    """What the product gives, (T, 3, H, w), and from it queries, keys and values, (T, H, w) each."""
    raw = ((unit_scale(x) * p["attention_norm"]) @ p["qkv"]).reshape(len(x), 3, heads, -1)
    # Queries and keys of unit scale keep the loss finite over a wide band of learning rates (Dehghani et al. 2023).
    return raw, rotate(unit_scale(raw[:, 0]), angles), rotate(unit_scale(raw[:, 1]), angles), raw[:, 2]


def mlp(x: Array, p: Named) -> Array:
    """SwiGLU (Shazeer 2020): one half of the hidden channels decides how much of the other half passes."""
    gate, up = np.split((unit_scale(x) * p["mlp_norm"]) @ p["mlp_in"], 2, axis=-1)
    return x + (silu(gate) * up) @ p["mlp_out"]


def mlp_backward(x: Array, p: Named, dy: Array, grads: Named) -> Array:
    narrow = unit_scale(x) * p["mlp_norm"]
    gate, up = np.split(narrow @ p["mlp_in"], 2, axis=-1)
    grads["mlp_out"] += (silu(gate) * up).T @ dy
    dhidden = dy @ p["mlp_out"].T
    dinner = np.concatenate([dhidden * up * silu_slope(gate), dhidden * silu(gate)], axis=-1)
    grads["mlp_in"] += narrow.T @ dinner
    return dy + norm_backward(x, p["mlp_norm"], dinner @ p["mlp_in"].T, grads, "mlp_norm")


def norm_backward(x: Array, gain: Array, dy: Array, grads: Named, name: str) -> Array:
    """Back through `unit_scale(x) * gain`, the gain being the parameter `name`."""
    grads[name] += (dy * unit_scale(x)).sum(axis=0)
    return unit_scale_backward(x, dy * gain)


# The model: token ids of one sequence, (T + 1,), to the loss of each next token, (T,), in nats.


def token_losses(parameters: Named, tokens: NDArray[np.integer], shape: ModelShape) -> Array:
    """-log of the probability of every token after the first."""
    _, x = _layers(parameters, tokens, shape)
    logits = _logits(x, parameters, shape)
    return np.array([-np.log(softmax(row)[target]) for row, target in zip(logits, tokens[1:], strict=True)])


def add_gradient(parameters: Named, tokens: NDArray[np.integer], shape: ModelShape, share: float, grads: Named) -> None:
    """Add the gradient of `share` times the sum of `token_losses` to `grads`."""
    inputs, x = _layers(parameters, tokens, shape)
    angles = rope_angles(shape)
    dlogits = np.array([share * softmax(row) for row in _logits(x, parameters, shape)])
    dlogits[np.arange(shape.context), tokens[1:]] -= share
    narrow = unit_scale(x) * parameters["final_norm"]
    if shape.tied:
        grads["embed"] += dlogits.T @ narrow / shape.width
        dnarrow = dlogits @ parameters["embed"] / shape.width
    else:
        grads["head"] += narrow.T @ dlogits
        dnarrow = dlogits @ parameters["head"].T
    dx = norm_backward(x, parameters["final_norm"], dnarrow, grads, "final_norm")
    for layer in reversed(range(shape.depth)):
        p, layer_grads = _of_layer(parameters, layer), _of_layer(grads, layer)
        before_attention, before_mlp = inputs[layer]
        dx = mlp_backward(before_mlp, p, dx, layer_grads)
        dx = attention_backward(before_attention, p, angles, shape.heads, dx, layer_grads)
    for token, row in zip(tokens[:-1], dx, strict=True):
        grads["embed"][token] += row


def _layers(
    parameters: Named, tokens: NDArray[np.integer], shape: ModelShape
) -> tuple[list[tuple[Array, Array]], Array]:
    """By layer what its attention and its MLP take in, and what the last layer gives; (T, d) each."""
    inputs, x, angles = [], parameters["embed"][tokens[:-1]], rope_angles(shape)
    for layer in range(shape.depth):
        p = _of_layer(parameters, layer)
        attended = attention(x, p, angles, shape.heads)
        inputs.append((x, attended))
        x = mlp(attended, p)
    return inputs, x


def _logits(x: Array, parameters: Named, shape: ModelShape) -> Array:
    """(T, V). A tied matrix is scaled like an input layer; 1 / width makes it muP's output layer."""
    narrow = unit_scale(x) * parameters["final_norm"]
    return narrow @ parameters["embed"].T / shape.width if shape.tied else narrow @ parameters["head"]


def _of_layer(named: Named, layer: int) -> Named:
    """The arrays of one layer, not copies, by their names inside it."""
    prefix = f"layers.{layer}."
    return {name.removeprefix(prefix): array for name, array in named.items() if name.startswith(prefix)}


# The update, and the steps.


class Reference:
    """One model in training.

    Args:
        shape: of the model.
        seed: of its first parameters.
        recipe: rate at the base width, moments, weight decay and clipping.

    Attributes:
        parameters, first, second: the parameters and AdamW's two moments, each of shape (P,).
    """

    def __init__(self, shape: ModelShape, seed: int, recipe: Recipe) -> None:
        self._shape, self._recipe = shape, recipe
        self.parameters = initial_parameters(shape, seed).astype(np.float64)
        self.first, self.second = np.zeros_like(self.parameters), np.zeros_like(self.parameters)

    def train(
        self, sequences: NDArray[np.integer], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Array:
        """Do S steps and return the mean loss of each batch, shape (S,): `Engine.train` for a single member."""
        parameters, losses = unpacked(self.parameters, self._shape), []
        batches = np.split(sequences, np.cumsum(sizes)[:-1])
        for step, (batch, factor) in enumerate(zip(batches, factors, strict=True), first_step):
            losses.append(self.score(batch).mean())
            gradient = np.zeros_like(self.parameters)
            for tokens in batch:
                share = 1 / (len(batch) * self._shape.context)
                add_gradient(parameters, tokens, self._shape, share, unpacked(gradient, self._shape))
            self._update(gradient, factor, step)
        return np.array(losses)

    def score(self, sequences: NDArray[np.integer]) -> Array:
        """Loss of every next token, shape (n, T): `Engine.score` for a single member."""
        parameters = unpacked(self.parameters, self._shape)
        return np.array([token_losses(parameters, tokens, self._shape) for tokens in sequences])

    def _update(self, gradient: Array, factor: float, step: int) -> None:
        """AdamW (Loshchilov & Hutter 2019) with muP's rates (Yang et al. 2022), times `factor`; steps count from 0."""
        recipe, shape = self._recipe, self._shape
        gradient = gradient * min(1.0, recipe.clip_norm / (float(np.linalg.norm(gradient)) + CLIP_EPSILON))
        self.first += (1 - recipe.beta1) * (gradient - self.first)
        self.second += (1 - recipe.beta2) * (gradient**2 - self.second)
        # Both begin at zero, and so are too small at first.
        mean = unpacked(self.first / (1 - recipe.beta1 ** (step + 1)), shape)
        square = unpacked(self.second / (1 - recipe.beta2 ** (step + 1)), shape)
        for name, values in unpacked(self.parameters, shape).items():
            is_matrix = name != "embed" and not name.endswith("norm")
            # Matrices take a rate in inverse proportion to the width, and they alone decay.
            rate = factor * recipe.learning_rate * (BASE_WIDTH / shape.width if is_matrix else 1.0)
            decay = rate * recipe.weight_decay if is_matrix else 0.0
            values -= decay * values + rate * mean[name] / (np.sqrt(square[name]) + ADAM_EPSILON)
