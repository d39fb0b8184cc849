"""`mixlab classify`: topics and signals of a domain's documents, its inventory by topic, and the domain in parts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console

from mixlab.commands.classify_tables import difference, inventory_table, parts_table, proposal, samples, show_built
from mixlab.commands.options import json_option, print_json, say
from mixlab.corpus.classify.build import Wanted
from mixlab.corpus.classify.parts import Cut, check_new_names, part_paths, write_parts
from mixlab.corpus.classify.run import TAGS_FILE, TOPIC, Classification, Cutting, Job, classify
from mixlab.corpus.classify.study_lines import Rewrite, entry_line, replace_domain
from mixlab.corpus.read.texts import DomainTexts, domain_texts
from mixlab.corpus.tokenizer import TOKENIZER_FILE, Tokenizer, load_tokenizer
from mixlab.errors import ConfigError, did_you_mean
from mixlab.files import write_atomic
from mixlab.study.folder import StudyFolder
from mixlab.study.new import name_domains
from mixlab.units import format_quantity, format_seconds

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class ClustersType(click.ParamType[int]):
    """A number of clusters from 2 on, or `auto`, which is 0."""

    name = "K|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return 0
        if not str(value).isdecimal() or int(value) < 2:
            self.fail(f"takes a number from 2 on, or auto, but got {value}", param, ctx)
        return int(value)


@click.command("classify")
@click.argument("places", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Of a study: this domain (default: all).")
@click.option("--labelled", type=FILE, help="Learn topics from labelled examples.")
@click.option("--label-field", default="label", show_default=True, help="Field of the label in --labelled.")
@click.option("--text-field", default="text", show_default=True, help="Field of the text, in FILE and --labelled.")
@click.option("--group-field", metavar="FIELD|id-stem", help="Related rows of --labelled and FILE: their common field.")
@click.option("--topics", type=FILE, help="Learn topics from a YAML of names and a few seed words each.")
@click.option("--clusters", type=ClustersType(), help="Find topics by clustering (the default, with auto).")
@click.option("--model", type=FILE, help="Topics by a model.safetensors of an earlier classify.")
@click.option("--classifier", metavar="MODULE:OBJECT", help="Topics by a classifier of your own.")
@click.option("--embeddings", type=FILE, help="Cluster these vectors: .npy in order, or parquet with id and embedding.")
@click.option("--embedder", metavar="MODULE:OBJECT", help="Cluster the vectors of an embedding model of your own.")
@click.option("--test", type=FILE, help="Labelled examples to test the topics on.")
@click.option("--min-probability", type=click.FloatRange(0, 1), default=0.0, help="Less probable topics are `other`.")
@click.option("--reference", default="uniform", show_default=True, metavar="uniform|DOMAIN|FILE", help="Target shares.")
@click.option("--over", type=click.FloatRange(1), default=1.5, show_default=True, help="Over-represented from here on.")
@click.option("--samples", "sample_count", type=click.IntRange(0, 20), default=0, help="Show documents of every topic.")
@click.option("--good", type=FILE, help="Good text: adds the signal `quality`.")
@click.option("--scores", type=FILE, help="Signals by document id (parquet), for example of `mixlab score`.")
@click.option("--keep", metavar="EXPR", help="Filter, for example 'quality > .3 and length >= 200'.")
@click.option("--drop-lowest", metavar="[SIGNAL=]FRACTION", help="Filter: without the lowest of a signal.")
@click.option("--semantic-dedup", type=click.FloatRange(0, 1, min_open=True), help="Filter: of near-equals, the best.")
@click.option("--by", metavar="topic|SIGNAL", help="Cut domains into parts by topic, or by a signal in buckets.")
@click.option("--buckets", type=click.IntRange(2, 20), default=3, show_default=True, help="Parts by a signal.")
@click.option(
    "--smallest", type=click.FloatRange(0, 0.5), default=0.02, show_default=True, help="Merge smaller topics."
)
@click.option("--split", is_flag=True, help="Write the parts and put them into study.yaml.")
@click.option("--print", "only_print", is_flag=True, help="Show what --split would change in study.yaml.")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for tags and models.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: as it pays).")
@json_option
def classify_command(places: tuple[Path, ...], domains: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Which topics the text of DIR (a study) or of FILEs is about, and the text in parts.

    \b
    Topics come from one of
      --labelled examples.jsonl     labelled examples
      --topics topics.yaml          a few seed words per topic
      --clusters auto               nothing: documents that are alike
      --model, --classifier         a classifier that is there

    Prints the inventory by topic and writes tags.parquet (document, topic, probability, signals), topics.json and
    the model to DIR/classify (of FILEs: ./classify). With --by or a filter it shows the parts of each domain, and with
    --split it writes them to DIR/split and puts them in the domain's place in study.yaml.
    """
    if given["split"] and given["only_print"]:
        raise ConfigError("--split writes and --print only shows; both were given", "keep one of them")
    folder = _study(places)
    sources = _sources(folder, places, domains, given)
    job = _job(folder, sources, given)
    cuts_wanted = job.cutting.by is not None or job.cutting.filters
    if (given["split"] or given["only_print"]) and not cuts_wanted:
        raise ConfigError("there is nothing to split by", "add --by topic, --by SIGNAL, or a filter such as --keep")
    outcome = _classify(job)
    rewrites = _rewrite(folder, job, outcome) if given["split"] or given["only_print"] else None
    files = _split(folder, job, outcome, rewrites) if given["split"] else []
    if as_json:
        print_json({**outcome.to_json(), "tags": str(job.out / TAGS_FILE), "files": [str(file) for file in files]})
        return
    _show(folder, job, outcome, given["sample_count"])
    if rewrites is not None:
        _show_lines(folder, outcome, rewrites)
    if given["split"] and folder is not None:
        say(f"wrote {len(files)} files and {folder.config_file}; next: `mixlab prepare {folder.root}`")


