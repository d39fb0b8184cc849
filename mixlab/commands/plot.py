"""`mixlab plot`: one figure of a table or a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import mixlab
from mixlab.commands.options.common import (
    QUANTITY,
    json_option,
    law_option,
    output_option,
    parse_pairs,
    print_json,
    runs_options,
    say,
)
from mixlab.commands.options.groups import GroupedCommand, question_options

KINDS = ("isoflop", "curve", "mixture", "backtest", "frontier", "domains", "task", "tradeoff")


@click.command(cls=GroupedCommand)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("runs", type=click.Path())
@output_option("File (.png, .svg or .pdf); default KIND.png.")
@click.option("--target", metavar="COL", help="Loss column (isoflop, curve, backtest), or acc.<task> (task).")
@click.option(
    "--flops", type=QUANTITY, help="Budget of the recommendation or prediction (not for isoflop and backtest)."
)
@click.option("--against", multiple=True, metavar="EVAL=W,...", help="The other objective (tradeoff).")
@law_option(default=None)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=10),
    default=100,
    show_default=True,
    help="Resamples, where a new answer is computed.",
)
@question_options
@runs_options
@json_option
def plot(
    kind: str,
    runs: str,
    output: Path | None,
    target: str | None,
    flops: float | None,
    against: tuple[str, ...],
    law: str | None,
    bootstrap: int,
    asking: dict[str, Any],
    reading: dict[str, Any],
    as_json: bool,
) -> int:
    """Draw one figure of RUNS."""
    path, notes = mixlab.plot(
        kind,
        runs,
        output,
        target=target,
        flops=flops,
        law=law,
        bootstrap=bootstrap,
        against=parse_pairs(against, "--against") or None,
        **asking,
        **reading,
    )
    for note in notes:
        say(f"note: {note}")
    print_json({"kind": kind, "file": str(path), "notes": notes}) if as_json else say(f"wrote {path}")
    return 0
