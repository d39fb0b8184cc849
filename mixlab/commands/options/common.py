"""What several commands share at the command line: quantities, pairs, how runs are read, and where output goes.

Data goes to stdout and talk to stderr, so that `--json` can be piped.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixlab.errors import ConfigError, did_you_mean
from mixlab.units import parse_quantity

if TYPE_CHECKING:
    from mixlab.shown import Shown

F = TypeVar("F", bound=Callable[..., Any])


class QuantityType(click.ParamType[float]):
    """A positive number as `mixlab.units` reads it."""

    name = "quantity"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = parse_quantity(value)
        except ConfigError as error:
            self.fail(error.message + (f"\nhint: {error.hint}" if error.hint else ""), param, ctx)
        if number <= 0:
            self.fail(f"must be > 0, but got {value}", param, ctx)
        return number


class QuantitiesType(click.ParamType[tuple[float, ...]]):
    """One positive number or several, with commas between them."""

    name = "quantity,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts:
            self.fail("must have one value or more", param, ctx)
        return tuple(QUANTITY.convert(part, param, ctx) for part in parts)


class LawType(click.ParamType[str]):
    """A law by name, `auto`, or one of some others that a command knows."""

    name = "law"

    def __init__(self, *others: str) -> None:
        self._others = others

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from mixlab.laws.forms.registry import law_choices  # `--help` needs no laws

        known = ("auto", *self._others, *law_choices())
        if value not in known:
            self.fail(f"no law is called `{value}`\nhint: {did_you_mean(str(value), known)}", param, ctx)
        return str(value)


QUANTITY, QUANTITIES = QuantityType(), QuantitiesType()


def law_option(*others: str, default: str | None = "auto") -> Callable[[F], F]:
    """Add `--law`; without a default it is the study's."""
    said = "auto" if default else "the study's, else auto"
    text = f"A law by name, or auto{''.join(f', {name}' for name in others)} (default: {said})."
    return click.option("--law", type=LawType(*others), default=default, metavar="NAME", help=text)


def runs_options(command: F) -> F:
    """Add `--where`, `--map` and `--scale`; the command gets them as `reading`, the keywords of `mixlab.read_runs`."""

    @functools.wraps(command)
    def wrapped(*args: Any, where: str | None, columns: tuple[str, ...], scale: tuple[str, ...], **more: Any) -> Any:
        return command(*args, reading=parse_reading(where, columns, scale), **more)

    for option in (
        click.option(
            "--scale", multiple=True, metavar="COL=X,...", help="The unit of a column: tokens=1e9 for billions."
        ),
        click.option(
            "--map",
            "columns",
            multiple=True,
            metavar="COL=NAME[:X]",
            help="A column's name in the table, and its unit: tokens=seen_B:1e9; mix=weights.* for all weights.",
        ),
        click.option("--where", metavar="EXPR", help='Use these rows alone, e.g. "params > 1e8".'),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # click's decorators keep the callable


def parse_reading(where: str | None, columns: tuple[str, ...], scale: tuple[str, ...]) -> dict[str, Any]:
    """The keywords of `mixlab.read_runs`.

    Raises:
        ConfigError: on anything that is not COLUMN=NAME or COLUMN=NAME:UNIT, or a column given twice.
    """
    found: dict[str, Any] = {"where": where, "columns": {}, "scale": parse_pairs(scale, "--scale"), "mixture": None}
    for text in columns:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise ConfigError(f"--map takes COLUMN=NAME, but got `{text}`", "write --map loss=val/loss")
        if ours in found["columns"] or (ours == "mix" and found["mixture"]):
            raise ConfigError(f"--map names `{ours}` twice", "leave one out")
        if ours == "mix":
            found["mixture"] = theirs
            continue
        name, colon, unit = theirs.rpartition(":")
        try:
            found["columns"][ours] = (name, parse_quantity(unit)) if colon and name else theirs
        except ConfigError:
            found["columns"][ours] = theirs  # a name may have a colon in it
    return found


def executor_option(command: F) -> F:
    """Add `--executor`: a name that `sweeps.executors.registry` knows."""
    text = "Who makes the runs: local (worker processes), serial (this process), or another that is registered."
    return click.option("--executor", metavar="NAME", default="local", show_default=True, help=text)(command)


def output_option(text: str = "Also write the JSON here.") -> Callable[[F], F]:
    """Add `-o`, `--output`."""
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=text)


def json_option(command: F) -> F:
    """Add `--json`: the result on stdout as one JSON object, all else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(command)


def say(text: str = "") -> None:
    """Talk to the person: stderr."""
    click.echo(text, err=True)


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON object on stdout."""
    click.echo(json.dumps(data, allow_nan=False))


def print_result(result: Shown, as_json: bool) -> None:
    """A result on stdout, as JSON or for a person, whose notes then go to stderr."""
    if as_json:
        print_json(result.to_dict())
        return
    from rich.console import Console

    result.show(Console())
    for note in result.notes:
        say(f"note: {note}")


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
