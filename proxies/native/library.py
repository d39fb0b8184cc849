"""The native step's functions with the types of their arguments, in the library that `build` compiles."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxies.native.build import NativeError, compiled_library


class Shape(ctypes.Structure):
    """`Shape` of model.h."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("depth", "width", "heads", "hidden", "vocabulary", "context", "tied")
    ]


class Adam(ctypes.Structure):
    """`Adam` of step.cpp."""

    _fields_ = [(name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon", "clip")]


def _array(dtype: type) -> Any:
    """A whole array of this type; any other is refused when the function is called."""
    return np.ctypeslib.ndpointer(dtype, flags="C_CONTIGUOUS")


_FLOATS, _TOKENS, _COUNTS, _FACTORS = _array(np.float32), _array(np.int32), _array(np.int64), _array(np.float64)
_MODEL = (ctypes.POINTER(Shape), _FLOATS, _FLOATS)  # shape, cosines and sines of the rotary positions

# Name: type of the result, types of the arguments; what they mean is written in step.cpp.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "mixlab_train": (
        ctypes.c_int64,
        (
            *_MODEL,
            *(_FLOATS, _FLOATS, _FLOATS),  # parameters, first and second moments
            *(_FLOATS, _FLOATS, ctypes.POINTER(Adam)),  # rates, decays
            *(_TOKENS, _COUNTS, _FACTORS),  # tokens, batches, factors
            *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),  # steps, first step, bf16
            _FLOATS,  # losses
        ),
    ),
    "mixlab_score": (ctypes.c_int64, (*_MODEL, _FLOATS, _TOKENS, ctypes.c_int64, _FLOATS)),
    "mixlab_products": (ctypes.c_double, (ctypes.c_int64, ctypes.c_int64)),
    "mixlab_has_bf16": (ctypes.c_int64, ()),
}


@dataclass(frozen=True)
class Library:
    """The loaded library.

    Attributes:
        functions: those of `FUNCTIONS`.
        has_bf16: whether the processor multiplies bf16.
    """

    functions: ctypes.CDLL
    has_bf16: bool


@functools.cache
def load_library() -> Library:
    """The library, compiled where it is not yet.

    Raises:
        NativeError: without a compiler, or where it fails.
    """
    try:
        functions = ctypes.CDLL(str(compiled_library()))
    except OSError as error:
        raise NativeError(str(error)) from None
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    return Library(functions, bool(functions.mixlab_has_bf16()))
