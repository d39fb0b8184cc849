"""What a verification came to: measured beside predicted, and the candidates beside each other, with the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from mixlab.errors import ConfigError
from mixlab.mixture import Mixture
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunRecord
from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity
from sweeps.course import objective_loss
from sweeps.proof import RECOMMENDED, Proof

if TYPE_CHECKING:
    from rich.console import RenderableType

CONFIDENCE = 0.95  # of the noise floor


@dataclass(frozen=True)
class Contender:
    """One mixture that was trained.

    Attributes:
        mixture: its weights.
        predicted: the law's mean and 90% prediction interval, keys mean, low, high.
        measured: the objective by seed.
        mean: of `measured`.
        losses: mean loss by evaluation domain.
    """

    mixture: dict[str, float]
    predicted: dict[str, float]
    measured: list[float]
    mean: float
    losses: dict[str, float]

    @property
    def held(self) -> bool:
        """Whether the mean lies in the predicted interval."""
        return self.predicted["low"] <= self.mean <= self.predicted["high"]


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """What the proof came to.

    Attributes:
        flops, params, tokens: of every run, as trained.
        recommended: flops, params and tokens as recommended.
        law: who predicted.
        noise_floor: the smallest difference of two means that counts (95%, see `noise_floor_of`).
        candidates: recommended, uniform, proportional, best_observed, and the user's own.
        interval_held: whether the recommended mixture's mean lies in its predicted interval.
        winner: the candidate with the lowest mean.
        beats: by other candidate, its mean minus the recommended one's, and whether that is beyond the noise floor.
        forecast_scored: `intervals`, by candidate the predicted and the measured mean and whether the interval held;
            `orders`, by other candidate the predicted and the measured difference to the recommended one, whether the
            predicted order held (None where what was measured is within the noise), and where the recommendation
            stated a probability of being better, that and its Brier score, (probability - outcome)^2.
        verdict: all this in a sentence.
        made_from: digests of the runs that were fitted and of what study.yaml says of the target.
        warnings: in words.
    """

    flops: float
    params: int
    tokens: int
    recommended: dict[str, float]
    law: str
    noise_floor: float
    candidates: dict[str, Contender]
    interval_held: bool
    winner: str
    beats: dict[str, dict[str, Any]]
    forecast_scored: dict[str, dict[str, dict[str, Any]]]
    verdict: str
    made_from: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Verification at {format_flops(self.flops)} FLOPs: {self.verdict}>"

    @property
    def notes(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def parts(self) -> Iterator[RenderableType]:
        """The candidates, best first, N and D as trained and as recommended, and the verdict."""
        seeds = len(next(iter(self.candidates.values())).measured)
        found = table(
            f"{format_flops(self.flops)} FLOPs: {format_quantity(self.params)} parameters, "
            f"{format_quantity(self.tokens)} tokens",
            ("mixture", "measured", f"sd of {seeds} seeds", "predicted", "90% interval"),
        )
        for name, candidate in self._ranked():
            found.add_row(
                name.replace("_", " "),
                f"{candidate.mean:.4f}",
                f"{stdev(candidate.measured):.4f}",
                f"{candidate.predicted['mean']:.4f}",
                f"{candidate.predicted['low']:.4f} to {candidate.predicted['high']:.4f}",
            )
        yield found
        params, tokens = self.recommended["params"], self.recommended["tokens"]
        yield (
            f"Recommended: {format_quantity(params)} parameters, {format_quantity(tokens)} tokens; trained: "
            f"{format_quantity(self.params)} ({_percent(self.params / params)}), "
            f"{format_quantity(self.tokens)} ({_percent(self.tokens / tokens)})."
        )
        yield self.verdict

    def to_frame(self) -> pd.DataFrame:
        """A row per candidate, best first: measured and predicted loss, and the difference to the recommended one."""
        rows = []
        for name, one in self._ranked():
            difference = self.beats[name]["difference"] if name in self.beats else 0.0
            row = {
                "candidate": name,
                "measured": one.mean,
                "sd": stdev(one.measured),
                "predicted": one.predicted["mean"],
            }
            rows.append(row | {"low": one.predicted["low"], "high": one.predicted["high"], "difference": difference})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab verify --json`, which is also kept in verification.json."""
        return asdict(self)

    def _ranked(self) -> list[tuple[str, Contender]]:
        return sorted(self.candidates.items(), key=lambda item: item[1].mean)


