"""How many runs a process should train together."""

from __future__ import annotations

from mixlab.runs.specs import RunSpec
from proxies.backend.choice import Backend
from proxies.model.memory import members_in

CUDA_MEMBERS = 64  # at most: a sweep seldom has more runs of one size and the same token counts
CPU_MEMBERS = 3  # more gain little, and a few large jobs leave cores idle at the end
CPU_TOKENS = 1024  # in a step of a whole stack: beyond that a CPU's caches spill and nothing is gained


def mean_batch(spec: RunSpec) -> int:
    """Sequences per step, over the longest branch."""
    steps = spec.steps(spec.tokens[-1])
    return round(spec.recipe.batches.sequences(steps) / steps)


def stack_limit(spec: RunSpec, backend: Backend) -> int:
    """How many runs like `spec` a process should train together.

    PyTorch's small steps are mostly overhead, which a stack shares; the native engine has none to share.
    """
    if backend.device == "cuda":
        return min(
            CUDA_MEMBERS, members_in(_cuda_memory(), spec.shape, _largest_batch(spec), backend.precision == "bf16")
        )
    if backend.engine == "native":
        return 1
    return max(1, min(CPU_MEMBERS, CPU_TOKENS // (mean_batch(spec) * spec.shape.context)))


def _largest_batch(spec: RunSpec) -> int:
    """Sequences in the last step of the longest branch: batches never shrink."""
    return spec.recipe.batches.size(spec.steps(spec.tokens[-1]) - 1)


def _cuda_memory() -> int:
    """All bytes of the GPU, free or not."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory
