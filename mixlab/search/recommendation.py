"""What a recommendation says, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mixlab.errors import ConfigError


@dataclass(frozen=True)
class Recommendation:
    """What to train, and what to expect of it; the JSON of `mixlab recommend --json`.

    Attributes:
        flops: C.
        mixture, mixture_interval: weights and their 90% intervals by domain (empty without mixtures).
        params, tokens and their intervals: N and D.
        epochs: how often each domain is seen (absent where its supply is not known).
        loss: the objective: mean and 90% prediction interval, keys mean, low, high.
        losses: the same by target column's evaluation set.
        baselines: best_observed, proportional, uniform: their mixtures and losses, each at its own best size.
        law: who predicts.
        extrapolation: how far the answer lies from the runs.
        warnings: in words.
    """

    flops: float
    mixture: dict[str, float]
    mixture_interval: dict[str, tuple[float, float]]
    params: float
    params_interval: tuple[float, float]
    tokens: float
    tokens_interval: tuple[float, float]
    epochs: dict[str, float]
    loss: dict[str, float]
    losses: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, Any]]
    law: str
    extrapolation: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        intervals = {name: list(bounds) for name, bounds in self.mixture_interval.items()}
        sizes = {"params_interval": list(self.params_interval), "tokens_interval": list(self.tokens_interval)}
        return {**asdict(self), "mixture_interval": intervals, **sizes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recommendation:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: when a key is missing.
        """
        missing = [name for name in cls.__dataclass_fields__ if name not in data]
        if missing:
            raise ConfigError(f"not a recommendation: `{missing[0]}` is missing", "make one with `mixlab recommend`")
        values = {name: data[name] for name in cls.__dataclass_fields__}
        values["mixture_interval"] = {name: tuple(bounds) for name, bounds in data["mixture_interval"].items()}
        values["params_interval"] = tuple(data["params_interval"])
        values["tokens_interval"] = tuple(data["tokens_interval"])
        return cls(**values)
