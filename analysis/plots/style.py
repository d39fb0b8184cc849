"""How every figure looks: colours that colour-blind readers can tell apart, quantities as people write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mixlab.errors import ConfigError, SweepError, require_kind
from mixlab.units import format_quantity

# Okabe and Ito (2008), yellow left out as it cannot be read on white; then Tol's muted for more domains.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#882255", "#999933", "#332288", "#44AA99")
INK, MUTED, RULE = "#1c2733", "#7b8794", "#d9dfe5"
ACCENT, OTHER = "#0072B2", "#b4bcc5"
SUFFIXES = (".png", ".svg", ".pdf")

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a domain may be called `$x$`
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "mixlab",
    "savefig.facecolor": "white",
}


def styled() -> AbstractContextManager[Any]:
    """The style, as a context within which a figure is drawn and saved."""
    return matplotlib.rc_context(_STYLE)


def new_figure(width: float = 7.6, height: float = 4.6) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; not registered with pyplot, so nothing leaks."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def axes_or_new(ax: Axes | None, width: float = 7.6, height: float = 4.6) -> Axes:
    """A caller's axes, or new ones of pyplot, which shows them as its backend does."""
    if ax is not None:
        require_kind("ax", ax, Axes, "one Axes of matplotlib", "plt.subplots() gives them; of an array, take one")
        return ax
    import matplotlib.pyplot as plt  # the caller's backend, and only where it is asked for

    with styled():
        _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return axes


def legend_below(axes: Axes, columns: int = 4) -> None:
    """A legend below the axes: of the whole figure, where it has no others."""
    figure = axes.figure
    if len(figure.axes) == 1 and figure.get_layout_engine() is not None:
        figure.legend(loc="outside lower center", ncols=columns)
    else:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=columns)


def domain_colours(domains: Sequence[str]) -> dict[str, str]:
    """One colour per domain, the same in every figure of a study (by position, repeating after ten)."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(domains)}


def short(name: str, length: int = 24) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def log_quantities(
    axis: Axis, low: float, high: float, unit: str, write: Callable[[float], str] = format_quantity
) -> None:
    """Log scale over [low, high] with a few plain labels ("1M", "3M", "10M")."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})  # type: ignore[attr-defined]
    ticks: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(np.arange(1, 10, 0.25))):
        exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = [digit * 10.0**e for e in exponents for digit in digits if low <= digit * 10.0**e <= high]
        if len(ticks) >= 4:
            break
    ticks = ticks[:: max(1, int(np.ceil(len(ticks) / 7)))]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_label_text(unit)


def padded(values: Sequence[float] | np.ndarray, factor: float = 1.25) -> tuple[float, float]:
    """Log limits around positive values."""
    array = np.asarray(values, dtype=float)
    return float(array.min() / factor), float(array.max() * factor)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, the format by the suffix.

    Raises:
        ConfigError: on another suffix.
        SweepError: when the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"a figure is written as {', '.join(SUFFIXES)}, but got {path.name}", f"write -o {path.stem}.png"
        )
    try:
        with styled():
            figure.savefig(path, dpi=160)
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}", "choose another place") from error


def to_svg(figure: Figure) -> str:
    """The `<svg>` element of a figure, to stand inside a page; names in it are escaped by matplotlib."""
    buffer = StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]
