"""From a run table to what a law sees, and whether the rows can carry the law at all."""

from __future__ import annotations

import numpy as np

from mixlab.errors import FitError
from mixlab.laws.base import Array, Law, Observations
from mixlab.runs import RunTable

SPARE_ROWS = 3
VARIES = 1e-9


def observe(
    table: RunTable, columns: list[str], params_column: str | None
) -> tuple[Observations, dict[str, Array], Array, list[str]]:
    """The rows where all target columns are finite, as arrays; losses by column, FLOPs, and what to tell."""
    warnings = list(table.notes)
    losses = {name: table.column(name) for name in columns}
    whole = np.all([np.isfinite(loss) & (loss > 0) for loss in losses.values()], axis=0)
    if not whole.all():
        warnings.append(f"{int((~whole).sum())} rows without a finite, positive {' / '.join(columns)} are left out")
    if whole.sum() < 3:
        raise FitError(
            f"a fit needs rows with a finite loss in {', '.join(columns)}, but only {int(whole.sum())} have one",
            "add runs, or choose another --target",
        )
    if not whole.all():
        table = table.select(whole)
    has_size = table.has("params") or table.has("params_non_embed") or params_column is not None
    has_tokens = table.has("tokens")
    ones = np.ones(len(table))
    if has_size:
        column = table.params_column(params_column)
        params = table.params(column)
        if params_column is None and column != "params":
            warnings.append(f"N is read from `{column}`")
    else:
        params = ones
    tokens = table.tokens() if has_tokens else ones
    if has_size and has_tokens:
        if table.flops_source == "6ND":
            flops = 6.0 * params * tokens
            warnings.append("the table states no FLOPs: 6 N D is used")
        else:
            flops = table.flops()
    else:
        flops = ones
    _, run = np.unique(table.run_ids.astype(str), return_inverse=True)
    rows = Observations(
        mixture=table.mixtures(),
        params=params,
        tokens=tokens,
        unique=table.unique(),
        loss=ones,
        domains=table.domains,
        run=run.astype(np.int64),
    )
    return rows, {name: loss[whole] for name, loss in losses.items()}, flops, warnings


def varying(rows: Observations) -> frozenset[str]:
    """Which of params, tokens and mixture take more than one value."""
    found = set()
    if np.ptp(np.log(rows.params)) > VARIES:
        found.add("params")
    if np.ptp(np.log(rows.tokens)) > VARIES:
        found.add("tokens")
    if rows.mixture.shape[1] and np.ptp(rows.mixture, axis=0).max() > VARIES:
        found.add("mixture")
    return frozenset(found)


def require_support(law: Law, rows: Observations) -> None:
    """Refuse a fit that the rows cannot carry.

    Raises:
        FitError: too few rows or runs, a quantity that never varies, or mixtures that move along too few directions.
    """
    K = len(rows.domains)
    needed = law.size(K) + SPARE_ROWS
    if len(rows) < needed:
        raise FitError(
            f"the law `{law.name}` has {law.size(K)} parameters and needs at least {needed} rows, but got {len(rows)}",
            "add runs (more mixtures, sizes or budgets), or choose a law with fewer parameters",
        )
    words = {"params": "model sizes N", "tokens": "token counts D", "mixture": "mixtures"}
    missing = law.needs - varying(rows)
    if missing:
        which = " and ".join(words[name] for name in sorted(missing))
        raise FitError(
            f"the law `{law.name}` needs at least 3 different {which}, but all rows have the same",
            f"train runs at further {which}, or use --law auto",
        )
    for name, values in (("params", rows.params), ("tokens", rows.tokens)):
        distinct = len(np.unique(values))
        if name in law.needs and distinct < 3:
            raise FitError(
                f"the law `{law.name}` needs at least 3 different {words[name]}, but got {distinct}",
                f"train runs at further {words[name]}",
            )
    if "mixture" in law.needs:
        distinct_mixtures = np.unique(rows.mixture.round(6), axis=0)
        rank = int(np.linalg.matrix_rank(distinct_mixtures - distinct_mixtures.mean(axis=0), tol=1e-3))
        if rank < K - 1:
            raise FitError(
                f"the {len(distinct_mixtures)} mixtures of {K} domains must vary in {K - 1} directions, "
                f"but vary in {rank}",
                "add mixtures that move each domain's weight by itself (a Dirichlet or Sobol design does)",
            )
