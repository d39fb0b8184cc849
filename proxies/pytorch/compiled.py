"""Functions that inductor compiles, with the same functions in eager PyTorch where it cannot."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

VARIANTS = 256  # of one function that a process may compile: sizes, members; torch gives up after 8
REASON_LENGTH = 200


def compiled(function: Callable[P, R], graphs: bool = False) -> Callable[P, R]:
    """`function`, compiled as one graph whenever it is called with tensors of other shapes than before.

    Args:
        function: of tensors.
        graphs: whether calls and their backward passes are replayed as CUDA graphs. What these return is overwritten
            by the first call after the next `torch.compiler.cudagraph_mark_step_begin()`.
    """

    @functools.cache
    def prepared() -> Callable[P, R]:
        torch._dynamo.config.recompile_limit = VARIANTS
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # fp32 is meant where it is asked for
        return torch.compile(function, fullgraph=True, dynamic=False, mode="reduce-overhead" if graphs else None)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return prepared()(*args, **kwargs)

    return call


def with_free_size(tensor: Tensor, dim: int) -> Tensor:
    """A copy of `tensor` for which a function is compiled once for all sizes in `dim` above 1, and once for 1."""
    # What is compiled depends on strides too, so they may not be those of a part of something larger.
    copy = tensor.clone(memory_format=torch.contiguous_format)
    if copy.shape[dim] > 1:
        torch._dynamo.mark_dynamic(copy, dim)
    return copy


class WithFallback(Generic[P, R]):
    """`first`, and for good `second` once that fails. Out of memory is no failure: it is the caller's to meet.

    Args:
        first: raises before it has changed anything.
        second: does the same.

    Attributes:
        failure: why `first` was given up, in one line; empty while it was not.
    """

    def __init__(self, first: Callable[P, R], second: Callable[P, R]) -> None:
        self._first, self._second = first, second
        self.failure = ""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.failure:
            try:
                return self._first(*args, **kwargs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of a compiler or driver, of any class; our own is raised again by `second`
                self.failure = _reason(error)
            torch.compiler.reset()  # recorded graphs keep their memory
        return self._second(*args, **kwargs)


def _reason(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"[:REASON_LENGTH]
