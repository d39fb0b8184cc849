"""`mixlab.backtest`: a law fitted without some rows, and how well it predicts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.backtest.backtest import Backtest, default_targets, matching_targets, run_backtest
from analysis.backtest.holdout import Holdout, split_holdout
from mixlab.api import given
from mixlab.errors import ConfigError
from mixlab.runs.read import ColumnMap, RunsLike, read_runs


def backtest(
    runs: RunsLike,
    holdout: str | None = None,
    *,
    against: RunsLike | None = None,
    target: str | Sequence[str] = (),
    law: str = "auto",
    where: str | None = None,
    columns: ColumnMap | None = None,
    scale: Mapping[str, float | str] | None = None,
    mixture: str | None = None,
    continue_runs: bool = False,
    baselines: bool = True,
    bootstrap: int = 200,
    seed: int = 0,
) -> Backtest:
    """Fit some runs, predict others, and compare with the obvious baselines.

    Args:
        runs, where, columns, scale, mixture: see `mixlab.read_runs`; they hold for `against` too.
        holdout: the condition of the rows to predict, such as "flops > 1e18".
        against: another table, whose rows are predicted.
        target: columns or patterns such as `loss.*`; an evaluation set needs no `loss.` before it.
        law: a law by name, `auto`, or `two-step` for an accuracy.
        continue_runs: runs may have rows on both sides: their later points are predicted.
        baselines: also try the other laws, the best of the largest runs, and the mean.
        bootstrap: resamples of the curve of `two-step`.
        seed: of the resamples.

    Raises:
        ConfigError: unless there is one of `holdout` and `against`.
        RunTableError: when a column is missing, or a side has no rows.
        FitError: when the rows cannot carry the law.
    """
    if (holdout is None) == (against is None):
        raise ConfigError("a backtest needs one of `holdout` and `against`", "for instance the holdout `flops > 1e18`")
    if continue_runs and holdout is None:
        raise ConfigError("`continue_runs` goes with `holdout`; two tables are two sets of runs")
    table = read_runs(runs, columns=columns, scale=scale, mixture=mixture, where=where)
    if against is not None:
        split = Holdout(table, read_runs(against, columns=columns, scale=scale, mixture=mixture, where=where))
    else:
        split = split_holdout(table, str(holdout), continue_runs=continue_runs)
    bootstrap, seed = given.count(bootstrap, "bootstrap"), given.count(seed, "seed")
    asked = [target] if isinstance(target, str) else list(target)
    named = [given.column(table, name) if table.has(f"loss.{name}") else name for name in asked]
    wanted = matching_targets(table, named) if named else default_targets(table)
    return run_backtest(split, wanted, law=law, bootstrap=bootstrap, seed=seed, baselines=baselines)
