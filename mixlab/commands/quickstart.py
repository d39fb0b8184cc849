"""`mixlab quickstart`: the whole loop on text that every machine has, and a proof of its answer.

It writes a study like any other and then calls the same commands that a user would call, one after the other.
"""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from mixlab.commands.options.common import say
from mixlab.errors import ConfigError
from mixlab.units import format_seconds

# What the model is for. The other domains are there to be useful, or not.
OBJECTIVE = {"python": 0.4, "prose": 0.3, "tests": 0.2, "cpp_headers": 0.1}
OTHERS = ("tables", "licences", "metadata")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("quickstart"))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (default: one per core).")
@click.pass_context
def quickstart(context: click.Context, directory: Path, seed: int, workers: int | None) -> int:
    """Prepare, sweep, recommend, verify and report in DIRECTORY, on text found in this Python environment.

    The same command continues after an interruption.
    """
    started = time.monotonic()
    if not (directory / "study.yaml").exists():
        _write_study(directory, seed)
    else:
        from mixlab.study.folder import StudyFolder

        stored = StudyFolder.open(directory).config.seed
        if stored != seed:
            raise ConfigError(
                f"{directory} holds a study with seed {stored}, but seed {seed} was asked for",
                "give another directory, or the same seed to continue with it",
            )
        say(f"continuing the study in {directory}")
    codes = [
        _step(context, "prepare", directory=str(directory)),
        _step(context, "sweep", directory=str(directory), workers=workers),
        _step(context, "recommend", runs=str(directory)),
        _step(context, "verify", directory=str(directory), workers=workers),
        _step(context, "report", runs=str(directory)),
    ]
    say(f"\nall of it took {format_seconds(time.monotonic() - started)}; open {directory / 'report.html'}")
    return max(codes)


def _write_study(directory: Path, seed: int) -> None:
    """Collect the texts and write the preset with them."""
    from mixlab.corpus.embedded import TEXTS, write_embedded_corpus
    from mixlab.study.new import write_study

    sizes = write_embedded_corpus(directory)
    missing = [name for name in OBJECTIVE if name not in sizes]
    if missing:
        raise ConfigError(
            f"the quickstart needs text of {', '.join(OBJECTIVE)}, but this environment has no {', '.join(missing)}",
            "install mixlab with its dependencies by pip, or start from your own files with `mixlab init`",
        )
    names = [name for name in (*OBJECTIVE, *OTHERS) if name in sizes]
    write_study(
        directory,
        {name: directory / TEXTS / f"{name}.jsonl.gz" for name in names},
        template=(files("sweeps") / "presets" / "quickstart.yaml").read_text(),
        name="quickstart",
        seed=seed,
        objective=OBJECTIVE,
    )


def _step(context: click.Context, name: str, **arguments: Any) -> int:
    """Call another command through the command table, with the defaults of what is not given."""
    say(f"\n== mixlab {name}")
    group = context.find_root().command
    assert isinstance(group, click.Group)
    command = group.get_command(context, name)
    assert command is not None
    code = context.invoke(command, **arguments)
    return code if isinstance(code, int) else 0
