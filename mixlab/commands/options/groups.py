"""Options in groups: headings in the help, one dataclass a group in the command, and the group that asks for an answer.

What may be asked of an answer is the same for every command that gives one; each option is a keyword of
`mixlab.recommend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial, wraps
from typing import Any, TypeVar

import click

from mixlab.commands.options.common import QUANTITY, parse_pairs
from mixlab.errors import ConfigError
from mixlab.units import parse_quantity

F = TypeVar("F", bound=Callable[..., Any])


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


space = partial(click.option, cls=GroupedOption, heading="Which mixtures")
losses = partial(click.option, cls=GroupedOption, heading="Which losses")
size = partial(click.option, cls=GroupedOption, heading="Which size")
money = partial(click.option, cls=GroupedOption, heading="Cost")
REFERENCES = ("proportional", "uniform", "prior")

OPTIONS = (
    space("--min", "lower", multiple=True, metavar="D=W,...", help="Smallest weights."),
    space("--max", "upper", multiple=True, metavar="D=W,...", help="Largest weights."),
    space(
        "--constraint",
        "constraints",
        multiple=True,
        metavar="TEXT",
        help='On several weights: "code + math >= 0.3", "2*web <= books", "code == math"; repeatable.',
    ),
    space("--max-domains", type=click.IntRange(min=1), help="Most domains with weight."),
    space(
        "--unique", multiple=True, metavar="D=TOKENS,...", help="Unique tokens by domain (tokens=N without mixtures)."
    ),
    space("--max-epochs", type=click.FloatRange(min=0, min_open=True), help="Most epochs of a domain."),
    losses("--kl", type=click.FloatRange(min=0), help="Weight of KL(mixture || prior) (default: the study's, else 0)."),
    losses(
        "--no-worse",
        multiple=True,
        metavar="EVAL=WHAT,...",
        help="Losses that must not be above those of proportional, uniform or prior, or above a number.",
    ),
    losses(
        "--worst-group",
        type=click.Choice(REFERENCES),
        help="Minimise the largest of the losses, each relative to that of this mixture.",
    ),
    size("--params", type=QUANTITY, help="Fix N."),
    size("--tokens", type=QUANTITY, help="Fix D."),
    size("--tokens-per-param", type=QUANTITY, help="Fix D / N."),
    money("--serve", type=QUANTITY, help="Tokens read and written in use: the budget is for training and serving."),
    money("--gpu", metavar="NAME", help="Tell costs in hours of this GPU: h100, a100, mi300x, tpu-v5p, ..."),
    money("--gpu-flops", type=QUANTITY, help="Its peak in dense bf16 FLOP/s, where the name is not known."),
    money("--mfu", type=click.FloatRange(0, 1, min_open=True), help="Share of the peak reached (default: 0.4)."),
    money("--price", type=QUANTITY, help="Dollars per GPU hour."),
)


def question_options(command: F) -> F:
    """Add the options; the command gets them as `asking`, keywords of `mixlab.recommend`."""

    @wraps(command)
    def wrapped(
        *args: Any,
        lower: tuple[str, ...],
        upper: tuple[str, ...],
        constraints: tuple[str, ...],
        unique: tuple[str, ...],
        no_worse: tuple[str, ...],
        **more: Any,
    ) -> Any:
        plain = ("max_domains", "max_epochs", "kl", "worst_group", "params", "tokens", "tokens_per_param", "serve")
        asking = {name: more.pop(name) for name in (*plain, "gpu", "gpu_flops", "mfu", "price")}
        asking |= {"min": parse_pairs(lower, "--min"), "max": parse_pairs(upper, "--max")}
        asking |= {
            "supply": parse_pairs(unique, "--unique"),
            "no_worse": parse_limits(no_worse),
            "constraints": constraints,
        }
        given = {name: value for name, value in asking.items() if value is not None and value not in ((), {})}
        return command(*args, asking=given, **more)

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # click's decorators keep the callable


def parse_limits(values: tuple[str, ...]) -> dict[str, str | float]:
    """`("code=proportional,web=2.31",)` -> {"code": "proportional", "web": 2.31}.

    Raises:
        ConfigError: on anything else, or a name given twice.
    """
    found: dict[str, str | float] = {}
    for part in (piece for value in values for piece in value.split(",") if piece.strip()):
        name, equals, most = part.strip().rpartition("=")
        if not equals or not name:
            raise ConfigError(f"--no-worse takes EVAL=WHAT, but got `{part}`", "write --no-worse code=proportional")
        if name in found:
            raise ConfigError(f"--no-worse names `{name}` twice")
        try:
            found[name] = most if most in REFERENCES else parse_quantity(most)
        except ConfigError:
            raise ConfigError(
                f"--no-worse compares with {', '.join(REFERENCES)} or a number, but `{name}` has `{most}`"
            ) from None
    return found
