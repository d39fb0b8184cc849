"""What a recommendation says, and how it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixlab.errors import ConfigError
from mixlab.search.words import cost_in_words, decision_in_words, in_words
from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity
from mixlab.upward import resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

SAID = 0.005  # smaller weights are left out of sentences


@dataclass(frozen=True, repr=False)
class Recommendation(Shown):
    """What to train, and what to expect of it.

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
        objective: weights by loss column.
        made_from: digests of the runs and, in a study, of what study.yaml says of the target.
        asked: what was asked beyond the budget: keywords of `mixlab.recommend`.
        held: constraints and limits: how they read, the room that is left, and whether they bind.
        decision: how the mixture was decided: `expected_regret` and `noise` of one run, nats; the `home` mixture and
            whether the answer is `at_home`; mixtures that are `alike`; `evidence` by domain (data, prior, bound);
            `forecasts` against baselines: probability, gain with its middle 90%, effective compute. Empty where the
            law's optimum is the answer.
        costs: FLOPs of training, of serving and of the runs; of a named GPU also its hours, and dollars.
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
    objective: dict[str, float] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    held: list[dict[str, Any]] = field(default_factory=list)
    decision: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        size = f"{format_quantity(self.params)} parameters on {format_quantity(self.tokens)} tokens"
        mix = f" of {self._mix()}" if self.mixture else ""
        return f"<Recommendation at {format_flops(self.flops)} FLOPs: {size}{mix}; loss {self.loss['mean']:.4f}>"

    @property
    def notes(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def parts(self) -> Iterator[RenderableType]:
        """The answer in a sentence, the mixture, the size, and what the baselines come to."""
        size = f"{format_quantity(self.params)} parameters on {format_quantity(self.tokens)} tokens"
        loss = f"{self.loss['mean']:.4f} [{self.loss['low']:.4f}, {self.loss['high']:.4f}]"
        mix = f" of {self._mix()}" if self.mixture else ""
        yield (
            f"At {format_flops(self.flops)} FLOPs train {size}{mix}: predicted loss {loss} "
            f"(90% interval, law {self.law})."
        )
        if self.mixture:
            yield self._mixture_table()
        low, high = self.params_interval
        few, many = self.tokens_interval
        yield (
            f"N: {format_quantity(low)} to {format_quantity(high)}, D: {format_quantity(few)} to "
            f"{format_quantity(many)} (90%); C is {self.extrapolation['flops_ratio']:.3g} times the largest run's"
        )
        if self.held:
            yield f"Held to: {in_words(self.held)}"
        if "gpu" in self.costs or "serving" in self.costs:
            yield cost_in_words(self.costs)
        if self.baselines:
            yield self._baseline_table()
        if self.decision:
            yield decision_in_words(self.decision)
            if self.decision["forecasts"]:
                yield self._forecast_table()

    def _mix(self) -> str:
        """The mixture in words, the largest weight first."""
        weights = sorted(self.mixture.items(), key=lambda item: -item[1])
        return ", ".join(f"{100 * weight:.0f}% {name}" for name, weight in weights if weight >= SAID)

    def _mixture_table(self) -> RenderableType:
        held = self.decision.get("evidence", {})
        found = table(None, ("domain", "weight", "90% interval", *(["held by"] if held else []), "epochs"))
        for name, weight in sorted(self.mixture.items(), key=lambda item: -item[1]):
            low, high = self.mixture_interval[name]
            seen = f"{self.epochs[name]:.2f}" if name in self.epochs else "?"
            why = [held[name]] if held else []
            found.add_row(name, f"{weight:.3f}", f"{low:.3f} to {high:.3f}", *why, seen)
        return found

    def _baseline_table(self) -> RenderableType:
        found = table("predicted beside the baselines", ("mixture", "loss", "90% interval", "parameters"))
        rows = {"recommended": {"loss": self.loss, "params": self.params}, **self.baselines}
        for name, row in rows.items():
            loss = row["loss"]
            found.add_row(
                name.replace("_", " "),
                f"{loss['mean']:.4f}",
                f"{loss['low']:.4f} to {loss['high']:.4f}",
                format_quantity(row["params"]),
            )
        return found

    def _forecast_table(self) -> RenderableType:
        found = table("against the baselines", ("mixture", "worse with", "by, nats", "90% interval", "same loss at"))
        for name, one in self.decision["forecasts"].items():
            times = one["effective_compute"]
            found.add_row(
                name.replace("_", " "),
                f"{one['probability']:.0%}",
                f"{one['gain']:.4f}",
                f"{one['low']:.4f} to {one['high']:.4f}",
                "?" if times is None else f"{times:.2f} C",
            )
        return found

    def to_frame(self) -> pd.DataFrame:
        """A row per domain: weight, its interval, epochs, and the weights of the baselines."""
        rows = []
        for name, weight in sorted(self.mixture.items(), key=lambda item: -item[1]):
            low, high = self.mixture_interval[name]
            row = {"domain": name, "weight": weight, "low": low, "high": high, "epochs": self.epochs.get(name)}
            rows.append(row | {key: one["mixture"].get(name, 0.0) for key, one in self.baselines.items()})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab recommend --json`."""
        intervals = {name: list(bounds) for name, bounds in self.mixture_interval.items()}
        sizes = {"params_interval": list(self.params_interval), "tokens_interval": list(self.tokens_interval)}
        return {**asdict(self), "mixture_interval": intervals, **sizes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recommendation:
        """Read what `to_dict` wrote, now or in an earlier version.

        Raises:
            ConfigError: when a key is missing.
        """
        needed = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]
        missing = [name for name in needed if name not in data]
        if missing:
            raise ConfigError(f"not a recommendation: `{missing[0]}` is missing", "make one with `mixlab recommend`")
        values = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        values["mixture_interval"] = {name: tuple(bounds) for name, bounds in data["mixture_interval"].items()}
        values["params_interval"] = tuple(data["params_interval"])
        values["tokens_interval"] = tuple(data["tokens_interval"])
        return cls(**values)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mixture with its intervals, beside the baselines."""
        axes: Axes = resolve("analysis.plots.face:plot_mixture")(self, ax)
        return axes
