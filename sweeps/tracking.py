"""Logging runs to Weights & Biases beside the ledger: off unless asked for, offline without an account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from mixlab.errors import ConfigError, SweepError
from mixlab.objective import Objective
from mixlab.runs.specs import RunRecord
from mixlab.study.config import TrackingConfig


class Tracker(Protocol):
    """Receives every finished run once."""

    def log(self, record: RunRecord, objective: Objective) -> None: ...


class NoTracker:
    """Tracks nothing."""

    def log(self, record: RunRecord, objective: Objective) -> None:
        """Do nothing: the ledger has it all."""


class WandbTracker:
    """One wandb run per proxy, grouped by study; each point is a step."""

    def __init__(self, config: TrackingConfig, study: str, root: Path) -> None:
        import wandb

        # wandb moves silently to a temporary folder when it cannot write where it is told to.
        if not os.access(root, os.W_OK):
            raise SweepError(
                f"cannot write wandb files in {root}", "permit writing there, or set tracking.wandb: disabled"
            )
        if config.wandb == "online" and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
            raise ConfigError("tracking.wandb is online, but no account is set up", "run `wandb login`, or use offline")
        self._wandb, self._config, self._study, self._root = wandb, config, study, root
        self._settings = wandb.Settings(
            mode=config.wandb, console="off", disable_git=True, disable_code=True, x_disable_stats=True, silent=True
        )

    def log(self, record: RunRecord, objective: Objective) -> None:
        spec = record.spec
        about: dict[str, Any] = {
            **spec.to_dict(),
            "params": spec.shape.params,
            "status": record.status,
            "wall_seconds": record.wall_seconds,
        }
        with self._wandb.init(
            project=self._config.project,
            group=self._study,
            name=f"{spec.shape.label}-{record.run_id[:8]}",
            id=record.run_id,
            dir=self._root,
            config=about,
            settings=self._settings,
            reinit="finish_previous",
        ) as run:
            for point in record.points:
                values = {f"loss.{name}": loss for name, loss in point.losses.items()}
                values["loss"] = objective.of_evals(point.losses)
                run.log({**values, "tokens": point.tokens, "flops": point.flops})


def make_tracker(config: TrackingConfig, study: str, root: Path) -> Tracker:
    """The tracker that the study asks for; wandb is imported only when it is used."""
    return NoTracker() if config.wandb == "disabled" else WandbTracker(config, study, root)
