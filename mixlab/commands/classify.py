"""`mixlab classify`: topics and signals of a domain's documents, its inventory by topic, and the domain in parts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from mixlab.commands.options.common import json_option, print_json, say
from mixlab.commands.options.groups import GroupedCommand, GroupedOption, gather
from mixlab.corpus.classify.job import UNIFORM, ClassifierSpec, ClassifyJob, CutSpec
from mixlab.corpus.classify.run import Classification, classify
from mixlab.corpus.classify.split import plan_split, require_cut
from mixlab.corpus.classify.tables import show_classification, split_lines
from mixlab.corpus.read.texts import file_texts, study_texts
from mixlab.errors import ConfigError
from mixlab.study.folder import StudyFolder
from mixlab.units import format_quantity, format_seconds

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class ClustersType(click.ParamType[Any]):
    """A number of clusters from 2 on, or `auto`."""

    name = "K|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        if not str(value).isdecimal() or int(value) < 2:
            self.fail(f"takes auto or a number of at least 2, but got {value}", param, ctx)
        return int(value)


text = partial(click.option, cls=GroupedOption, heading="Text")
topics = partial(click.option, cls=GroupedOption, heading="Topics (from one of the first five)")
compare = partial(click.option, cls=GroupedOption, heading="Comparison")
signals = partial(click.option, cls=GroupedOption, heading="Signals")
parts = partial(click.option, cls=GroupedOption, heading="Filters and parts")


@click.command("classify", cls=GroupedCommand)
@click.argument("places", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@text("--domain", "domains", multiple=True, metavar="NAME", help="Domain of the study (default: all); repeatable.")
@text("--text-field", default="text", show_default=True, help="Field of the text, in FILE and --labelled.")
@text("--group-field", metavar="FIELD|id-stem", help="Field that related rows share, in FILE and --labelled.")
@topics("--labelled", type=FILE, help="Labelled examples to learn topics from.")
@topics("--topics", type=FILE, help="YAML of topics, each with a few seed words.")
@topics("--clusters", metavar="K|auto", type=ClustersType(), help="Number of clusters to find (default: auto).")
@topics("--model", type=FILE, help="A model.safetensors that `mixlab classify` wrote.")
@topics("--classifier", metavar="MODULE:OBJECT", help="A classifier of your own.")
@topics("--label-field", default="label", show_default=True, help="Field of the label, in --labelled and --test.")
@topics("--embeddings", type=FILE, help="Vectors to cluster: .npy in document order, or parquet of id and embedding.")
@topics("--embedder", metavar="MODULE:OBJECT", help="An embedding model of your own; its vectors are clustered.")
@topics("--min-probability", type=click.FloatRange(0, 1), default=0.0, help="Less probable topics become `other`.")
@topics("--test", type=FILE, help="Labelled examples to test the topics on.")
@compare(
    "--reference", default=UNIFORM, show_default=True, metavar="uniform|DOMAIN|FILE", help="Shares to compare with."
)
@compare("--over", type=click.FloatRange(1), default=1.5, show_default=True, help="Over-represented above this ratio.")
@signals("--good", type=FILE, help="Examples of good text, for the signal `quality`.")
@signals("--scores", type=FILE, help="Parquet of signals by document id, such as `mixlab score` writes.")
@parts("--keep", metavar="EXPR", help="Keep documents such as 'quality > .3 and length >= 200'.")
@parts("--drop-lowest", metavar="[SIGNAL=]FRACTION", help="Drop the documents that are lowest by a signal.")
@parts("--semantic-dedup", type=click.FloatRange(0, 1, min_open=True), help="Of documents this similar, keep the best.")
@parts("--by", metavar="topic|SIGNAL", help="Cut each domain into parts, by topic or into buckets of a signal.")
@parts("--buckets", type=click.IntRange(2, 20), default=3, show_default=True, help="Number of buckets.")
@parts("--smallest", type=click.FloatRange(0, 0.5), default=0.02, show_default=True, help="Merge smaller topics.")
@parts("--split", "write", is_flag=True, help="Write the parts and put them into study.yaml.")
@parts("--print", "only_print", is_flag=True, help="Show what --split would change in study.yaml.")
@click.option("--samples", type=click.IntRange(0, 20), default=0, metavar="N", help="Documents to show per topic.")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for tags and models.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: by the amount of text).")
@json_option
@gather(ClassifierSpec, "classifier")
@gather(CutSpec, "cut")
def classify_command(
    places: tuple[Path, ...],
    domains: tuple[str, ...],
    classifier: ClassifierSpec,
    cut: CutSpec,
    test: Path | None,
    reference: str,
    over: float,
    good: Path | None,
    scores: Path | None,
    write: bool,
    only_print: bool,
    samples: int,
    out: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Find out which topics the text of a study (DIR) or of FILEs is about, and cut it into parts.

    \b
    Topics come from one of
      --labelled examples.jsonl     labelled examples
      --topics topics.yaml          a few seed words per topic
      --clusters auto               no labels: similar documents
      --model, --classifier         a classifier that exists

    Prints the inventory by topic and writes tags.parquet (document, topic, probability, signals), topics.json and
    the model to DIR/classify (for FILEs: ./classify). --by and the filters show the parts of each domain; --split
    writes them to DIR/split and puts them in the domain's place in study.yaml.
    """
    if write and only_print:
        raise ConfigError("--split writes and --print only shows, but both were given", "keep one of them")
    if write or only_print:
        require_cut(cut)
    study = _study(places)
    if study is None and domains:
        raise ConfigError("--domain names a domain of a study, but there is no study.yaml", "leave --domain out")
    fields = (classifier.text_field, classifier.group_field)
    job = ClassifyJob(
        sources=study_texts(study, domains) if study else file_texts(places, *fields),
        classifier=classifier,
        cut=cut,
        study=study,
        out=out,
        test=test,
        good=good,
        scores=scores,
        reference=reference,
        over=over,
        workers=workers,
    )
    outcome = _classify(job)
    split = plan_split(outcome) if write or only_print else None
    files = split.write() if split and write else []
    if as_json:
        print_json({**outcome.to_dict(), "tags": str(outcome.tags_file), "files": [str(file) for file in files]})
        return
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120"))
    show_classification(Console(width=width, highlight=False), outcome, samples)
    if split is not None:
        for line in split_lines(split):
            click.echo(line)
        for note in split.rewrite.notes if split.rewrite else ():
            say(f"note: {note}")
    if write and study is not None:
        say(f"wrote {len(files)} files and {study.config_file}; next: run `mixlab prepare {study.root}`")


def _study(places: Sequence[Path]) -> StudyFolder | None:
    """The study, where the one place is a folder with a study.yaml."""
    folder = StudyFolder(places[0])
    return folder if len(places) == 1 and folder.config_file.is_file() else None


def _classify(job: ClassifyJob) -> Classification:
    """Run the job with a line of progress on stderr."""
    start = time.perf_counter()
    read = 0
    shown = sys.stderr.isatty()

    def progress(domain: str, size: int) -> None:
        nonlocal read
        read += size
        if shown:
            click.echo(f"\rtagging {domain[:40]}  {format_quantity(read)}B \x1b[K", err=True, nl=False)

    outcome = classify(job, progress)
    if shown:
        click.echo("\r\x1b[K", err=True, nl=False)
    size = int(outcome.tags.bytes.sum())
    seconds = time.perf_counter() - start
    say(f"classified {len(outcome.tags):,} documents, {format_quantity(size)}B, in {format_seconds(seconds)}")
    for source in outcome.job.sources:
        for reason, count in (source.skipped or {}).items():
            say(f"note: {count:,} rows of `{source.name}` were skipped: {reason}")
    return outcome
