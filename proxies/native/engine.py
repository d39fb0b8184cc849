"""The engine that trains each member with the native step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.engine import State
from proxies.model.parameters import Floats, initial_parameters, peak_decays, peak_rates, rope_angles
from proxies.model.recipe import ADAM_EPSILON
from proxies.native.library import Adam, Shape, load_library


class NativeEngine:
    """An `Engine`. Members are trained one after the other: on a CPU nothing is gained by stacking.

    Args:
        shape: of every member.
        seeds: one per member.
        recipes: one per member; they may differ in the learning rate alone.
        bf16: whether matrix products take bf16 operands.
    """

    device = "cpu"

    def __init__(self, shape: ModelShape, seeds: Sequence[int], recipes: Sequence[Recipe], bf16: bool) -> None:
        self._functions = load_library().functions
        self._bf16 = bf16
        self._context = shape.context
        angles = rope_angles(shape)
        self._model = (
            Shape(shape.depth, shape.width, shape.heads, shape.hidden, shape.vocab_size, shape.context, shape.tied),
            np.cos(angles).astype(np.float32),
            np.sin(angles).astype(np.float32),
        )
        recipe = recipes[0]
        self._adam = Adam(recipe.beta1, recipe.beta2, ADAM_EPSILON, recipe.clip_norm)
        self._rates, self._decays = peak_rates(shape, recipes), peak_decays(shape, recipes)
        parameters = np.stack([initial_parameters(shape, seed) for seed in seeds])
        self._state = State(parameters, np.zeros_like(parameters), np.zeros_like(parameters))

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Floats:
        """See `Engine.train`."""
        losses = np.full((len(sequences), len(sizes)), np.nan, dtype=np.float32)
        batches = np.asarray(sizes, dtype=np.int64)
        shares = np.asarray(factors, dtype=np.float64)
        for member, text in enumerate(np.ascontiguousarray(sequences)):
            parameters, first, second = (array[member] for array in self._state)
            if not np.isfinite(parameters).all():
                continue
            rates = self._rates[member], self._decays[member]
            work = text, batches, shares, len(sizes), first_step, self._bf16
            _check(
                self._functions.mixlab_train(
                    *self._model, parameters, first, second, *rates, self._adam, *work, losses[member]
                )
            )
        return losses

    def score(self, sequences: NDArray[np.int32]) -> Floats:
        """See `Engine.score`."""
        parameters = self._state.parameters
        losses = np.empty((len(parameters), len(sequences), self._context), dtype=np.float32)
        text = np.ascontiguousarray(sequences)
        for member, out in zip(parameters, losses, strict=True):
            _check(self._functions.mixlab_score(*self._model, member, text, len(text), out))
        return losses

    def state(self) -> State:
        """See `Engine.state`."""
        return State(*(array.copy() for array in self._state))

    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        for ours, theirs in zip(self._state, state, strict=True):
            ours[...] = theirs

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        return {}


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("the native step could not allocate its buffers")
