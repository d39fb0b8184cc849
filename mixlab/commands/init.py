"""`mixlab init`: a study.yaml to edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from mixlab.commands.options.common import json_option, print_json, say
from mixlab.study.folder import StudyFolder
from mixlab.study.new import new_study


class ManyFiles(click.Command):
    """A command whose option `--from` takes all that follows it, up to the next option."""

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args
        parser.parse_args = lambda args: parse(list(_repeat_from(args)))  # type: ignore[method-assign]
        return parser


def _repeat_from(arguments: Sequence[str]) -> Iterator[str]:
    """`--from a b` -> `--from a --from b`."""
    inside = False
    for argument, before in zip(arguments, ["", *arguments], strict=False):
        if argument.startswith("-"):
            inside = argument == "--from"
        elif inside and before != "--from":
            yield "--from"
        yield argument


@click.command(cls=ManyFiles)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--from",
    "sources",
    metavar="FILE...",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Files or folders of text, one domain each (default: those in DIR/texts, else in DIR).",
)
@click.option("--force", is_flag=True, help="Replace an existing study.yaml.")
@json_option
def init(directory: Path, sources: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Write DIR/study.yaml to edit, with one domain per file or folder of text.

    \b
    Examples:
      mixlab init study --from web.jsonl.gz code/ books.parquet
      mixlab init study                       # the files and folders in study/texts, or in study
    """
    domains = new_study(directory, sources, force=force)
    path = StudyFolder(directory).config_file
    if as_json:
        print_json({"study": str(path), "domains": {name: str(source) for name, source in domains.items()}})
        return
    say(f"wrote {path} with {len(domains)} domains: {', '.join(domains)}")
    say(f"next: edit it, then run `mixlab prepare {directory}`")
