"""Where and how a process trains: device, engine and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from mixlab.config import ProxyConfig
from mixlab.errors import ConfigError
from proxies.native.build import NativeError, load_library

Device = Literal["cpu", "cuda"]
EngineName = Literal["native", "torch"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Compute:
    """What a worker trains with.

    Attributes:
        device: "cpu" (one thread) or "cuda".
        engine: "native" (`proxies.native`, CPU alone) or "torch".
        precision: of the operands of matrix products; parameters, moments and sums are always fp32.
        note: why it is not the fastest choice, where it is not.
    """

    device: Device = "cpu"
    engine: EngineName = "torch"
    precision: Precision = "fp32"
    note: str = ""

    def __str__(self) -> str:
        return f"{self.device}, {self.engine} engine, {self.precision}"


def resolve_compute(config: ProxyConfig) -> Compute:
    """What a study's settings come to on this machine; the native engine is compiled here where it is not yet.

    Raises:
        ConfigError: when a setting asks for what this machine does not have.
    """
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("proxies.device is cuda, but torch finds no CUDA device", "set it to auto or cpu")
    if available and config.device != "cpu":
        if config.engine == "native":
            raise ConfigError("proxies.engine is native, which trains on a CPU", "set proxies.device to cpu")
        return Compute("cuda", "torch", "fp32" if config.precision == "fp32" else "bf16")
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
    if config.precision == "bf16" and not library.has_bf16:
        raise ConfigError("proxies.precision is bf16, but this processor has no products of bf16", "set it to auto")
    return Compute("cpu", "native", "bf16" if library.has_bf16 and config.precision != "fp32" else "fp32")


def _torch_on_cpu(config: ProxyConfig, note: str) -> Compute:
    if config.precision == "bf16":
        raise ConfigError("proxies.precision is bf16, which the torch engine has on CUDA alone", "set it to auto")
    return Compute("cpu", "torch", "fp32", note)


def use_one_thread() -> None:
    """Keep this process to one core: workers are as many as cores, and small matrices gain nothing from more."""
    torch.set_num_threads(1)
