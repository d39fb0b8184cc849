"""`mixlab report`: one page about a table or a study."""

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
    print_json,
    runs_options,
    say,
)
from mixlab.commands.options.groups import GroupedCommand, question_options


@click.command(cls=GroupedCommand)
@click.argument("runs", type=click.Path())
@output_option("Default: report.html, in the study's folder.")
@click.option("--flops", type=QUANTITY, help="Budget of the recommendation.")
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
def report(
    runs: str,
    output: Path | None,
    flops: float | None,
    law: str | None,
    bootstrap: int,
    asking: dict[str, Any],
    reading: dict[str, Any],
    as_json: bool,
) -> int:
    """Write one self-contained HTML page about RUNS."""
    path, notes = mixlab.report(runs, output, flops=flops, law=law, bootstrap=bootstrap, **asking, **reading)
    for note in notes:
        say(f"note: {note}")
    print_json({"file": str(path), "notes": notes}) if as_json else say(f"wrote {path}")
    return 0