def judge(proof: Proof, records: Mapping[str, Sequence[RunRecord]]) -> Verification:
    """Compare what was measured with what was predicted, and the candidates with each other.

    Args:
        proof: what was to be trained.
        records: by candidate, one per seed.

    Raises:
        ConfigError: when a run did not finish.
    """
    candidates = {name: _contender(proof, proof.mixtures[name], runs) for name, runs in records.items()}
    best = candidates[RECOMMENDED]
    others = {name: one for name, one in candidates.items() if name != RECOMMENDED}
    # Candidates with the same mixture share their runs, which count once.
    distinct = {proof.mixtures[name]: candidate.measured for name, candidate in candidates.items()}
    floor = noise_floor_of(list(distinct.values()))
    winner = min(candidates, key=lambda name: candidates[name].mean)
    beats = {
        name: {"difference": one.mean - best.mean, "beyond_noise": one.mean - best.mean > floor}
        for name, one in others.items()
    }
    tokens = next(iter(records[RECOMMENDED])).points[-1].tokens
    answer = proof.answer
    return Verification(
        flops=training_flops(proof.shape, tokens),
        params=proof.shape.params,
        tokens=tokens,
        recommended={"flops": answer.flops, "params": answer.params, "tokens": answer.tokens},
        law=proof.surface.law,
        noise_floor=floor,
        candidates=candidates,
        interval_held=best.held,
        winner=winner,
        beats=beats,
        forecast_scored={
            "intervals": {
                name: {"predicted": one.predicted["mean"], "measured": one.mean, "held": one.held}
                for name, one in candidates.items()
            },
            "orders": {
                name: score_order(best, one, floor)
                | score_probability(best, one, answer.decision.get("forecasts", {}).get(name))
                for name, one in others.items()
            },
        },
        verdict=verdict_of(best, winner, beats, floor),
        made_from=dict(proof.made_from),
        warnings=list(proof.notes),
    )


def score_order(best: Contender, other: Contender, floor: float) -> dict[str, Any]:
    """Whether it came as predicted that `other` is worse (or better) than the recommended mixture."""
    predicted, measured = other.predicted["mean"] - best.predicted["mean"], other.mean - best.mean
    held = None if abs(measured) <= floor else (predicted > 0) == (measured > 0)
    return {"predicted": predicted, "measured": measured, "held": held}


def score_probability(best: Contender, other: Contender, forecast: Mapping[str, Any] | None) -> dict[str, float]:
    """The stated probability that the recommended mixture is better, and its Brier score."""
    if forecast is None:
        return {}
    probability = float(forecast["probability"])
    return {"probability": probability, "brier": (probability - float(other.mean > best.mean)) ** 2}


def noise_floor_of(measured: Sequence[Sequence[float]]) -> float:
    """Half the width of the 95% interval of a difference of two means; losses by mixture (rows) and seed (columns).

    Runs of one seed share their initial weights and their order of text, so what a seed does to all of them cancels in
    a difference: the noise is what is left of the table beside its row and column means.
    """
    losses = np.array(measured)
    mixtures, seeds = losses.shape
    rest = losses - losses.mean(axis=1, keepdims=True) - losses.mean(axis=0, keepdims=True) + losses.mean()
    freedom = (mixtures - 1) * (seeds - 1)
    variance = float(np.sum(rest**2)) / freedom
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(2 * variance / seeds)


def verdict_of(best: Contender, winner: str, beats: Mapping[str, Mapping[str, Any]], floor: float) -> str:
    """The outcome in words: whether the interval held, whom the recommendation beat, and to whom it lost."""
    inside = "inside" if best.held else "OUTSIDE"
    prediction = f"{best.predicted['mean']:.4f} [{best.predicted['low']:.4f}, {best.predicted['high']:.4f}]"
    clear = [name for name, result in beats.items() if result["beyond_noise"]]
    close = [name for name, result in beats.items() if abs(result["difference"]) <= floor]
    lost = [name for name, result in beats.items() if result["difference"] < -floor]
    parts = [f"The recommended mixture measured {best.mean:.4f}, {inside} the predicted {prediction}."]
    if clear:
        parts.append(f"It beats {_join(clear)} by more than the noise floor of {floor:.4f}.")
    if close:
        noise = "that noise" if clear else f"the noise floor of {floor:.4f}"
        parts.append(f"It cannot be told apart from {_join(close)} within {noise}.")
    if lost:
        parts.append(f"It LOSES to {_join(lost)}; the best mixture measured is {_said(winner)}.")
    return " ".join(parts)


def _contender(proof: Proof, mixture: Mixture, runs: Sequence[RunRecord]) -> Contender:
    measured = [objective_loss(proof.plan, run) for run in runs]
    if not all(math.isfinite(loss) for loss in measured):
        broken = next(run for run, loss in zip(runs, measured, strict=True) if not math.isfinite(loss))
        raise ConfigError(
            f"every verification run must finish, but {broken.run_id} is {broken.status}: {broken.error or 'its loss'}",
            "run the same command again; lower proxies.learning_rate if it diverges each time",
        )
    # The law is asked about the tokens that were really trained: realised shares, whole batches.
    point = runs[0].points[-1]
    total = sum(point.realised.values())
    names = proof.surface.domains
    realised = np.array([point.realised.get(name, 0) / total for name in names])
    mean = float(proof.surface.predict(realised, proof.shape.params, point.tokens)[0])
    low, high = proof.surface.interval(realised, proof.shape.params, point.tokens)
    losses = {name: float(np.mean([run.points[-1].losses[name] for run in runs])) for name in point.losses}
    return Contender(
        mixture=dict(mixture),
        predicted={"mean": mean, "low": float(low[0]), "high": float(high[0])},
        measured=measured,
        mean=float(np.mean(measured)),
        losses=losses,
    )


def _percent(ratio: float) -> str:
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f}%"  # the sum makes -0.0 a 0.0


def _join(names: Sequence[str]) -> str:
    said = [_said(name) for name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _said(name: str) -> str:
    return name.replace("_", " ")