def _study(places: Sequence[Path]) -> StudyFolder | None:
    """The study, where the one place is a folder with a study.yaml."""
    if len(places) == 1 and places[0].is_dir() and (places[0] / "study.yaml").is_file():
        return StudyFolder.open(places[0])
    return None


def _sources(
    folder: StudyFolder | None, places: Sequence[Path], domains: Sequence[str], given: dict[str, Any]
) -> tuple[DomainTexts, ...]:
    if folder is None:
        if domains:
            raise ConfigError("--domain names a domain of a study, but there is no study.yaml", "leave it out")
        named = name_domains(places)
        field, group = given["text_field"], given["group_field"]
        return tuple(DomainTexts(name, (str(path.resolve()),), Path(), field, group) for name, path in named.items())
    known = folder.config.domains
    for name in domains:
        if name not in known:
            raise ConfigError(f"there is no domain `{name}` in {folder.config_file}", did_you_mean(name, known))
    names = list(dict.fromkeys(domains)) or list(known)
    reference = given["reference"]
    if reference in known and reference not in names:
        names.append(reference)
    return tuple(domain_texts(name, known[name], folder.root) for name in names)


def _job(folder: StudyFolder | None, sources: tuple[DomainTexts, ...], given: dict[str, Any]) -> Job:
    cutting = Cutting(
        by=given["by"],
        buckets=given["buckets"],
        keep=given["keep"],
        drop_lowest=given["drop_lowest"],
        semantic=given["semantic_dedup"],
        smallest=given["smallest"],
    )
    names = ("labelled", "label_field", "text_field", "group_field", "topics", "clusters", "model", "classifier")
    wanted = Wanted(
        **{name: given[name] for name in (*names, "embeddings", "embedder", "seed")}, least=given["min_probability"]
    )
    chosen = (wanted.labelled, wanted.topics, wanted.clusters, wanted.model, wanted.classifier)
    if all(each is None for each in chosen) and (cutting.by == TOPIC or not (cutting.by or cutting.filters)):
        wanted = replace(wanted, clusters=0)
    good = DomainTexts("good", (str(given["good"].resolve()),)) if given["good"] else None
    return Job(
        sources=sources,
        wanted=wanted,
        cutting=cutting,
        out=given["out"] or (folder.root if folder else Path()) / "classify",
        test=given["test"],
        good=good,
        scores=given["scores"],
        reference=given["reference"],
        over=given["over"],
        tokenizer=_tokenizer(folder),
        workers=given["workers"],
    )


def _tokenizer(folder: StudyFolder | None) -> Tokenizer | None:
    path = folder.corpus / TOKENIZER_FILE if folder else None
    return load_tokenizer(path) if path is not None and path.is_file() else None


