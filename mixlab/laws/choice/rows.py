"""From a run table to what a law sees, and whether the rows can carry the law at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mixlab.arrays import Array
from mixlab.errors import FitError, RunTableError, argument
from mixlab.laws.forms.base import Law
from mixlab.laws.forms.points import Observations
from mixlab.objective import Objective
from mixlab.runs.table import Runs

SPARE_ROWS = 3  # beyond one for each parameter
MIN_ROWS = 3
MIN_VALUES = 3  # of N, or of D: two say nothing about an exponent beside a floor
VARIES = 1e-9  # range of a logarithm or a share from which on it is more than rounding
FULL_RANK = 1e-3  # singular value of centred mixtures from which on they move in a direction
TOGETHER = 0.995  # correlation of log N and log D from which on one says all about the other
MIXTURE_DISTANCE = 0.008  # below the distance that designs keep between mixtures
REPEATS = 0.05  # share of a row's tokens seen before: what fewer repeats can do to a loss is lost in its noise


@dataclass(frozen=True)
class Data:
    """A run table as laws see it, with several targets.

    Attributes:
        rows: every row where some target was measured; their `loss` is 1.
        losses: by target column, shape (n,), NaN where it was not measured.
        objective: weight of each target.
        flops: C, shape (n,); ones where the table has no scale.
        warnings: what was assumed or left out, in words.
    """

    rows: Observations
    losses: dict[str, Array]
    objective: Objective
    flops: Array
    warnings: list[str]

    def measured(self, target: str) -> NDArray[np.bool_]:
        """Rows where the target was measured, shape (n,)."""
        return np.isfinite(self.losses[target])

    def of(self, target: str) -> Observations:
        """The rows where the target was measured, with its loss."""
        here = self.measured(target)
        return self.rows.with_loss(self.losses[target]).select(here)

    @property
    def scales(self) -> dict[str, Array]:
        """What a run may be larger in than those fitted, by row, each (n,): C, N and epochs."""
        return {"compute": self.flops, "params": self.rows.params, "epochs": self.rows.epochs}

    @property
    def total(self) -> Array:
        """The objective by row, shape (n,), NaN where one of its targets is missing."""
        return self.objective.of(self.losses)


def observe(table: Runs, objective: Objective, params_column: str | None = None) -> Data:
    """The rows of a table as arrays: each target keeps the rows where it was measured, whatever the others lack.

    Raises:
        FitError: when a target was measured in fewer than 3 rows, or is the same in all.
        RunTableError: when a column is missing, or a loss is not positive.
    """
    warnings = list(table.notes)
    losses = {name: _positive_or_missing(table, name) for name in objective}
    for name, loss in losses.items():
        count = int(np.isfinite(loss).sum())
        if count < MIN_ROWS:
            raise FitError(
                f"a fit needs at least {MIN_ROWS} rows with a finite `{name}`, but {count} have one",
                "add runs, or choose another target",
            )
        if np.nanmin(loss) == np.nanmax(loss):
            raise FitError(
                f"`{name}` is {np.nanmin(loss):g} in all {count} rows that have it: there is nothing to learn from",
                "check the column, or choose another target",
            )
        if count < len(table):
            warnings.append(f"`{name}` is missing in {len(table) - count} rows: it is fitted to the other {count}")
    some = np.any([np.isfinite(loss) for loss in losses.values()], axis=0)
    if not some.all():
        table = table.select(some)
        losses = {name: loss[some] for name, loss in losses.items()}
    has_size = table.has("params") or table.has("params_non_embed") or params_column is not None
    ones = np.ones(len(table))
    params, tokens, flops = ones, ones, ones
    if has_size:
        column = table.params_column(params_column)
        params = table.params(column)
        if params_column is None and column != "params":
            warnings.append(f"N is read from `{column}`")
    if table.has("tokens"):
        tokens = table.tokens()
    if has_size and table.has("tokens"):
        if table.flops_source == "6ND":
            flops = 6.0 * params * tokens
            warnings.append("the table states no FLOPs: 6 N D is used")
        else:
            flops = table.flops()
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
    return Data(rows, losses, objective, flops, warnings)


def _positive_or_missing(table: Runs, name: str) -> Array:
    loss = table.column(name)
    bad = (loss <= 0) | np.isinf(loss)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise RunTableError(
            f"a loss must be finite and positive, but row {row + 1} has `{name}` {loss[row]}",
            "leave a loss that was not measured empty, or leave the row out by `where`",
        )
    return loss


def varying(rows: Observations) -> frozenset[str]:
    """Which of params, tokens, mixture and epochs take more than one value.

    Epochs vary where text is repeated, and more often in some runs of a mixture than in others.
    """
    found = set()
    if np.ptp(np.log(rows.params)) > VARIES:
        found.add("params")
    if np.ptp(np.log(rows.tokens)) > VARIES:
        found.add("tokens")
    if rows.mixture.shape[1] and np.ptp(rows.mixture, axis=0).max() > VARIES:
        found.add("mixture")
    if rows.repeated.max() > REPEATS and np.ptp(rows.tokens[:, None] / rows.unique, axis=0).max() > VARIES:
        found.add("epochs")
    return frozenset(found)


def apart(rows: Observations) -> bool:
    """Whether N and D vary apart from each other, so that the rows say how to split a budget between them."""
    if min(np.ptp(rows.x), np.ptp(rows.y)) <= VARIES:
        return False
    return bool(abs(np.corrcoef(rows.x, rows.y)[0, 1]) < TOGETHER)


def groups_of_mixtures(mixture: Array) -> NDArray[np.int64]:
    """Index of each row's mixture, shape (n,).

    Realised shares of one mixture differ a little between budgets, so mixtures closer than `MIXTURE_DISTANCE` (L2) are
    one, and so are mixtures that a chain of such neighbours connects.
    """
    if mixture.shape[1] == 0:
        return np.zeros(len(mixture), dtype=np.int64)
    pairs = cKDTree(mixture).query_pairs(MIXTURE_DISTANCE, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(mixture), len(mixture)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def states_supply(rows: Observations) -> bool:
    """Whether the unique tokens of some text are known."""
    return bool(np.isfinite(rows.unique).any())


def require_support(law: Law, rows: Observations) -> None:
    """Refuse a fit that the rows cannot carry; a baseline is carried by any rows that outnumber its parameters.

    Raises:
        FitError: too few rows, a quantity that never varies or is not stated, or mixtures that move along too
            few directions.
    """
    K = len(rows.domains)
    parameters = law.free(rows)
    needed = parameters + SPARE_ROWS
    if len(rows) < needed:
        raise FitError(
            f"the law `{law.name}` has {parameters} parameters and needs at least {needed} rows, but got {len(rows)}",
            "add runs (more mixtures, sizes or budgets), or choose a law with fewer parameters",
        )
    if "unique" in law.needs and not states_supply(rows):
        columns = "the columns `unique.<domain>`" if K else "the column `unique_tokens`"
        raise FitError(
            f"the law `{law.name}` needs to know how many unique tokens there are, but the table does not say",
            f"add {columns}, state the supply, {argument('supply', '--unique')}, or use the law `auto`",
        )
    words = {"params": "model sizes N", "tokens": "token counts D", "mixture": "mixtures"}
    missing = law.needs & words.keys() - varying(rows)
    if missing:
        which = " and ".join(words[name] for name in sorted(missing))
        raise FitError(
            f"the law `{law.name}` needs at least {MIN_VALUES} different {which}, but all rows have the same",
            f"train runs at further {which}, or use the law `auto`",
        )
    if law.baseline:
        return
    present = varying(rows)
    for name, values in (("params", rows.params), ("tokens", rows.tokens)):
        distinct = len(np.unique(values))
        if name in law.takes & present and distinct < MIN_VALUES:
            raise FitError(
                f"the law `{law.name}` needs at least {MIN_VALUES} different {words[name]}, but got {distinct}",
                f"train runs at further {words[name]}",
            )
    if "mixture" in law.takes and K:
        distinct_mixtures = np.unique(rows.mixture.round(6), axis=0)
        rank = int(np.linalg.matrix_rank(distinct_mixtures - distinct_mixtures.mean(axis=0), tol=FULL_RANK))
        if rank < K - 1:
            still = [rows.domains[k] for k in np.flatnonzero(np.ptp(distinct_mixtures, axis=0) == 0)]
            raise FitError(
                f"the {len(distinct_mixtures)} mixtures of {K} domains must vary in {K - 1} directions, "
                f"but vary in {rank}",
                f"the weight of {', '.join(still)} never varies: vary it, or leave its column out where it is 0"
                if still
                else "add mixtures that move each domain's weight by itself (a Dirichlet or Sobol design does)",
            )
