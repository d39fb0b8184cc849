"""Where training runs: the device, and how many threads a worker takes."""

from __future__ import annotations

import torch

from mixlab.errors import ConfigError


def resolve_device(wanted: str) -> str:
    """`auto` -> "cuda" where there is one, else "cpu".

    Raises:
        ConfigError: when CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError("proxies.device is cuda, but torch finds no CUDA device", "set it to auto or cpu")
    return "cuda" if available and wanted != "cpu" else "cpu"


def use_one_thread() -> None:
    """Keep this process to one core: workers are as many as cores, and small matrices gain nothing from more."""
    torch.set_num_threads(1)
