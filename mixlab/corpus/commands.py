"""`mixlab init` writes a study.yaml to edit; `mixlab prepare` turns its text into token shards."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mixlab.config import load_config
from mixlab.corpus.clean.steps import SAMPLES
from mixlab.corpus.prepare import prepare_corpus
from mixlab.corpus.report import read_cleaning, sample_lines, show
from mixlab.errors import ConfigError
from mixlab.folder import StudyFolder, write_atomic
from mixlab.options import json_option, print_json, say
from mixlab.units import format_quantity, format_seconds

_PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
_TEXT_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".md")
_OURS = {"corpus", "ledger", "checkpoints", "wandb"}

TEMPLATE = """\
# A mixlab study. Quantities may be written 1e12, 150K, 2.5T. Unknown keys are refused.
name: {name}
seed: 0

# One entry per domain: files, folders, globs (relative to this file) or URLs (s3://, hf://datasets/...). The long form,
# `web: {{paths: web/*.parquet, ...}}`, also takes
#   text_field: text         the field or column that holds the text
#   group_field: id-stem     documents of one group stay on one side of the split; `id-stem` is `id` up to its last "-"
#   on_bad_row: skip         leave out and count rows that cannot be used, instead of stopping
#   format: nanogpt          .bin files of ids (or `megatron`: .bin with .idx), made with corpus.tokenizer
#   cleaning: off            its own cleaning
domains:
{domains}

# Weights over the domains' validation losses; without it all domains count equally.
# objective: {{{objective}}}

corpus:
  tokenizer: byte            # byte, bpe, or the path of a tokenizer.json
  validation_fraction: 0.05  # share of the documents that is never trained on
  # vocab_size: 4096         # for bpe
  # max_bytes: 50M           # keep at most so much text per domain
  # cleaning: standard       # or single steps; without it exact copies are dropped and nothing else is touched
  # cleaning:
  #   preset: standard       # the keys below replace those of the preset
  #   languages: {{keep: [en]}}
  #   quality: {{preset: standard, min_words: 20}}
  #   words: {{paths: [blocked_words.txt]}}
  #   urls: {{paths: [blocked_domains.txt], field: url}}
  #   benchmarks: {{paths: [benchmarks/*.jsonl]}}
  #   near: off

mixtures:
  prior: proportional        # the mixture the design is drawn around: proportional, uniform or weights
  max_epochs: 4              # how often a domain may be repeated in one run

proxies:
  sizes: [50K, 100K, 200K]   # total parameters
  context: 256

sweep:
  budgets: [2.5e11, 5e11, 1e12]  # training FLOPs of every proxy
  mixtures: 24               # distinct mixtures of the first round
  replicates: 2              # seeds of the anchors: the measure of noise

target:
  flops: 1e13                # the big run's training FLOPs
  law: auto
"""


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "sources", metavar="FILE", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--force", is_flag=True, help="Replace a study.yaml that is there.")
@click.argument("more", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path, exists=True))
@json_option
def init(directory: Path, sources: tuple[Path, ...], more: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Write DIR/study.yaml to edit, one domain per file or folder.

    The domains are the files and folders given with --from, else those found in DIR (or DIR/texts).
    """
    target = directory / "study.yaml"
    if target.exists() and not force:
        raise ConfigError(f"{target} is there already", "edit it, or replace it with --force")
    found = [*sources, *more] or find_sources(directory)
    domains = name_domains(found)
    if len(domains) < 2:
        raise ConfigError(
            f"a study needs at least 2 domains, but {len(domains)} found in {directory}",
            "name files or folders of text: mixlab init DIR --from web.jsonl.gz --from code/",
        )
    write_study(directory, domains)
    if as_json:
        print_json({"study": str(target), "domains": {name: str(path) for name, path in domains.items()}})
        return
    say(f"wrote {target} with {len(domains)} domains: {', '.join(domains)}")
    say(f"next: look it over, then `mixlab prepare {directory}`")


def find_sources(directory: Path) -> list[Path]:
    """Text files and folders in DIR/texts where it exists, else in DIR; sorted."""
    top = directory / "texts" if (directory / "texts").is_dir() else directory
    if not top.is_dir():
        return []
    return [path for path in sorted(top.iterdir()) if _is_source(path)]


def _is_source(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return path.name not in _OURS
    return path.name != "README.md" and _PACKED.sub("", path.name.lower()).endswith(_TEXT_ENDINGS)


def name_domains(paths: Sequence[Path]) -> dict[str, Path]:
    """A domain per path, named after the file without its endings; equal names get a number."""
    domains: dict[str, Path] = {}
    for path in paths:
        base = path.resolve().name
        if not path.is_dir():
            base = Path(_PACKED.sub("", base)).stem
        name, number = base, 2
        while name in domains:
            name, number = f"{base}_{number}", number + 1
        domains[name] = path
    return domains


def write_study(directory: Path, domains: dict[str, Path]) -> Path:
    """Write a commented study.yaml, checked by reading it back before it takes its place."""
    root = directory.resolve()
    lines = [f"  {_quote(name)}: {_quote(_relative(path.resolve(), root))}" for name, path in domains.items()]
    first, second = list(domains)[:2]
    objective = f"{_quote(first)}: 0.5, {_quote(second)}: 0.5"
    text = TEMPLATE.format(name=_quote(root.name[:100] or "study"), domains="\n".join(lines), objective=objective)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, "study.yaml")
        draft.write_bytes(text.encode())
        load_config(draft)
    write_atomic(directory / "study.yaml", text.encode())
    return directory / "study.yaml"


def _relative(path: Path, root: Path) -> str:
    """Relative where the text lies in the study folder or beside it, so that both can be moved together."""
    relative = os.path.relpath(path, root)
    return relative if relative.count("..") <= 1 else str(path)


def _quote(text: str) -> str:
    """`text` as a YAML scalar that reads back as the same text."""
    if re.fullmatch(r"[A-Za-z][\w./-]*", text, re.ASCII) and text not in ("true", "false", "null"):
        return text
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000)).strip()


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
