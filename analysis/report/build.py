"""From a `Picture` to the report's HTML: what each section says, and which figures stand in it.

Every name that comes from a user goes through jinja2's autoescape or matplotlib's own escaping; the slider's data
is JSON inside a `<script type="application/json">`, escaped by jinja2's `tojson`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.plots.backtest import figure_backtest
from analysis.plots.curve import figure_curve
from analysis.plots.domains import figure_domains
from analysis.plots.frontier import figure_frontier
from analysis.plots.isoflop import figure_isoflop
from analysis.plots.mixture import figure_mixture
from analysis.plots.points import FrontierPoint
from analysis.plots.style import domain_colours, to_svg
from analysis.report.picture import Picture
from mixlab.files import write_atomic
from mixlab.objective import eval_of
from mixlab.search.recommendation import Recommendation
from mixlab.search.words import cost_in_words, decision_in_words, in_words
from mixlab.units import format_flops, format_quantity

MAX_ROWS = 2000  # of the runs table; a page beyond this is slow to open
ROUNDED = ("mix.", "loss", "bpb.")


def write_report(picture: Picture, path: Path) -> None:
    """Write the page, atomically."""
    write_atomic(path, render(picture).encode())


def render(picture: Picture) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("analysis", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # domains keep their order
    environment.filters["quantity"] = format_quantity
    environment.filters["flops"] = format_flops
    environment.filters["plain"] = lambda name: str(name).replace("_", " ")
    return environment.get_template("report.html").render(
        p=picture,
        answer=picture.answer,
        sentence=sentence(picture),
        terms=terms(picture.answer) if picture.answer is not None else [],
        colours=domain_colours(picture.table.domains),
        figures={name: Markup(svg) for name, svg in _figures(picture).items()},
        frontier=[vars(point) for point in picture.frontier],
        nearest=_nearest(picture),
        largest=float(picture.table.flops().max()),
        runs=runs_table(picture),
        outcome=outcome(picture.verification) if picture.verification is not None else None,
        domains=domain_rows(picture.answer) if picture.answer is not None else [],
        baselines=baseline_rows(picture.answer) if picture.answer is not None else [],
        candidates=sorted((picture.verification or {}).get("candidates", {}).items(), key=lambda item: item[1]["mean"]),
        warnings=_warnings(picture),
    )


def sentence(picture: Picture) -> str:
    """The answer in a sentence."""
    answer = picture.answer
    if answer is None:
        return "These runs cannot support a recommendation yet; the notes below say what is missing."
    size = f"a model of {format_quantity(answer.params)} parameters on {format_quantity(answer.tokens)} tokens"
    loss = f"an expected loss of {answer.loss['mean']:.4f} [{answer.loss['low']:.4f}, {answer.loss['high']:.4f}]"
    text = f"With {format_flops(answer.flops)} FLOPs, train {size}"
    if answer.mixture:
        top = [item for item in sorted(answer.mixture.items(), key=lambda item: -item[1]) if item[1] >= 0.005]
        text += " of " + ", ".join(f"{100 * weight:.0f}% {name}" for name, weight in top)
    return f"{text}: {loss}."


def terms(answer: Recommendation) -> list[str]:
    """What the answer is held to, how sure it is, and what it costs, where anything was asked of that."""
    held = [f"Held to: {in_words(answer.held)}"] if answer.held else []
    decided = [decision_in_words(answer.decision)] if answer.decision else []
    priced = "gpu" in answer.costs or "serving" in answer.costs
    return [*held, *decided, *([cost_in_words(answer.costs)] if priced else [])]


def outcome(verification: Mapping[str, Any]) -> dict[str, Any]:
    """The proof's heading, and whether it went well: nothing beat the recommendation, and its interval held."""
    floor, winner = verification["noise_floor"], verification["winner"].replace("_", " ")
    differences = [result["difference"] for result in verification["beats"].values()]
    if min(differences, default=0.0) < -floor:
        return {"heading": f"{winner} beat the recommended mixture", "good": False}
    if max(differences, default=0.0) <= floor:
        heading = "no mixture differs from the recommended one by more than noise"
    elif min(differences) > floor:
        heading = "the recommended mixture won"
    elif winner == "recommended":
        heading = "the recommended mixture came first, not by more than noise"
    else:
        heading = f"{winner} and the recommended mixture do not differ by more than noise"
    if not verification["interval_held"]:
        heading += ", but its loss was not predicted well"
    return {"heading": heading, "good": verification["interval_held"]}


def domain_rows(answer: Recommendation) -> list[dict[str, Any]]:
    """Weight, interval, tokens and epochs of each domain, the largest first."""
    return [
        {
            "name": name,
            "weight": weight,
            "low": answer.mixture_interval[name][0],
            "high": answer.mixture_interval[name][1],
            "tokens": weight * answer.tokens,
            "epochs": answer.epochs.get(name),
        }
        for name, weight in sorted(answer.mixture.items(), key=lambda item: -item[1])
    ]


