"""GPU hours and dollars of FLOPs: peaks of accelerators, the share of the peak that training reaches, and a price.

Peaks are dense bf16 operations on matrices, as the makers' data sheets state them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mixlab.errors import ConfigError, did_you_mean

MFU = 0.4  # model FLOPs utilisation, where nobody says: what large runs report lies between 0.3 and 0.5
SECONDS = 3600.0  # in an hour

# name -> peak FLOP/s. NVIDIA states some peaks with 2:4 sparsity, which is twice the dense one given here.
PEAKS = {
    "a100": 312e12,  # NVIDIA A100 data sheet
    "b200": 2250e12,  # NVIDIA HGX B200: 36 PFLOPS of 8, sparse
    "h100": 989.4e12,  # NVIDIA H100 SXM data sheet: 1,979 sparse
    "h100-pcie": 756e12,  # NVIDIA H100 PCIe data sheet: 1,513 sparse
    "h200": 989.4e12,  # NVIDIA H200 SXM data sheet: 1,979 sparse
    "l4": 121e12,  # NVIDIA L4 data sheet: 242 sparse
    "l40s": 362e12,  # NVIDIA L40S data sheet: 733 sparse
    "mi250x": 383e12,  # AMD Instinct MI250X data sheet
    "mi300x": 1307.4e12,  # AMD Instinct MI300X data sheet
    "tpu-v4": 275e12,  # Google Cloud TPU v4, per chip
    "tpu-v5e": 197e12,  # Google Cloud TPU v5e, per chip
    "tpu-v5p": 459e12,  # Google Cloud TPU v5p, per chip
    "tpu-v6e": 918e12,  # Google Cloud TPU v6e, per chip
}


@dataclass(frozen=True)
class Hardware:
    """What an hour of an accelerator computes and costs.

    Attributes:
        name: as the user called it.
        peak: FLOP/s.
        mfu: the share of the peak that training reaches.
        price: dollars an hour, where it is known.
    """

    name: str
    peak: float
    mfu: float = MFU
    price: float | None = None

    @classmethod
    def make(
        cls,
        gpu: str | None = None,
        gpu_flops: float | None = None,
        mfu: float | None = None,
        price: float | None = None,
    ) -> Hardware | None:
        """The accelerator that is meant; None where nothing is said of one.

        Raises:
            ConfigError: when it is not known, or there is a price or a utilisation of nothing.
        """
        if gpu is None and gpu_flops is None:
            if mfu is not None or price is not None:
                raise ConfigError("mfu and price are about a GPU, but none is named", "add gpu, such as h100")
            return None
        if gpu_flops is None and str(gpu).lower() not in PEAKS:
            close = did_you_mean(str(gpu).lower(), PEAKS)
            raise ConfigError(
                f"the peak of a GPU `{gpu}` is not known; known are {', '.join(PEAKS)}",
                f"{close} Or give gpu_flops, its dense bf16 FLOP/s, such as 9.9e14"
                if close and close.startswith("did")
                else "give gpu_flops, its dense bf16 FLOP/s, such as 9.9e14",
            )
        if mfu is not None and not 0 < mfu <= 1:
            raise ConfigError(
                f"mfu is a share of the peak, above 0 and at most 1, but got {mfu:g}", "write 0.4 for 40%"
            )
        if price is not None and not price > 0:
            raise ConfigError(f"price is dollars per GPU hour, above 0, but got {price:g}")
        peak = gpu_flops if gpu_flops is not None else PEAKS[str(gpu).lower()]
        return cls(str(gpu or "gpu").lower(), float(peak), MFU if mfu is None else mfu, price)

    @property
    def flops_per_hour(self) -> float:
        """FLOPs of training in an hour."""
        return self.peak * self.mfu * SECONDS

    def flops_of(self, *, dollars: float | None = None, gpu_hours: float | None = None) -> float:
        """FLOPs that a budget in dollars or hours buys.

        Raises:
            ConfigError: when there is no price for the dollars.
        """
        if gpu_hours is None:
            assert dollars is not None
            if self.price is None:
                raise ConfigError("a budget in dollars needs a price per GPU hour", "add price, such as 2.5")
            gpu_hours = dollars / self.price
        return gpu_hours * self.flops_per_hour

    def bill(self, flops: float) -> dict[str, Any]:
        """Hours, and dollars where there is a price, of so many FLOPs."""
        hours = flops / self.flops_per_hour
        return {"flops": flops, "gpu_hours": hours} | ({} if self.price is None else {"dollars": hours * self.price})

    def __str__(self) -> str:
        return f"{self.name} at {self.mfu:.0%} of {self.peak:.4g} FLOP/s"


def budget_in_flops(
    hardware: Hardware | None, flops: float | None, dollars: float | None, gpu_hours: float | None
) -> float | None:
    """A budget in whatever it is stated in, as FLOPs; None where none is.

    Raises:
        ConfigError: when it is stated twice, or hours or dollars of no GPU.
    """
    stated = {"flops": flops, "dollars": dollars, "gpu_hours": gpu_hours}
    named = [name for name, value in stated.items() if value is not None]
    if len(named) > 1:
        raise ConfigError(f"a budget is stated once, but got {' and '.join(named)}", "leave all but one out")
    if not named or flops is not None:
        return flops
    if hardware is None:
        raise ConfigError(f"a budget in {named[0]} needs a GPU", "add gpu, such as h100, or gpu_flops")
    return hardware.flops_of(dollars=dollars, gpu_hours=gpu_hours)
