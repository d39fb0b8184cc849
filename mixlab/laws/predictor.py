"""What can be asked of anything that was fitted, whether to losses or to an accuracy."""

from __future__ import annotations

from typing import Protocol, Self

from numpy.typing import ArrayLike

from mixlab.arrays import Array


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
        level: float = 0.9,
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