def _classify(job: Job) -> Classification:
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
    for source in job.sources:
        for reason, count in (source.skipped or {}).items():
            say(f"note: {count:,} rows of `{source.name}` skipped: {reason}")
    return outcome


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120")), highlight=False)


def _show(folder: StudyFolder | None, job: Job, outcome: Classification, sample_count: int) -> None:
    console = _console()
    show_built(console, outcome)
    if outcome.built.method != "none":
        reference = job.reference if len(job.reference) <= 12 else "reference"
        for domain, shares in outcome.shares.items():
            console.print(inventory_table(domain, shares, outcome.approximate_tokens, reference, console.width))
            for line in samples(outcome, domain, sample_count, console.width):
                console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
            _show_proposal(console, folder, job, outcome, domain)
    for cut in outcome.cuts.values():
        _show_cut(console, cut)
    console.print(f"tags in {job.out / TAGS_FILE}", markup=False)


def _show_proposal(
    console: Console, folder: StudyFolder | None, job: Job, outcome: Classification, domain: str
) -> None:
    tokens = {name: sum(share.tokens for share in shares) for name, shares in outcome.shares.items()}
    complete = folder is not None and set(tokens) == set(folder.config.domains)
    total = sum(tokens.values()) if complete else tokens[domain]
    share = tokens[domain] / max(total, 1)
    lines = proposal(outcome, domain, share)
    if not lines:
        return
    whose = "of all tokens" if complete else f"of the tokens of {domain}"
    console.print(
        f"Over-represented is more than {job.over:g} times the reference. Caps for study.yaml once {domain} is split "
        f"by topic, as shares {whose} (evened-out weights of all topics are in topics.json):",
        markup=False,
    )
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _show_cut(console: Console, cut: Cut) -> None:
    console.print(parts_table(cut))
    for name, count in (cut.dropped or {}).items():
        console.print(f"{name}: {count:,} documents dropped", markup=False)
    if cut.merged:
        console.print(f"too small for a part, in other: {', '.join(cut.merged)}", markup=False)


def _rewrite(folder: StudyFolder | None, job: Job, outcome: Classification) -> list[Rewrite]:
    """The changes to study.yaml, each on top of the one before; nothing is written."""
    if folder is None:
        return []
    filters = next(iter(outcome.cuts.values())).dropped or {}
    how = f"by {', '.join([job.cutting.by] if job.cutting.by else filters)}"
    raw = yaml.safe_load(folder.config_file.read_bytes())["domains"]
    rewrites: list[Rewrite] = []
    text = folder.config_file.read_bytes().decode()
    for name, cut in outcome.cuts.items():
        check_new_names(cut, list(folder.config.domains))
        entries = {part: _entry(path, raw[name]) for part, path in part_paths(cut).items()}
        rewrites.append(replace_domain(folder.config_file, text, name, entries, cut.shares, how))
        text = rewrites[-1].after
    return rewrites


def _entry(path: str, before: Any) -> dict[str, Any]:
    """The entry of a part: its file, and what the domain's entry said of groups and cleaning."""
    old = before if isinstance(before, dict) else {}
    return {"paths": path} | {key: old[key] for key in ("group_field", "cleaning") if key in old}


def _split(folder: StudyFolder | None, job: Job, outcome: Classification, rewrites: list[Rewrite] | None) -> list[Path]:
    """Write the parts, and study.yaml last: until then the study is as it was."""
    root = folder.root if folder else job.out
    files: list[Path] = []
    for source in job.sources:
        if source.name in outcome.cuts:
            files += write_parts(outcome.cuts[source.name], source, outcome.tags, root)
    if folder is not None and rewrites:
        write_atomic(folder.config_file, rewrites[-1].after.encode())
    return files


def _show_lines(folder: StudyFolder | None, outcome: Classification, rewrites: list[Rewrite]) -> None:
    if folder is None:
        for cut in outcome.cuts.values():
            for name, path in part_paths(cut).items():
                click.echo(entry_line(name, {"paths": path}))
        return
    whole = Rewrite(rewrites[0].before, rewrites[-1].after, ())
    for line in difference(whole, str(folder.config_file)):
        click.echo(line)
    for note in (note for rewrite in rewrites for note in rewrite.notes):
        say(f"note: {note}")
