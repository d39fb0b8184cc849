"""`mixlab recommend`: what to train at a budget."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from mixlab.commands.options import QUANTITY, json_option, parse_pairs, print_json, say
from mixlab.errors import ConfigError, RunTableError
from mixlab.files import write_json
from mixlab.laws.forms.registry import law_choices
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.runs.table import Runs
from mixlab.search.problem import Problem, load_problem
from mixlab.search.recommend import recommend as search
from mixlab.search.recommendation import Recommendation
from mixlab.units import format_flops, format_quantity


@click.command()
@click.argument("runs", type=click.Path())
@click.option("--flops", type=QUANTITY, help="The budget C (default: the study's target).")
@click.option("--objective", multiple=True, metavar="EVAL=W,...", help="Weights over evaluation sets.")
@click.option("--unique", multiple=True, metavar="D=TOKENS,...", help="Unique tokens by domain (tokens=: of all text).")
@click.option("--max-epochs", type=click.FloatRange(min=0, min_open=True), help="Most repeats of a domain.")
@click.option("--min", "lower", multiple=True, metavar="D=W,...", help="Smallest weights.")
@click.option("--max", "upper", multiple=True, metavar="D=W,...", help="Largest weights.")
@click.option("--law", type=click.Choice(("auto", *law_choices())), help="The functional form (default: auto).")
@click.option("--fixed-mix", multiple=True, metavar="D=W,...", help="Keep this mixture, search the size alone.")
@click.option("--params", type=QUANTITY, help="Fix N.")
@click.option("--tokens", type=QUANTITY, help="Fix D.")
@click.option("--kl", type=click.FloatRange(min=0), default=0.0, help="Weight of KL(mixture || prior).")
@click.option("--where", metavar="EXPR", help="Use these rows alone.")
@click.option("--bootstrap", type=click.IntRange(min=20), default=200, show_default=True, help="Resamples of the runs.")
@click.option("--seed", type=int, help="Of resamples and starts (default: the study's, else 0).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the JSON here.")
@json_option
def recommend(
    runs: str,
    flops: float | None,
    objective: tuple[str, ...],
    unique: tuple[str, ...],
    max_epochs: float | None,
    lower: tuple[str, ...],
    upper: tuple[str, ...],
    law: str | None,
    fixed_mix: tuple[str, ...],
    params: float | None,
    tokens: float | None,
    kl: float,
    where: str | None,
    bootstrap: int,
    seed: int | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """The mixture, model size and tokens that are best at a budget, by the law that transfers best on RUNS.

    RUNS is a CSV or Parquet table, or a study's folder, whose recommendation.json is then written.
    """
    problem = load_problem(
        runs,
        objective=parse_pairs(objective, "--objective"),
        unique=parse_pairs(unique, "--unique"),
        max_epochs=max_epochs,
        lower=parse_pairs(lower, "--min"),
        upper=parse_pairs(upper, "--max"),
        law=law,
        where=where,
    )
    _require_scale(problem.table)
    seed = problem.seed if seed is None else seed
    surface = problem.fit(bootstrap, seed)
    budget = _budget(problem, surface, flops, params, tokens)
    fixed = parse_pairs(fixed_mix, "--fixed-mix")
    answer = search(
        surface,
        problem.space,
        budget,
        cost=problem.cost,
        params=params,
        tokens=tokens,
        fixed_mixture=Mixture(fixed) if fixed else None,
        observed=problem.table,
        kl=kl,
        prior=problem.prior,
        seed=seed,
    )
    data = answer.to_json()
    if Path(runs).is_dir():
        write_json(Path(runs) / "recommendation.json", data)
    if output is not None:
        write_json(output, data)
    print_json(data) if as_json else _show(answer)
    return 0


def _require_scale(table: Runs) -> None:
    """A recommendation says N and D, so the runs must say theirs."""
    sized = table.has("params") or table.has("params_non_embed")
    if not (sized and table.has("tokens")):
        raise RunTableError(
            "a recommendation needs the columns `params` and `tokens`, but "
            f"`{'tokens' if sized else 'params'}` is missing",
            "add it; where all runs share one size and one token count, a constant column will do",
        )


def _budget(
    problem: Problem, surface: Surface, flops: float | None, params: float | None, tokens: float | None
) -> float:
    if flops is not None:
        return flops
    if params is not None and tokens is not None:
        return float(problem.cost.flops(params, tokens))
    if problem.config is not None and problem.config.target is not None:
        return problem.config.target.flops
    if not surface.sized:
        return surface.max_flops  # one scale: the mixture is all that can be asked for
    raise ConfigError("a recommendation needs a budget", "give --flops C, or set target.flops in study.yaml")


def _show(answer: Recommendation) -> None:
    console = Console()
    size = f"{format_quantity(answer.params)} parameters on {format_quantity(answer.tokens)} tokens"
    mix = ", ".join(
        f"{100 * weight:.0f}% {name}"
        for name, weight in sorted(answer.mixture.items(), key=lambda item: -item[1])
        if weight >= 0.005
    )
    loss = f"{answer.loss['mean']:.4f} [{answer.loss['low']:.4f}, {answer.loss['high']:.4f}]"
    console.print(
        f"At {format_flops(answer.flops)} FLOPs train {size}"
        + (f" of {mix}" if mix else "")
        + f": predicted loss {loss} (90% interval, law {answer.law}).",
        highlight=False,
    )
    if answer.mixture:
        table = Table()
        for heading in ("domain", "weight", "90% interval", "epochs"):
            table.add_column(heading, justify="left" if heading == "domain" else "right")
        for name, weight in sorted(answer.mixture.items(), key=lambda item: -item[1]):
            low, high = answer.mixture_interval[name]
            seen = f"{answer.epochs[name]:.2f}" if name in answer.epochs else "?"
            table.add_row(name, f"{weight:.3f}", f"{low:.3f} to {high:.3f}", seen)
        console.print(table)
    low, high = answer.params_interval
    few, many = answer.tokens_interval
    console.print(
        f"N: {format_quantity(low)} to {format_quantity(high)}, D: {format_quantity(few)} to {format_quantity(many)} "
        f"(90%); C is {answer.extrapolation['flops_ratio']:.3g} times the largest run's",
        highlight=False,
    )
    if answer.baselines:
        table = Table(title="predicted beside the baselines", title_justify="left")
        for heading in ("mixture", "loss", "90% interval", "parameters"):
            table.add_column(heading, justify="left" if heading == "mixture" else "right")
        rows = {"recommended": {"loss": answer.loss, "params": answer.params}, **answer.baselines}
        for name, row in rows.items():
            loss_of = row["loss"]
            table.add_row(
                name.replace("_", " "),
                f"{loss_of['mean']:.4f}",
                f"{loss_of['low']:.4f} to {loss_of['high']:.4f}",
                format_quantity(row["params"]),
            )
        console.print(table)
    for warning in answer.warnings:
        say(f"note: {warning}")
