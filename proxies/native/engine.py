"""The engine that trains each member with the native step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixlab.shapes import ModelShape
from mixlab.specs import Recipe
from proxies.model import initial_parameters, rope_angles
from proxies.native.build import load_library
from proxies.optim import EPSILON, decays, rates


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("depth", "width", "heads", "hidden", "vocabulary", "context", "tied")
    ]


class _Adam(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon", "clip")]


class NativeEngine:
    """See `proxies.engine.Engine`. Members are trained one after the other: on a CPU nothing is gained by stacking."""

    def __init__(self, shape: ModelShape, seeds: Sequence[int], recipes: Sequence[Recipe], bf16: bool) -> None:
        self._library = load_library().functions
        self._bf16 = ctypes.c_int64(bf16)
        self._shape = _Shape(
            shape.depth, shape.width, shape.heads, shape.hidden, shape.vocab_size, shape.context, shape.tied
        )
        self._context = shape.context
        recipe = recipes[0]
        self._adam = _Adam(recipe.beta1, recipe.beta2, EPSILON, recipe.clip_norm)
        self._rates, self._decays = rates(shape, recipes), decays(shape, recipes)
        angles = rope_angles(shape)
        self._cosines, self._sines = angles.cos().float().contiguous(), angles.sin().float().contiguous()
        self.flat = torch.stack([initial_parameters(shape, seed) for seed in seeds])
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> NDArray[np.float32]:
        """See `Engine.train`."""
        losses = np.full((len(self.flat), len(sizes)), np.nan, dtype=np.float32)
        batches = np.asarray(sizes, dtype=np.int64)
        scales = np.asarray(factors, dtype=np.float64)
        for member, text in enumerate(sequences):
            if not torch.isfinite(self.flat[member]).all():
                continue
            self._call(
                self._library.mixlab_train,
                *(self.flat[member], self.first[member], self.second[member]),
                *(self._rates[member], self._decays[member], ctypes.byref(self._adam)),
                *(np.ascontiguousarray(text), batches, scales),
                *(ctypes.c_int64(len(sizes)), ctypes.c_int64(first_step), self._bf16, losses[member]),
            )
        return losses

    def score(self, sequences: NDArray[np.int32]) -> NDArray[np.float64]:
        """See `Engine.score`."""
        losses = np.empty((len(self.flat), len(sequences), self._context), dtype=np.float32)
        for member, parameters in enumerate(self.flat):
            count = ctypes.c_int64(len(sequences))
            self._call(
                self._library.mixlab_score,
                *(parameters, np.ascontiguousarray(sequences), count, losses[member]),
            )
        return losses.astype(np.float64).mean(axis=2)

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        return {}

    def _call(self, function: Any, *arguments: Any) -> None:
        if function(
            ctypes.byref(self._shape), _pointer(self._cosines), _pointer(self._sines), *map(_pointer, arguments)
        ):
            raise MemoryError("the native step could not allocate its buffers")


def _pointer(value: Any) -> Any:
    """The address of an array's or a tensor's data; anything else as it is."""
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, Tensor):
        assert value.is_contiguous()
        return ctypes.c_void_p(value.data_ptr())
    return value
