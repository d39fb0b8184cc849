"""The estimate of a stack's memory, against what autograd keeps."""

from __future__ import annotations

import pytest
import torch

from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from proxies.backend import stacking
from proxies.backend.choice import Backend
from proxies.model.memory import members_in, saved_bytes, state_bytes
from proxies.model.parameters import initial_parameters
from proxies.pytorch.stack import ModelStack

GIB = 2**30


def kept_by_autograd(shape: ModelShape, sequences: int, bf16: bool) -> int:
    """Bytes of the distinct storages that a forward pass saves, beside the parameters."""
    stack = ModelStack(shape, initial_parameters(shape, 0)[None], torch.device("cpu"))
    kept: list[torch.Tensor] = []  # alive, so that no address comes twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    tokens = torch.zeros((1, sequences, shape.context + 1), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        stack.losses(tokens).mean()
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    sizes.pop(stack.flat.untyped_storage().data_ptr(), None)
    return sum(sizes.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    "shape", [ModelShape(4, 96, 257, 64), ModelShape(2, 32, 4096, 32), ModelShape(2, 64, 257, 64, tied=True)], ids=str
)
def test_the_estimate_counts_what_autograd_keeps(shape: ModelShape, bf16: bool) -> None:
    few, many = (kept_by_autograd(shape, sequences, bf16) for sequences in (2, 6))
    per_token = (many - few) / (4 * shape.context)
    assert saved_bytes(shape, bf16) == pytest.approx(per_token, rel=0.1)
    # The rest are operands in bf16, which belong to the state, and small tables.
    assert few - 2 * shape.context * per_token < state_bytes(shape, bf16) - state_bytes(shape, False) + 0.1 * few


def test_a_stack_is_as_large_as_the_memory_allows() -> None:
    small, large = (ModelShape.near(params, 257, 256) for params in (1e6, 1e8))
    assert members_in(80 * GIB, small, 16, bf16=True) >= 64
    assert 2 <= members_in(80 * GIB, large, 16, bf16=True) < 16
    assert members_in(1 * GIB, large, 16, bf16=True) == 1
    counts = [members_in(24 * GIB, small, sequences, bf16=True) for sequences in (1, 8, 64, 512)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert members_in(24 * GIB, small, 64, bf16=False) < members_in(24 * GIB, small, 64, bf16=True)


def test_the_plan_and_the_device_alone_say_how_many_are_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(learning_rate=0.01, batches=Batches(((0, 1), (100, 64))), warmup_steps=1)
    backend, shape = Backend("cuda", "torch", "bf16"), ModelShape.near(1e7, 257, 256)

    def limit(memory: int, tokens: int) -> int:
        monkeypatch.setattr(stacking, "_cuda_memory", lambda: memory)
        return stacking.stack_limit(RunSpec(Mixture({"a": 1.0}), shape, (tokens,), 0, recipe, "test", 100), backend)

    assert limit(16 * GIB, 10_000_000) == members_in(16 * GIB, shape, 64, bf16=True) < 64
    assert limit(16 * GIB, 10_000) == members_in(16 * GIB, shape, 1, bf16=True)
    assert limit(1000 * GIB, 10_000_000) == stacking.CUDA_MEMBERS
