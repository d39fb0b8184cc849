"""What to train (`RunSpec`) and what came out (`RunRecord`): the contract between sweeps, executors and proxies.

Both are plain data with a JSON form. A spec's `run_id` is a hash of all that decides its result, so equal ids mean
equal runs on one machine. One run has one trunk and, at each of its token counts, a decay branch: a model in its own
right, evaluated with its learning rate at zero. A record therefore holds one `Point` per token count.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mixlab.errors import ConfigError
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.flops import training_flops
from mixlab.runs.shapes import ModelShape

SPEC_VERSION = 3


@dataclass(frozen=True)
class Recipe:
    """How a proxy is trained, all decided before it starts.

    Attributes:
        learning_rate: peak at the base width; what a parameter takes at another is the engine's to work out.
        batches: sequences in a batch, by step.
        warmup_steps: linear warmup from zero.
        decay_fraction: share of a branch's tokens over which the rate falls linearly to zero.
        weight_decay: decoupled, on matrices.
        beta1, beta2: AdamW's moments.
        clip_norm: the largest gradient norm.
    """

    learning_rate: float
    batches: Batches
    warmup_steps: int
    decay_fraction: float = 0.2
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        return cls(**{**data, "batches": Batches.of_stages(data["batches"]["stages"])})


@dataclass(frozen=True)
class RunSpec:
    """One run to make: a trunk and its decay branches.

    Attributes:
        mixture: target weights.
        shape: the model.
        tokens: token counts D of the branches, ascending.
        seed: of the initial weights and of the order of the text.
        recipe: learning rate, batch and schedule.
        corpus: fingerprint of the prepared corpus (`Inventory.fingerprint`).
        eval_tokens: validation tokens per domain.
        pools: (domain, tokens) for each domain of which the run may read so much alone, again and again; of the others
            it may read all.
    """

    mixture: Mixture
    shape: ModelShape
    tokens: tuple[int, ...]
    seed: int
    recipe: Recipe
    corpus: str
    eval_tokens: int
    pools: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.tokens or list(self.tokens) != sorted(set(self.tokens)) or self.tokens[0] < 1:
            raise ConfigError(f"a run's token counts must be positive and ascending, but got {self.tokens}")

    @property
    def run_id(self) -> str:
        """16 hex digits of the SHA-256 of the spec's JSON."""
        return _digest(self._hashed())

    @property
    def trunk_id(self) -> str:
        """16 hex digits common to runs that differ in their token counts alone, and so in how long batches grow."""
        about = self._hashed()
        del about["tokens"], about["recipe"]["batches"]
        return _digest(about)

    @property
    def stack_key(self) -> Hashable:
        """Equal for runs that can be trained together: all but mixture, pools, seed and learning rate."""
        return self.shape, self.tokens, self.eval_tokens, replace(self.recipe, learning_rate=0.0)

    def steps(self, tokens: float) -> int:
        """Optimizer steps of the branch at `tokens` (the nearest whole number of batches, at least 1)."""
        return self.recipe.batches.steps(tokens / self.shape.context)

    def trunk_steps(self, tokens: float) -> int:
        """Steps of the trunk before the branch at `tokens` leaves it, to decay for at least one step."""
        stable = self.recipe.batches.steps((1 - self.recipe.decay_fraction) * tokens / self.shape.context)
        return min(stable, self.steps(tokens) - 1)

    def tokens_after(self, steps: int) -> int:
        """Tokens in the first `steps` batches."""
        return self.recipe.batches.sequences(steps) * self.shape.context

    def batch_tokens(self, step: int) -> int:
        """Tokens in the batch of `step` (from 0)."""
        return self.recipe.batches.size(step) * self.shape.context

    @property
    def trained_tokens(self) -> int:
        """Tokens that this run really processes: the trunk up to its last branch, and every branch's decay."""
        return self.tokens_left(0, 0)

    def tokens_left(self, step: int, branches: int) -> int:
        """Tokens still to process with `step` steps of the trunk done and the first `branches` branches made."""
        rest = self.tokens[branches:]
        whole = [self.tokens_after(self.steps(d)) for d in rest]
        trunk = [self.tokens_after(self.trunk_steps(d)) for d in rest]
        return max(trunk) - self.tokens_after(step) + sum(w - t for w, t in zip(whole, trunk, strict=True))

    @property
    def flops(self) -> float:
        """FLOPs that this run really costs, the shared trunk counted once, evaluation left out."""
        return training_flops(self.shape, self.trained_tokens)

    def _hashed(self) -> dict[str, Any]:
        # Version 3 has a place for a second mixture, which was always empty: ids that are in use depend on it.
        return {"version": SPEC_VERSION, "anneal": None, **self.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["mixture"] = dict(self.mixture)
        data["shape"] = self.shape.to_dict()
        data["tokens"] = list(self.tokens)
        if not self.pools:  # as it was written before there were any
            del data["pools"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        return cls(
            mixture=Mixture(data["mixture"]),
            shape=ModelShape(**data["shape"]),
            tokens=tuple(data["tokens"]),
            seed=data["seed"],
            recipe=Recipe.from_dict(data["recipe"]),
            corpus=data["corpus"],
            eval_tokens=data["eval_tokens"],
            pools=tuple((name, tokens) for name, tokens in data.get("pools", ())),
        )


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Point:
    """One finished model: a branch, decayed to zero at `tokens`.

    Attributes:
        tokens: tokens it was trained on, whole batches.
        flops: what training it alone would cost (trunk and decay).
        losses: validation loss by domain, nats per token.
        bits_per_byte: the same text in bits per byte.
        errors: standard error of each loss over its validation sequences.
        realised: training tokens by domain.
    """

    tokens: int
    flops: float
    losses: dict[str, float]
    bits_per_byte: dict[str, float]
    errors: dict[str, float]
    realised: dict[str, int]


@dataclass(frozen=True)
class RunRecord:
    """What came out of a run.

    Attributes:
        spec: what was asked.
        status: `done`, `diverged` (a loss that is not finite) or `failed` (with `error`).
        points: one per token count, ascending; fewer where the run diverged.
        wall_seconds: time on the worker.
        attempts: how often it was started.
        device: where it ran.
        peak_flops: FLOP/s of large matrix products there, at the precision that was trained with; 0 where not measured.
        error: the last error's text.
        environment: what it was trained with: versions, engine, precision, and what the engine says of itself.
    """

    spec: RunSpec
    status: str
    points: tuple[Point, ...] = ()
    wall_seconds: float = 0.0
    attempts: int = 1
    device: str = "cpu"
    peak_flops: float = 0.0
    error: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    @property
    def flops_per_second(self) -> float:
        """Training FLOPs by the time on the worker, evaluation and checkpoints included in that; NaN if not done."""
        return self.spec.flops / self.wall_seconds if self.status == "done" and self.wall_seconds else math.nan

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation: the share of `peak_flops` that was used; NaN where either is not known."""
        return self.flops_per_second / self.peak_flops if self.peak_flops else math.nan

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["spec"] = self.spec.to_dict()
        data["run_id"] = self.run_id
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunRecord:
        return cls(
            spec=RunSpec.from_dict(data["spec"]),
            status=data["status"],
            points=tuple(Point(**point) for point in data["points"]),
            wall_seconds=data["wall_seconds"],
            attempts=data["attempts"],
            device=data["device"],
            peak_flops=data.get("peak_flops", 0.0),
            error=data["error"],
            environment=dict(data["environment"]),
        )
