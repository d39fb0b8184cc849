"""`mixlab prepare`: the text of a study as token shards."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

import mixlab
from mixlab.commands.options.common import json_option, print_json, say
from mixlab.corpus.clean.cleaned import SAMPLES
from mixlab.units import format_quantity, format_seconds


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Build the shards again even if nothing changed.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: one per core).")
@click.option(
    "--on-bad-row",
    type=click.Choice(["error", "skip"]),
    help="In all domains, stop at a row that cannot be used, or skip it and count it.",
)
@click.option(
    "--samples", type=click.IntRange(0, SAMPLES), default=0, help="Number of samples to show per rule.", metavar="N"
)
@json_option
def prepare(
    directory: Path,
    force: bool,
    workers: int | None,
    on_bad_row: Literal["error", "skip"] | None,
    samples: int,
    as_json: bool,
) -> None:
    """Read, clean, split and tokenise the text of a study.

    Writes the shards, inventory.json and cleaning.json (what every cleaning step dropped and changed) to DIR/corpus.
    If it is interrupted, run the same command again: it continues where it stopped.
    """
    prepared = replace(
        mixlab.open_study(directory).prepare(force=force, workers=workers, on_bad_row=on_bad_row), samples=samples
    )
    if prepared.built:
        size, rate = format_quantity(prepared.bytes_read), format_quantity(prepared.bytes_per_second)
        say(f"read {size}B of text in {format_seconds(prepared.seconds)} ({rate}B/s)")
    else:
        say("up to date: neither the text nor the settings changed since the last prepare; checksums match")
    if as_json:
        print_json(prepared.to_dict())
        return
    prepared.show(Console(width=None if sys.stdout.isatty() else 120))
    for line in prepared.sample_lines():
        click.echo(line)
