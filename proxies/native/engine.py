"""The engine that trains each member with the native step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe
from proxies.model.engine import State
from proxies.model.parameters import Floats, initial_parameters, peak_decays, peak_rates, rope_angles
from proxies.model.recipe import ADAM_EPSILON
from proxies.native.build import load_library


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("depth", "width", "heads", "hidden", "vocabulary", "context", "tied")
    ]


class _Adam(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon", "clip")]


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
        self._library = load_library().functions
        self._bf16 = ctypes.c_int64(bf16)
        self._shape = _Shape(
            shape.depth, shape.width, shape.heads, shape.hidden, shape.vocab_size, shape.context, shape.tied
        )
        self._context = shape.context
        recipe = recipes[0]
        self._adam = _Adam(recipe.beta1, recipe.beta2, ADAM_EPSILON, recipe.clip_norm)
        self._rates, self._decays = peak_rates(shape, recipes), peak_decays(shape, recipes)
        angles = rope_angles(shape)
        self._cosines, self._sines = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        parameters = np.stack([initial_parameters(shape, seed) for seed in seeds])
        self._state = State(parameters, np.zeros_like(parameters), np.zeros_like(parameters))

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Floats:
        """See `Engine.train`."""
        losses = np.full((len(sequences), len(sizes)), np.nan, dtype=np.float32)
        batches = np.asarray(sizes, dtype=np.int64)
        scales = np.asarray(factors, dtype=np.float64)
        for member, text in enumerate(sequences):
            if not np.isfinite(self._state.parameters[member]).all():
                continue
            self._call(
                self._library.mixlab_train,
                *(array[member] for array in self._state),
                *(self._rates[member], self._decays[member], ctypes.byref(self._adam)),
                *(np.ascontiguousarray(text), batches, scales),
                *(ctypes.c_int64(len(sizes)), ctypes.c_int64(first_step), self._bf16, losses[member]),
            )
        return losses

    def score(self, sequences: NDArray[np.int32]) -> Floats:
        """See `Engine.score`."""
        parameters = self._state.parameters
        losses = np.empty((len(parameters), len(sequences), self._context), dtype=np.float32)
        text = np.ascontiguousarray(sequences)
        for member, out in zip(parameters, losses, strict=True):
            self._call(self._library.mixlab_score, member, text, ctypes.c_int64(len(text)), out)
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

    def _call(self, function: Any, *arguments: Any) -> None:
        if function(
            ctypes.byref(self._shape), _pointer(self._cosines), _pointer(self._sines), *map(_pointer, arguments)
        ):
            raise MemoryError("the native step could not allocate its buffers")


def _pointer(value: Any) -> Any:
    """The address of an array's data; anything else as it is."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    return value
