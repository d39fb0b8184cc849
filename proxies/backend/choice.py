"""Where and how a process trains: device, engine and precision.

PyTorch takes seconds and hundreds of megabytes to import, so it is not, where nothing is trained with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mixlab.errors import ConfigError
from mixlab.runs.specs import RunSpec
from proxies.model.engine import Engine
from proxies.native.build import NativeError
from proxies.native.engine import NativeEngine
from proxies.native.library import load_library

if TYPE_CHECKING:
    from mixlab.study.sweep import ProxyConfig

Device = Literal["cpu", "cuda"]
EngineName = Literal["native", "torch"]
Precision = Literal["fp32", "bf16"]

GPU_DEVICES = ("nvidia*", "nvmap", "kfd", "dxg")  # below /dev: NVIDIA, its embedded chips, AMD, Windows' Linux


@dataclass(frozen=True)
class Backend:
    """What a worker trains with.

    Attributes:
        device: "cpu" (one thread) or "cuda".
        engine: "native" (`proxies.native`, CPU alone) or "torch" (`proxies.pytorch`).
        precision: of the operands of matrix products; parameters, moments and sums are always fp32.
        compile: whether PyTorch compiles its steps (`proxies.pytorch.compiled`).
        note: why it is not the fastest choice, where it is not.
    """

    device: Device = "cpu"
    engine: EngineName = "torch"
    precision: Precision = "fp32"
    compile: bool = False
    note: str = ""

    def __str__(self) -> str:
        return f"{self.device}, {self.engine} engine, {self.precision}" + ", compiled" * self.compile


def choose_backend(config: ProxyConfig) -> Backend:
    """What a study's settings come to on this machine; the native engine is compiled here where it is not yet.

    Raises:
        ConfigError: when a setting asks for what this machine does not have.
    """
    available = config.device != "cpu" and _cuda_available(config.device == "cuda")
    if config.device == "cuda" and not available:
        raise ConfigError("proxies.device is cuda, but torch finds no CUDA device", "set it to auto or cpu")
    if available:
        if config.engine == "native":
            raise ConfigError("proxies.engine is native, which trains on a CPU", "set proxies.device to cpu")
        precision: Precision = "fp32" if config.precision == "fp32" else "bf16"
        return Backend("cuda", "torch", precision, compile=config.compile != "off")
    if config.engine == "torch":
        return _torch_on_cpu(config, "")
    try:
        library = load_library()
    except NativeError as error:
        if config.engine == "native":
            raise ConfigError(
                f"proxies.engine is native, but it cannot be built: {error}",
                "install a C++ compiler (g++ or clang++), or set proxies.engine to torch",
            ) from None
        return _torch_on_cpu(config, f"the native engine, a few times faster, cannot be built: {error}")
    if config.compile == "on":
        raise ConfigError(
            "proxies.compile is on, which is for PyTorch, but the native engine trains here",
            "set proxies.compile to auto, or proxies.engine to torch",
        )
    if config.precision == "bf16" and not library.has_bf16:
        raise ConfigError("proxies.precision is bf16, but this processor has no products of bf16", "set it to auto")
    return Backend("cpu", "native", "bf16" if library.has_bf16 and config.precision != "fp32" else "fp32")


def make_engine(backend: Backend, specs: Sequence[RunSpec]) -> Engine:
    """The engine of runs that can be stacked, at their initial parameters."""
    shape = specs[0].shape
    seeds, recipes = [spec.seed for spec in specs], [spec.recipe for spec in specs]
    bf16 = backend.precision == "bf16"
    if backend.engine == "native":
        return NativeEngine(shape, seeds, recipes, bf16)
    from proxies.pytorch.engine import TorchEngine

    return TorchEngine(shape, seeds, recipes, backend.device, bf16, backend.compile)


def use_one_thread(backend: Backend) -> None:
    """Keep this process to one core: workers are as many as cores, and small matrices gain nothing from more."""
    if backend.engine == "torch":
        import torch

        torch.set_num_threads(1)


def _torch_on_cpu(config: ProxyConfig, note: str) -> Backend:
    if config.precision == "bf16":
        raise ConfigError("proxies.precision is bf16, which the torch engine has on CUDA alone", "set it to auto")
    return Backend("cpu", "torch", "fp32", config.compile == "on", note)


def _cuda_available(certain: bool) -> bool:
    """Whether PyTorch finds a CUDA device; unless `certain`, PyTorch is asked only where a device file suggests one."""
    if not certain and os.name == "posix" and not any(any(Path("/dev").glob(name)) for name in GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()
