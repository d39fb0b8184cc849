"""`mixlab score`: a signal per document by a proxy of the study, as a parquet that `mixlab classify --scores` reads."""

from __future__ import annotations

from pathlib import Path

import click

import mixlab
from mixlab.commands.options.common import json_option, print_json, say
from mixlab.units import format_quantity, format_seconds


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
    default=4096,
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
    found = mixlab.open_study(directory).score(domains=domains, checkpoint=checkpoint, max_tokens=max_tokens, path=out)
    characters, seconds = format_quantity(found.characters), format_seconds(found.seconds)
    say(f"scored {len(found.ids):,} documents, {characters} characters, in {seconds}")
    print_json(found.to_dict()) if as_json else click.echo("\n".join(map(str, found.parts())))
