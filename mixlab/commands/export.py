"""`mixlab export`: a recommended mixture in a trainer's own syntax."""

from __future__ import annotations

from pathlib import Path

import click

from mixlab.commands.options.common import json_option, output_option, parse_pairs, print_json, say
from mixlab.errors import ConfigError
from mixlab.exports.trainers import TRAINERS
from mixlab.files import write_atomic


@click.command()
@click.argument("recommendation", type=click.Path(path_type=Path))
@click.option("--to", "trainer", type=click.Choice(tuple(TRAINERS)), required=True, help="The trainer.")
@click.option("--data", multiple=True, metavar="D=PATH", help="Where a domain's data lies for the trainer.")
@click.option(
    "--tokens-per-document",
    multiple=True,
    metavar="D=MEAN,...",
    help="Mean tokens per document, for trainers that sample documents.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the trainer's own sampling.")
@output_option("Write it here (default: stdout).")
@json_option
def export(
    recommendation: Path,
    trainer: str,
    data: tuple[str, ...],
    tokens_per_document: tuple[str, ...],
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print the mixture of RECOMMENDATION (a recommendation.json, or a study's folder) for a trainer."""
    from mixlab.api.export import mix_of  # `--help` needs no frames

    lengths = parse_pairs(tokens_per_document, "--tokens-per-document")
    mix = mix_of(recommendation, _parse_paths(data), lengths, seed)
    text = TRAINERS[trainer](mix)
    if output is not None:
        write_atomic(output, (text + "\n").encode())
        say(f"wrote {output}")
    if as_json:
        print_json({"trainer": trainer, "weights": {s.name: s.weight for s in mix.sources}, "text": text})
    elif output is None:
        click.echo(text)


def _parse_paths(values: tuple[str, ...]) -> dict[str, str]:
    paths = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise ConfigError(
                f"--data takes DOMAIN=PATH, but got `{value}`", "write --data web=/data/web_text_document"
            )
        paths[name] = path
    return paths
