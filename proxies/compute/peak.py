"""The FLOP/s that a device has for matrix products: what its use of them is measured by."""

from __future__ import annotations

import functools

from proxies.compute.clock import seconds_of
from proxies.compute.compute import Compute, use_one_thread
from proxies.native.library import load_library

PEAK_SIZE = {"cpu": 768, "cuda": 8192}  # rows and columns of the matrices that measure PyTorch's peak
PEAK_ROUNDS = 100_000  # of products in registers, which measure the native engine's: a few milliseconds
PEAK_SECONDS = 0.03


@functools.cache
def peak_flops(compute: Compute) -> float:
    """FLOP/s that this device has for matrix products at `compute`'s precision, one thread on a CPU.

    The native engine's is that of products in registers, PyTorch's that of large square matrices.
    """
    return _native_peak(compute) if compute.engine == "native" else _torch_peak(compute)


def _native_peak(compute: Compute) -> float:
    products, bf16 = load_library().functions.mixlab_products, compute.precision == "bf16"
    count = products(PEAK_ROUNDS, bf16)
    return count / seconds_of(lambda: products(PEAK_ROUNDS, bf16), PEAK_SECONDS)


def _torch_peak(compute: Compute) -> float:
    import torch

    use_one_thread(compute)
    size = PEAK_SIZE[compute.device]
    dtype = torch.bfloat16 if compute.precision == "bf16" else torch.float32
    matrix = torch.ones((size, size), dtype=dtype, device=compute.device)

    def product() -> None:
        matrix @ matrix
        if compute.device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * size**3 / seconds_of(product, PEAK_SECONDS)
