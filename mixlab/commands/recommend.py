"""`mixlab recommend`: what to train at a budget, or at several."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

import mixlab
from mixlab.api.keep import keep_in_study
from mixlab.commands.options.common import (
    QUANTITIES,
    QUANTITY,
    json_option,
    law_option,
    output_option,
    parse_pairs,
    print_result,
    runs_options,
)
from mixlab.commands.options.groups import GroupedCommand, GroupedOption, question_options
from mixlab.errors import ConfigError
from mixlab.files import write_json

budget = partial(click.option, cls=GroupedOption, heading="Budget")


@click.command(cls=GroupedCommand)
@click.argument("runs", type=click.Path())
@budget("--flops", type=QUANTITIES, help="C, or several with commas (default: the study's target).")
@budget("--dollars", type=QUANTITIES, help="The same in dollars; needs --gpu and --price.")
@budget("--gpu-hours", type=QUANTITIES, help="The same in GPU hours; needs --gpu.")
@budget("--reach-loss", type=QUANTITY, help="The least budget that reaches this loss.")
@click.option("--against", multiple=True, metavar="EVAL=W,...", help="Trade the objective off against this one.")
@question_options
@click.option("--objective", multiple=True, metavar="EVAL=W,...", help="Weights over evaluation sets.")
@click.option("--fixed-mix", multiple=True, metavar="D=W,...", help="Keep this mixture and search only the size.")
@law_option(default=None)
@click.option("--bootstrap", type=click.IntRange(min=20), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, help="Seed of resamples and starts (default: the study's, else 0).")
@runs_options
@output_option()
@json_option
def recommend(
    runs: str,
    flops: tuple[float, ...] | None,
    dollars: tuple[float, ...] | None,
    gpu_hours: tuple[float, ...] | None,
    reach_loss: float | None,
    against: tuple[str, ...],
    asking: dict[str, Any],
    objective: tuple[str, ...],
    fixed_mix: tuple[str, ...],
    law: str | None,
    bootstrap: int,
    seed: int | None,
    reading: dict[str, Any],
    output: Path | None,
    as_json: bool,
) -> int:
    """The mixture, model size and tokens that are best at a budget, by the law that transfers best on RUNS.

    RUNS is a CSV or Parquet table, or a study's folder, whose recommendation.json is then written. Several budgets give
    one table with a row each, and --against a table of mixtures between two objectives; neither is kept in the study.
    """
    budgets: dict[str, Any] = {"flops": flops, "dollars": dollars, "gpu_hours": gpu_hours}
    several = any(given is not None and len(given) > 1 for given in budgets.values())
    if several and reach_loss is not None:
        raise ConfigError("a loss to reach has one budget, but several are given", "leave --reach-loss out")
    fitted = mixlab.fit(
        runs,
        targets=parse_pairs(objective, "--objective") or None,
        law=law,
        **{name: asking.get(name) for name in ("supply", "min", "max", "max_epochs", "max_domains")},
        constraints=asking.get("constraints", ()),
        bootstrap=bootstrap,
        parameter_draws=0,
        seed=seed,
        **reading,
    )
    if mix := parse_pairs(fixed_mix, "--fixed-mix"):
        asking["mix"] = mix
    result: Any
    if against:
        if several or reach_loss is not None or budgets["dollars"] or budgets["gpu_hours"]:
            raise ConfigError("a trade-off is at one budget in FLOPs", "give one --flops")
        result = mixlab.trade_off(fitted, parse_pairs(against, "--against"), flops[0] if flops else None, **asking)
    elif several:
        result = mixlab.frontier(fitted, **budgets, **asking)
    else:
        single: dict[str, Any] = {name: given[0] for name, given in budgets.items() if given is not None}
        result = mixlab.recommend(fitted, reach_loss=reach_loss, **single, **asking)
        keep_in_study(runs, "recommendation", result)
    if output is not None:
        write_json(output, result.to_dict())
    print_result(result, as_json)
    return 0