def baseline_mixtures(answer: Recommendation) -> dict[str, dict[str, float]]:
    """Weights of the baselines that have a mixture."""
    return {
        name: dict(baseline["mixture"])
        for name, baseline in answer.baselines.items()
        if baseline is not None and baseline.get("mixture")
    }


def baseline_rows(answer: Recommendation) -> list[dict[str, Any]]:
    """The recommendation and each baseline: predicted loss, interval, and how much worse than the recommendation.

    That is the forecast's where the answer has one, with its probability and the budget of the same loss.
    """
    rows: list[dict[str, Any]] = [{"name": "recommended", **answer.loss, "difference": None, "forecast": None}]
    forecasts = answer.decision.get("forecasts", {})
    for name, baseline in answer.baselines.items():
        loss = (baseline or {}).get("loss")
        if loss is None:
            continue
        values = dict(loss) if isinstance(loss, Mapping) else {"mean": loss}
        rows.append(
            {
                "name": name,
                "mean": values["mean"],
                "low": values.get("low"),
                "high": values.get("high"),
                "difference": forecasts[name]["gain"] if name in forecasts else values["mean"] - answer.loss["mean"],
                "forecast": forecasts.get(name),
            }
        )
    return rows


def candidate_losses(picture: Picture) -> tuple[dict[str, dict[str, float]], str]:
    """Loss by candidate and evaluation domain: as measured where the study verified, else as predicted."""
    if picture.verification is not None:
        measured = {name: one["losses"] for name, one in picture.verification["candidates"].items()}
        return measured, "Measured loss on each domain"
    answer, surface = picture.answer, picture.surface
    if answer is None or surface is None or not answer.mixture:
        return {}, ""
    if not surface.objective.evals:
        return {}, ""
    losses = {}
    for name, mixture in {"recommended": answer.mixture, **baseline_mixtures(answer)}.items():
        weights = np.array([mixture.get(domain, 0.0) for domain in surface.domains])
        predicted = surface.predict_targets(weights, answer.params, answer.tokens)
        losses[name] = {eval_of(column): float(value[0]) for column, value in predicted.items()}
    return losses, f"Predicted loss on each domain at {format_flops(answer.flops)} FLOPs"


def runs_table(picture: Picture) -> dict[str, Any]:
    """Column names and rows of text, with the number to sort by: the first `MAX_ROWS` rows."""
    frame = picture.table.frame
    wanted = ("run_id", "params", "params_non_embed", "tokens", "flops", "flops_6nd", "loss", "seed", "status")
    columns = [name for name in wanted if name in frame.columns]
    columns += [name for name in frame.columns if str(name).startswith(("mix.", "loss."))]
    rows = [
        [_cell(name, value) for name, value in zip(columns, values, strict=True)]
        for values in frame[columns].head(MAX_ROWS).itertuples(index=False, name=None)
    ]
    return {"columns": columns, "rows": rows, "left_out": max(0, len(frame) - MAX_ROWS)}


def _cell(column: str, value: Any) -> tuple[str, str]:
    """(text, sort key) of one cell."""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        number = float(value)
        if not np.isfinite(number):
            return "", ""
        if column.startswith(ROUNDED):
            return f"{number:.4f}", repr(number)
        return format_flops(number) if column.startswith("flops") else format_quantity(number), repr(number)
    return str(value), str(value)


def _nearest(picture: Picture) -> int:
    """The step of the frontier at the answer's budget, where the slider begins."""
    if picture.answer is None or not picture.frontier:
        return 0
    wanted = math.log(picture.answer.flops)
    return min(range(len(picture.frontier)), key=lambda step: abs(math.log(picture.frontier[step].flops) - wanted))


def _figures(picture: Picture) -> dict[str, str]:
    """SVG by name, for what the runs can show."""
    table, answer, surface = picture.table, picture.answer, picture.surface
    colours = domain_colours(table.domains)
    law = surface.law if surface is not None else ""
    star = FrontierPoint.of(answer) if answer is not None else None
    figures = {
        "isoflop": figure_isoflop(table, picture.target, surface),
        "curve": figure_curve(table, picture.target, picture.frontier, star, law),
    }
    if answer is not None and answer.mixture:
        figures["mixture"] = figure_mixture(answer.mixture, answer.mixture_interval, baseline_mixtures(answer), colours)
    losses, title = candidate_losses(picture)
    if losses:
        figures["domains"] = figure_domains(losses, title)
    if picture.test is not None:
        figures["backtest"] = figure_backtest(picture.test.predictions, picture.test.law, "largest budget held out")
    if picture.frontier:
        figures["frontier"] = figure_frontier(picture.frontier, float(table.flops().max()), colours)
    return {name: to_svg(figure) for name, figure in figures.items()}


def _warnings(picture: Picture) -> list[str]:
    found = [*picture.notes]
    if picture.answer is not None:
        found += picture.answer.warnings
    if picture.surface is not None:
        found += picture.surface.warnings
    if picture.verification is not None:
        found += picture.verification.get("warnings", [])
    return list(dict.fromkeys(found))
