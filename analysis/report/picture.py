"""Everything that plots and the report show about one study or table, computed once.

Nothing here trains or changes anything. What cannot be known (no mixtures, no budgets, a law that cannot be carried)
is left None, and `notes` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from analysis.backtest.backtest import Backtest, backtest, default_targets
from analysis.backtest.holdout import split_largest
from analysis.plots.curve import FrontierPoint
from mixlab.errors import MixlabError
from mixlab.files import read_json
from mixlab.laws.surface import Surface
from mixlab.runs.table import Runs
from mixlab.search.frontier import frontier
from mixlab.search.problem import Problem, load_problem
from mixlab.search.recommend import recommend
from mixlab.search.recommendation import Recommendation
from mixlab.study.folder import StudyFolder

T = TypeVar("T")

BEYOND = 4.0  # times the largest run's FLOPs, when no budget is asked for
STEPS = 25  # budgets along the frontier


@dataclass(frozen=True)
class Picture:
    """One study or table, ready to be shown.

    Attributes:
        title: the study's name or the file's.
        problem: table, objective, space.
        target: the column that plots show.
        surface: the fitted objective.
        answer: the recommendation.
        frontier: the best at budgets from the smallest run to beyond the answer.
        test: a backtest that holds out the largest budget.
        verification: verification.json, where the study has one.
        notes: what is left out and why.
    """

    title: str
    problem: Problem
    target: str
    surface: Surface | None
    answer: Recommendation | None
    frontier: list[FrontierPoint]
    test: Backtest | None
    verification: dict[str, Any] | None
    notes: list[str]

    @property
    def table(self) -> Runs:
        return self.problem.table


def gather(
    runs: str | Path,
    *,
    flops: float | None = None,
    law: str | None = None,
    where: str | None = None,
    bootstrap: int = 100,
    parts: frozenset[str] = frozenset({"answer", "frontier", "test"}),
) -> Picture:
    """Fit, recommend, trace the frontier and backtest, as far as the runs carry it.

    Args:
        runs: a run table's path or a study folder.
        flops: the budget to recommend at; absent: the study's last recommendation, else `BEYOND` times the largest.
        law: a law's name; absent: the study's choice.
        where: use these rows alone; a stored recommendation, which is about all, is then not shown.
        bootstrap: resamples behind the intervals of a new answer's mixture and size; a stored one has its own.
        parts: of `answer`, `frontier` and `test`, what is wanted.

    Raises:
        RunTableError: when there is no table to look at.
    """
    problem = load_problem(runs, law=law, where=where)
    seed = problem.seed
    notes: list[str] = list(problem.table.notes)
    target = default_targets(problem.table)[0]

    def attempt(what: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except MixlabError as error:
            notes.append(f"{what} is left out: {error.message}")
            return None

    stored = _stored(Path(runs)) if flops is None and law is None and where is None else None
    surface = attempt("the fit", lambda: problem.fit(bootstrap if stored is None else 0))
    answer, best, test = None, [], None
    if surface is not None and parts & {"answer", "frontier"}:
        fitted = surface
        answer = stored or attempt("the recommendation", lambda: _answer(problem, fitted, flops))
        if answer is not None and "frontier" in parts:
            until = answer.flops
            best = attempt("the frontier", lambda: trace_frontier(problem, fitted, until)) or []
    if surface is not None and "test" in parts:
        used = surface.law
        test = attempt(
            "the backtest",
            lambda: backtest(split_largest(problem.table), [target], law=used, seed=seed),
        )
    return Picture(
        title=_title(Path(runs), problem),
        problem=problem,
        target=target,
        surface=surface,
        answer=answer,
        frontier=best,
        test=test,
        verification=_verification(Path(runs)),
        notes=list(dict.fromkeys(notes)),
    )


def trace_frontier(problem: Problem, surface: Surface, until: float) -> list[FrontierPoint]:
    """The best mixture, size and tokens at `STEPS` budgets from the smallest run's to twice `until`."""
    start = float(problem.table.flops().min())
    budgets = np.geomspace(start, 2 * max(until, surface.max_flops), STEPS)
    return [to_point(one) for one in frontier(surface, problem, [float(budget) for budget in budgets])]


def to_point(answer: Recommendation) -> FrontierPoint:
    """A recommendation as a point of the frontier."""
    loss = answer.loss
    return FrontierPoint(
        flops=float(answer.flops),
        params=float(answer.params),
        tokens=float(answer.tokens),
        loss=float(loss["mean"]),
        low=float(loss["low"]),
        high=float(loss["high"]),
        mixture=dict(answer.mixture),
    )


def _stored(runs: Path) -> Recommendation | None:
    """The study's recommendation, where there is one."""
    if not runs.is_dir() or not StudyFolder(runs).recommendation.exists():
        return None
    return Recommendation.from_json(read_json(StudyFolder(runs).recommendation, "run `mixlab recommend` again"))


def _answer(problem: Problem, surface: Surface, flops: float | None) -> Recommendation:
    return recommend(
        surface,
        problem.space,
        flops or BEYOND * surface.max_flops,
        cost=problem.cost,
        observed=problem.table,
        prior=problem.prior,
        seed=problem.seed,
    )


def _title(runs: Path, problem: Problem) -> str:
    config = problem.config
    return config.name if config is not None else runs.stem


def _verification(runs: Path) -> dict[str, Any] | None:
    if not runs.is_dir() or not StudyFolder(runs).verification.exists():
        return None
    data: dict[str, Any] = read_json(StudyFolder(runs).verification, "run `mixlab verify` again")
    return data
