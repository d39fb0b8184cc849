"""Everything that plots and the report show about one study or table, computed once.

Nothing here trains or changes anything. What cannot be known (no mixtures, no budgets, a law that cannot be carried)
is left None, and `notes` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from analysis.backtest.backtest import Backtest, default_targets, run_backtest
from analysis.backtest.holdout import split_largest
from analysis.plots.points import FrontierPoint, trace_frontier
from mixlab.api.asked import ASKING
from mixlab.api.fit import Fit, fit_problem
from mixlab.api.given import weights
from mixlab.api.recommend import recommend
from mixlab.errors import MixlabError
from mixlab.files import read_json
from mixlab.laws.surface import Surface
from mixlab.runs.read import RunsLike, read_runs, study_of
from mixlab.runs.table import Runs
from mixlab.search.problem import Problem, Stated, pose_problem
from mixlab.search.question import BEYOND
from mixlab.search.recommendation import Recommendation
from mixlab.study.folder import StudyFolder

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """One study or table, ready to be shown.

    Attributes:
        title: the study's name or the file's.
        problem: runs, objective, space.
        target: the column that plots show.
        fit: of the objective.
        answer: the recommendation.
        frontier: the best at budgets from the smallest run to beyond the answer.
        test: a backtest that holds out the largest budget.
        verification: verification.json, where the study has one.
        notes: what is left out and why.
    """

    title: str
    problem: Problem
    target: str
    fit: Fit | None
    answer: Recommendation | None
    frontier: list[FrontierPoint]
    test: Backtest | None
    verification: dict[str, Any] | None
    notes: list[str]

    @property
    def table(self) -> Runs:
        """The rows."""
        return self.problem.runs

    @property
    def surface(self) -> Surface | None:
        """The fitted objective."""
        return self.fit.surface if self.fit is not None else None


def gather(
    runs: RunsLike,
    *,
    flops: float | None = None,
    law: str | None = None,
    bootstrap: int = 100,
    parts: frozenset[str] = frozenset({"answer", "frontier", "test"}),
    **options: Any,
) -> Picture:
    """Fit, recommend, trace the frontier and backtest, as far as the runs carry it.

    Args:
        runs: a run table (a path or a frame), or a study folder.
        flops: the budget to recommend at; absent: the study's last recommendation, else `BEYOND` times the largest.
        law: a law's name; absent: the study's choice.
        bootstrap: resamples behind the intervals of a new answer's mixture and size; a stored one has its own.
        parts: of `answer`, `frontier` and `test`, what is wanted.
        options: keywords of `mixlab.read_runs`, and what is asked of the answer, as in `mixlab.recommend`. A stored
            recommendation is about all rows and what was asked then, and not shown with `where` or anything asked.

    Raises:
        RunTableError: when there is no table to look at.
    """
    study = study_of(runs)
    asking: Any = {name: options.pop(name) for name in ASKING if name in options}
    stated = Stated(law=law, supply=weights(asking.get("supply"), "supply"))
    problem = pose_problem(read_runs(runs, **options), study, stated)
    notes: list[str] = list(problem.runs.notes)
    target = default_targets(problem.runs)[0]

    def attempt(what: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except MixlabError as error:
            notes.append(f"{what} is left out: {error.message}")
            return None

    wants_stored = flops is None and law is None and not options.get("where") and not asking
    stored = _stored(study) if study is not None and wants_stored else None
    fitted = attempt("the fit", lambda: fit_problem(problem, bootstrap if stored is None else 0))
    answer, best, test = None, [], None
    if fitted is not None and parts & {"answer", "frontier"}:
        known = fitted
        answer = stored or attempt("the recommendation", lambda: _answer(known, flops, asking))
        if answer is not None and "frontier" in parts:
            shown = answer
            best = attempt("the frontier", lambda: trace_frontier(known, shown.flops, shown)) or []
    if fitted is not None and "test" in parts:
        used, seed = fitted.law, problem.facts.seed
        test = attempt(
            "the backtest",
            lambda: run_backtest(split_largest(problem.runs), [target], law=used, seed=seed),
        )
    return Picture(
        title=study.config.name if study is not None else Path(runs).stem if isinstance(runs, (str, Path)) else "runs",
        problem=problem,
        target=target,
        fit=fitted,
        answer=answer,
        frontier=best,
        test=test,
        verification=_verification(study) if study is not None else None,
        notes=list(dict.fromkeys(notes)),
    )


def _answer(fitted: Fit, flops: float | None, asking: Any) -> Recommendation:
    return recommend(fitted, flops or BEYOND * fitted.surface.max_flops, **asking)


def _stored(study: StudyFolder) -> Recommendation | None:
    """The study's recommendation, where there is one."""
    if not study.recommendation.exists():
        return None
    return Recommendation.from_dict(read_json(study.recommendation, "run `mixlab recommend` again"))


def _verification(study: StudyFolder) -> dict[str, Any] | None:
    if not study.verification.exists():
        return None
    data: dict[str, Any] = read_json(study.verification, "run `mixlab verify` again")
    return data
