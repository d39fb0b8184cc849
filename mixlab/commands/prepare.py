"""`mixlab init` writes a study.yaml to edit; `mixlab prepare` turns its text into token shards."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mixlab.commands.options import json_option, print_json, say
from mixlab.corpus.build.prepare import prepare_corpus
from mixlab.corpus.build.report import read_cleaning, sample_lines, show
from mixlab.corpus.clean.steps import SAMPLES
from mixlab.study.folder import StudyFolder
from mixlab.units import format_quantity, format_seconds


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Build the shards again even where nothing changed.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: one per core).")
@click.option(
    "--on-bad-row",
    type=click.Choice(["error", "skip"]),
    help="Stop at a row that cannot be used, or skip and count it; for all domains.",
)
@click.option("--samples", type=click.IntRange(0, SAMPLES), default=0, help="Show so much of what every rule dropped.")
@json_option
def prepare(
    directory: Path, force: bool, workers: int | None, on_bad_row: str | None, samples: int, as_json: bool
) -> None:
    """Read, clean, split and tokenise the text of a study: DIR/corpus with shards and inventory.json.

    The same command goes on after an interruption. What the cleaning steps of study.yaml dropped is in
    DIR/corpus/cleaning.json.
    """
    folder = StudyFolder.open(directory)
    config = folder.config
    if on_bad_row is not None:
        domains = {
            name: domain.model_copy(update={"on_bad_row": on_bad_row}) for name, domain in config.domains.items()
        }
        config = config.model_copy(update={"domains": domains})
    start = time.perf_counter()
    with _Reading(len(config.domains)) as reading:
        inventory, built = prepare_corpus(folder, force, reading.advance, workers, config)
    seconds = time.perf_counter() - start
    if built:
        rate = reading.total / max(seconds, 1e-9)
        say(f"read {format_quantity(reading.total)}B of text in {format_seconds(seconds)} ({format_quantity(rate)}B/s)")
    else:
        say("up to date: the text and the settings are those of the last prepare; checksums agree")
    cleaning = read_cleaning(folder.corpus, samples)
    if as_json:
        print_json({"built": built, "seconds": seconds, **inventory.to_json(), "cleaning": cleaning})
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    show(console, inventory, cleaning, config.mixtures.max_epochs)
    for line in sample_lines(cleaning):
        click.echo(line)


class _Reading:
    """A progress line on stderr: the domain at work, text read and rate."""

    def __init__(self, domains: int) -> None:
        self.total = 0
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
        self.total += size
        if name not in self._names:
            self._names.append(name)
        rate = self.total / max(time.perf_counter() - self._start, 1e-9)
        text = f"{name}  {format_quantity(self.total)}B  {format_quantity(rate)}B/s"
        # Domain names are other people's text, so no markup is read in them.
        self._bar.update(self._task, description=text.replace("[", "\\["), completed=len(self._names) - 1)
