"""What several commands share at the command line: quantities, name=value pairs, and where output goes.

Data goes to stdout and talk to stderr, so that `--json` can be piped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixlab.errors import ConfigError
from mixlab.units import parse_quantity

if TYPE_CHECKING:
    pass

F = TypeVar("F", bound=Callable[..., Any])


class QuantityType(click.ParamType[float]):
    """A positive number as `mixlab.units` reads it."""

    name = "quantity"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = parse_quantity(value)
        except ConfigError as error:
            self.fail(f"{error.message}\nhint: {error.hint}", param, ctx)
        if number <= 0:
            self.fail(f"must be > 0, but got {value}", param, ctx)
        return number


QUANTITY = QuantityType()


def json_option(command: F) -> F:
    """Add `--json`: the result on stdout as one JSON object, all else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(command)


def say(text: str = "") -> None:
    """Talk to the person: stderr."""
    click.echo(text, err=True)


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON object on stdout."""
    click.echo(json.dumps(data, allow_nan=False))


def parse_pairs(values: tuple[str, ...], option: str) -> dict[str, float]:
    """`("a=0.5,b=0.5", "c=1e9")` -> {"a": .5, "b": .5, "c": 1e9}.

    Raises:
        ConfigError: on anything that is not NAME=NUMBER, or a name given twice.
    """
    pairs: dict[str, float] = {}
    for part in (piece for value in values for piece in value.split(",") if piece.strip()):
        name, equals, number = part.strip().rpartition("=")
        if not equals or not name:
            raise ConfigError(f"{option} takes NAME=NUMBER pairs, but got `{part}`", f"write {option} web=0.5,code=0.5")
        if name in pairs:
            raise ConfigError(f"{option} names `{name}` twice")
        pairs[name] = parse_quantity(number)
    return pairs
