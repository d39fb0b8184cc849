"""What can be asked of anything that was fitted, whether to losses or to an accuracy."""

from __future__ import annotations

from typing import Protocol, Self

from numpy.typing import ArrayLike

from mixlab.arrays import Array
from mixlab.errors import ConfigError

LEVEL = 0.9  # of an interval, where nobody says
INTERVALS = ("prediction", "confidence")  # of intervals: where a new run lies, and where the mean of many does


class Predictor(Protocol):
    """Predictions of one or more target columns at (h, N, D), with their intervals.

    Attributes:
        law: the law's name, or `auto`.
        domains: names, in the order of every mixture array.
        rows: how many rows were fitted.
        warnings: in words.
    """

    @property
    def law(self) -> str: ...

    @property
    def domains(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> int: ...

    @property
    def warnings(self) -> list[str]: ...

    def with_supply(self, unique: Array) -> Self:
        """The same, asked at a supply of unique tokens: by domain, (K,) or by point (M, K); or of all text."""
        ...

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """What was fitted, of all targets, at h (M, K) or (K,), N, D: shape (M,)."""
        ...

    def predict_targets(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> dict[str, Array]:
        """Every target by column, each (M,)."""
        ...

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = LEVEL,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """Low and high at each point, each (M,).

        Args:
            mixture, params, tokens: as for `predict`.
            level: coverage, for instance 0.9.
            kind: `prediction` (a new run) or `confidence` (the mean of many).
            target: a column, or None for what `predict` gives.

        Raises:
            ConfigError: on another `kind`, or a target that was not fitted.
        """
        ...


def require_interval(kind: str, target: str | None, fitted: tuple[str, ...]) -> None:
    """Refuse an interval of another kind, or of a column that was not fitted.

    Raises:
        ConfigError: naming what there is.
    """
    if kind not in INTERVALS:
        raise ConfigError(f"an interval is {' or '.join(f'`{one}`' for one in INTERVALS)}, but got `{kind}`")
    if target is not None and target not in fitted:
        raise ConfigError(f"no target `{target}` was fitted", f"fitted: {', '.join(fitted)}")
