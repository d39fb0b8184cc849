"""`mixlab score`: a signal per document by a proxy of the study, as a parquet that `mixlab classify --scores` reads."""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from mixlab.commands.options import json_option, print_json, say
from mixlab.corpus.signals.scores import SCORES_FILE, write_scores
from mixlab.study.folder import StudyFolder
from mixlab.units import format_quantity, format_seconds
from proxies.scoring import best_checkpoint, score_study
from proxies.training.perplexity import MOST_TOKENS


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--signal", type=click.Choice(["perplexity"]), default="perplexity", show_default=True, help="What to compute."
)
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Score this domain (default: all).")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A model in the study's checkpoints/ (default: the one of the most training FLOPs).",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=MOST_TOKENS,
    show_default=True,
    help="Tokens to read of each document, from its beginning.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: DIR/classify/scores.parquet"
)
@json_option
def score(
    directory: Path,
    signal: str,
    domains: tuple[str, ...],
    checkpoint: Path | None,
    max_tokens: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Perplexity of every document under a proxy that the study in DIR trained.

    Writes a parquet with columns id, perplexity (per token) and bits_per_byte; `mixlab classify DIR --scores FILE`
    then splits by it (--by perplexity) or filters (--keep 'perplexity < 40').
    """
    folder = StudyFolder.open(directory)
    path = checkpoint or best_checkpoint(folder.checkpoints)
    start = time.perf_counter()
    found = score_study(folder, path, domains, max_tokens)
    target = out or folder.classification / SCORES_FILE
    write_scores(target, found.ids, found.columns)
    count, seconds = len(found.ids), time.perf_counter() - start
    say(f"scored {count:,} documents, {format_quantity(found.characters)} characters, in {format_seconds(seconds)}")
    medians = {name: float(np.median(values)) for name, values in found.columns.items()}
    if as_json:
        print_json({"scores": str(target), "checkpoint": str(path), "documents": count, "median": medians})
    else:
        middle = ", ".join(f"{name} {value:.4g}" for name, value in medians.items())
        click.echo(f"{signal} by {path.name} in {target} (medians: {middle})")
