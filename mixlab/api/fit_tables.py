"""Tables about fitted laws: what was tried, what was blended, and the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixlab.laws.choice.blend import FitRecipe
from mixlab.laws.forms.chinchilla import optimum
from mixlab.laws.profiles import Profile
from mixlab.laws.result import FitResult, Member
from mixlab.shown import table
from mixlab.units import format_flops, format_quantity

if TYPE_CHECKING:
    from rich.console import RenderableType

RECIPE_WIDTH = 22  # columns for a recipe beside its parameters, which wrap


def fit_parts(result: FitResult, selection: Sequence[Mapping[str, Any]] = ()) -> Iterator[RenderableType]:
    """What was tried, the members of the blend, and the parameters of the law."""
    if selection:
        yield selection_table(selection)
    if len(result.members) > 1:
        yield members_table(result.members)
    yield parameters_table(result)
    if result.law == "chinchilla":
        best = optimum(result.params)
        yield (
            f"compute-optimal at C = 6ND: N* = {best.G:.4g} (C/6)^{best.a:.3f}, D* = (C/6)^{best.b:.3f} / {best.G:.4g}"
        )
    yield f"objective {result.objective:.6g}"


def selection_table(selection: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Every law that was tried, with its errors on runs that it had not seen, and its weight."""
    title = "laws by their error on runs they had not seen; those with a weight are blended"
    found = table(title, ("law", "parameters", "more compute", "new mixtures", "weight"))
    for row in selection:
        found.add_row(
            str(FitRecipe(row["law"], row["emphasis"], row["early"])),
            str(row["parameters"]),
            percent(row["compute_error"]),
            percent(row["mixture_error"]),
            f"{row['weight']:.2f}" if row["weight"] else "baseline" if row["baseline"] else "-",
        )
    return found


def members_table(members: Sequence[Member]) -> RenderableType:
    """Every member's parameters; they wrap, so that the table fits into any terminal."""
    found = table("members of the blend", ())
    found.add_column("law", max_width=RECIPE_WIDTH)
    found.add_column("weight", justify="right")
    found.add_column("error", justify="right")
    found.add_column("parameters")
    for one in members:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in one.params.items())
        error = percent(None if math.isnan(one.transfer_error) else one.transfer_error)
        found.add_row(str(FitRecipe(one.law, one.emphasis, one.early)), f"{one.weight:.2f}", error, numbers)
    return found


def parameters_table(result: FitResult) -> RenderableType:
    """The parameters with their intervals."""
    title = f"{result.law} fitted to {result.target}: {result.rows} rows, {result.status}"
    found = table(title, ("parameter", "value", "90% confidence interval"))
    for name, value in result.params.items():
        low, high = result.interval.get(name, (math.nan, math.nan))
        found.add_row(name, f"{value:.5g}", "" if math.isnan(low) else f"{low:.5g} to {high:.5g}")
    return found


def budgets_table(profiles: Sequence[Profile]) -> RenderableType:
    """The budgets of isoFLOP profiles, and why some do not count."""
    found = table("budgets", ("C", "runs", "N*", "profile"), left=("profile",))
    for profile in profiles:
        at = format_quantity(profile.optimum) if profile.tag == "ok" else "-"
        found.add_row(format_flops(profile.flops, 2), str(len(profile.rows)), at, profile.tag)
    return found


def forms_table(step_2: Mapping[str, Any]) -> RenderableType:
    """The curves from loss to accuracy that were tried, the chosen one first."""
    title = "accuracy from loss L, by the error on runs of lower loss"
    found = table(title, ("form", "error", "parameters", "role"), left=("parameters", "role"))
    for number, row in enumerate(step_2["candidates"]):
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row["params"].items())
        role = "predicts" if number == 0 else "in the interval" if row["admitted"] else "ruled out"
        found.add_row(row["formula"], "-" if row["error"] is None else f"{row['error']:.4f}", numbers, role)
    return found


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "-" if value is None else f"{100 * value:.2f}%"
