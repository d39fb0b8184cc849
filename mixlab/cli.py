"""The command line: a lazy table of commands, and errors as a message, a hint and an exit code.

A command's module is imported when the command runs and not before, so `mixlab --help` needs only click.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from mixlab.errors import MixlabError, did_you_mean
from mixlab.upward import resolve

# command -> ("package.module:attribute", the line `mixlab --help` shows)
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": (
        "mixlab.commands.quickstart:quickstart",
        "The whole loop on text that every machine has; ends with a report.",
    ),
    "init": ("mixlab.commands.init:init", "Write a study.yaml to edit, with the domains found."),
    "prepare": ("mixlab.commands.prepare:prepare", "Read, split and tokenise the text: shards and inventory."),
    "classify": (
        "mixlab.commands.classify:classify_command",
        "Topics and quality of a domain's documents; split it by them.",
    ),
    "score": ("mixlab.commands.score:score", "Score documents with a trained proxy: perplexity."),
    "sweep": ("mixlab.commands.sweep:sweep", "Train the proxies (or print the plan with --plan)."),
    "status": ("mixlab.commands.status:status", "What ran, what failed, what is left and what it will cost."),
    "fit": ("mixlab.commands.fit:fit", "Fit a scaling law to a run table."),
    "backtest": ("mixlab.commands.backtest:backtest", "Fit without some of the rows and predict them."),
    "recommend": (
        "mixlab.commands.recommend:recommend",
        "The mixture, model size and tokens that are best at a budget.",
    ),
    "propose": ("mixlab.commands.propose:propose", "Which runs to make next, or to stop."),
    "predict-task": (
        "mixlab.commands.predict_task:predict_task",
        "A benchmark's accuracy at a budget, by way of a loss.",
    ),
    "export": ("mixlab.commands.export:export", "The recommended mixture in a trainer's own syntax."),
    "verify": (
        "mixlab.commands.verify:verify",
        "Train the recommendation and the baselines, compare with the prediction.",
    ),
    "plot": ("mixlab.commands.plot:plot", "Draw isoFLOP profiles, loss curves, mixtures, predictions."),
    "report": ("mixlab.commands.report:report", "One self-contained HTML page about a study."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = resolve(COMMANDS[cmd_name][0])
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"no command `{args[0]}`\nhint: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mixlab")
def app() -> None:
    """Find the data mixture and the model size that are compute-optimal at a FLOP budget.

    A study goes through `init`, `prepare`, `sweep`, `recommend`, `verify` and `report`; `fit`, `backtest`,
    `recommend` and `plot` also take any table of training runs (CSV or Parquet).
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 bad input, 3 some runs failed, 4 the runs cannot support the answer."""
    try:
        code = app.main(args=args, prog_name="mixlab", standalone_mode=False)
    except MixlabError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what had finished is kept, and the same command continues", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
