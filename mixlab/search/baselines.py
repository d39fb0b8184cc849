"""The obvious alternatives that stand beside every recommendation: best observed, proportional, uniform."""

from __future__ import annotations

import numpy as np

from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.objective import Objective
from mixlab.runs.table import Runs

LARGEST_RUNS = 0.25  # in log C: runs this near the largest count as the largest


def baseline_mixtures(
    objective: Objective, space: MixtureSpace | None, observed: Runs | None
) -> tuple[dict[str, Mixture], list[str]]:
    """The baselines that this space and table know, by name, and why others are missing."""
    if space is None:
        return {}, []
    found, missing = {}, []
    if observed is not None:
        found["best_observed"] = best_observed(objective, observed)[0]
    for name, make in (("proportional", space.proportional), ("uniform", space.uniform)):
        try:
            found[name] = make()
        except (ConfigError, InfeasibleError) as error:
            missing.append(f"no {name} baseline: {error.message}")
    return found, missing


def best_observed(objective: Objective, observed: Runs) -> tuple[Mixture, int]:
    """The mixture that was best among the largest runs, and its row: no law at all."""
    values = objective.of({column: observed.column(column) for column in objective})
    log_c = np.log(observed.flops())
    whole = np.isfinite(values)
    largest = whole & (log_c >= log_c[whole].max() - LARGEST_RUNS)
    row = int(np.flatnonzero(largest)[np.argmin(values[largest])])
    return Mixture.from_array(observed.domains, observed.mixtures()[row]), row
