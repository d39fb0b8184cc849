"""From records of runs to the run table: one row per finished point."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from mixlab.errors import RunTableError
from mixlab.objective import Objective
from mixlab.runs.specs import RunRecord
from mixlab.runs.table import Runs


def records_to_table(
    records: Iterable[RunRecord],
    objective: Objective,
    unique_tokens: Mapping[str, float],
    evaluation_only: Collection[str] = (),
) -> Runs:
    """One row per finished point, with realised mixture weights.

    Args:
        records: of any status; the points that a diverged run finished before are not used.
        objective: over the domains' losses; it is the column `loss`.
        unique_tokens: training tokens available by domain.
        evaluation_only: domains that no mixture may hold; they have no `mix.` column, unless a run was trained on them
            all the same.

    Raises:
        RunTableError: when no run has finished.
    """
    records = list(records)
    trained = {name for record in records for point in record.points for name, count in point.realised.items() if count}
    left_out = set(evaluation_only) - trained
    rows = []
    unfinished = 0
    for record in records:
        if record.status != "done":
            unfinished += 1
            continue
        spec = record.spec
        for point in record.points:
            total = sum(point.realised.values())
            supply = {**unique_tokens, **dict(spec.pools)}
            rows.append(
                {
                    "run_id": record.run_id,
                    "params": spec.shape.params,
                    "params_non_embed": spec.shape.params_non_embed,
                    "tokens": point.tokens,
                    "flops": point.flops,
                    **{f"mix.{name}": n / total for name, n in point.realised.items() if name not in left_out},
                    "loss": objective.of_evals(point.losses),
                    **{f"loss.{name}": value for name, value in point.losses.items()},
                    **{f"bpb.{name}": value for name, value in point.bits_per_byte.items()},
                    **{f"stderr.{name}": value for name, value in point.errors.items()},
                    **{f"unique.{name}": float(n) for name, n in supply.items() if name not in left_out},
                    "seed": spec.seed,
                    "learning_rate": spec.recipe.learning_rate,
                    "batch_tokens": spec.batch_tokens(spec.steps(point.tokens) - 1),
                    "depth": spec.shape.depth,
                    "width": spec.shape.width,
                    "status": record.status,
                    "wall_seconds": record.wall_seconds,
                    "flops_per_second": record.flops_per_second,
                    "mfu": record.mfu,
                }
            )
    if not rows:
        raise RunTableError(f"no run has finished ({unfinished} diverged or failed)", "see `mixlab status`")
    table = Runs.from_frame(pd.DataFrame(rows))
    return table.with_note(f"{unfinished} runs that diverged or failed are left out") if unfinished else table
