"""`mixlab prepare`: the text of a study as token shards."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mixlab.commands.options import json_option, print_json, say
from mixlab.commands.prepare_tables import sample_lines, show_corpus
from mixlab.corpus.clean.cleaned import SAMPLES
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder
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
    folder = StudyFolder.open(directory)
    with _Reading(len(folder.config.domains)) as reading:
        prepared = prepare_corpus(folder, force=force, workers=workers, on_bad_row=on_bad_row, progress=reading.advance)
    if prepared.built:
        size, rate = format_quantity(prepared.bytes_read), format_quantity(prepared.bytes_per_second)
        say(f"read {size}B of text in {format_seconds(prepared.seconds)} ({rate}B/s)")
    else:
        say("up to date: neither the text nor the settings changed since the last prepare; checksums match")
    if as_json:
        print_json(prepared.to_json(samples))
        return
    cleaning = prepared.cleaning(samples)
    console = Console(width=None if sys.stdout.isatty() else 120)
    show_corpus(console, prepared.inventory, cleaning, folder.config.mixtures.max_epochs)
    for line in sample_lines(cleaning):
        click.echo(line)


class _Reading:
    """A progress line on stderr: the domain that is read, text read and rate."""

    def __init__(self, domains: int) -> None:
        self._read = 0
        self._start = time.perf_counter()
        self._names: list[str] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("reading", total=domains)

    def __enter__(self) -> _Reading:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def advance(self, name: str, size: int) -> None:
        self._read += size
        if name not in self._names:
            self._names.append(name)
        rate = self._read / max(time.perf_counter() - self._start, 1e-9)
        text = f"{name}  {format_quantity(self._read)}B  {format_quantity(rate)}B/s"
        # Domain names are other people's text, so no markup is read in them.
        self._bar.update(self._task, description=text.replace("[", "\\["), completed=len(self._names) - 1)
