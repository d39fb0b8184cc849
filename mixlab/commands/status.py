"""`mixlab status`: where a sweep stands."""

from __future__ import annotations

import click

import mixlab
from mixlab.commands.options.common import json_option, print_result, say


@click.command()
@click.argument("directory", type=click.Path())
@json_option
def status(directory: str, as_json: bool) -> int:
    """What ran, what failed, what is left of the first round, and what it will cost."""
    state = mixlab.open_study(directory).status()
    print_result(state, as_json)
    for failure in state.failures:
        say(f"failed: {failure['run_id']}: {failure['error']}")
    return 0
