"""`mixlab init`: a study.yaml to edit."""

from __future__ import annotations

from pathlib import Path

import click

from mixlab.commands.options import json_option, print_json, say
from mixlab.errors import ConfigError
from mixlab.study.new import find_sources, name_domains, write_study


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
