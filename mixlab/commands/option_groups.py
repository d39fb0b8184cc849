"""Options in groups, for commands that have many: headings in the help, and one dataclass a group in the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click


class GroupedOption(click.Option):
    """An option below a heading of the help."""

    def __init__(self, *arguments: Any, heading: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose help has its options below headings, in the order in which these are first met."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                heading = option.heading if isinstance(option, GroupedOption) else "Other options"
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def gather(into: type[Any], name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hand the options that are named as the fields of a dataclass to the command as one of it, called `name`."""
    names = [field.name for field in fields(into)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def call(**given: Any) -> Any:
            gathered = into(**{field: given.pop(field) for field in names})
            return command(**given, **{name: gathered})

        return call

    return decorate
