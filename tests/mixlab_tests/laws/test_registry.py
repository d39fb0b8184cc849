"""Laws by name, baselines and processes among them: what each name gives, and what all of them keep."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import law_cases as cases

from mixlab.errors import ConfigError
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.chinchilla import Chinchilla
from mixlab.laws.forms.parametric import ParametricLaw
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.registry import RESERVED, entries, get_entry, get_law, law_choices, register
from mixlab.laws.forms.solution import Solution, Status

TREES = "gbdt"  # flat between splits, and no part of a minimal installation


@pytest.fixture(scope="module")
def rows() -> Observations:
    found: Observations = cases.rows_of("joint-additive", noise=0.005, mixtures=6)
    return found


@pytest.fixture(scope="module", params=law_choices())
def name(request: pytest.FixtureRequest) -> str:
    if request.param == TREES:
        pytest.importorskip("lightgbm")
    return str(request.param)


def masks(rows: Observations) -> np.ndarray:
    """All rows, and two of three."""
    return np.array([np.ones(len(rows)), np.arange(len(rows)) % 3 > 0], dtype=float)


@pytest.fixture(scope="module")
def fits(name: str, rows: Observations) -> Fits:
    """Two fits of the law: to all rows, and to some."""
    law = get_law(name)
    before = dict(vars(law))
    found = law.fit(rows, masks(rows))
    assert vars(law) == before  # it holds no state
    return found


def test_each_name_gives_a_law_of_that_name() -> None:
    names = law_choices()
    assert len(set(names)) == len(names)
    assert all(get_law(name).name == name for name in names)
    for entry in entries():
        assert entry.law.baseline != isinstance(entry.law, ParametricLaw)  # a baseline has no theory
        offered = f"{entry.law.name}+gp" in names
        assert offered == (entry.process is not None) == (not entry.law.baseline)
        if entry.process is not None:
            assert (entry.process.needs, entry.process.takes) == (entry.law.needs, entry.law.takes)


@pytest.mark.parametrize("taken", ["chinchilla", "gp", "chinchilla+gp", *RESERVED])
def test_a_name_that_is_taken_is_refused(taken: str) -> None:
    law = Chinchilla()
    law.name = taken
    with pytest.raises(ConfigError, match=r"is taken: a law must have a name of its own") as error:
        register(law)
    assert error.value.hint
    assert get_entry("chinchilla").law is not law


@pytest.mark.parametrize(("asked", "near"), [("chinchila", "chinchilla"), ("linear+gp", "linear"), ("auto", None)])
def test_an_unknown_name_is_refused_with_the_nearest(asked: str, near: str | None) -> None:
    with pytest.raises(ConfigError, match="no law is called") as error:
        get_law(asked)
    assert near is None or f"`{near}`" in (error.value.hint or "")


def test_fits_made_together_equal_each_alone_and_can_be_taken_apart(name: str, fits: Fits, rows: Observations) -> None:
    alone = get_law(name).fit(rows, masks(rows)[1:])
    # A kernel is tuned in few steps, in which rounding errors grow.
    assert fits.predict(rows)[1] == pytest.approx(alone.predict(rows)[0], rel=1e-4 if "gp" in name else 1e-8)
    assert fits.one(1).predict(rows)[0] == pytest.approx(fits.predict(rows)[1], rel=1e-12)
    assert fits.one(1).natural() == fits.natural(1)
    again = fits.one(0).joined([fits.one(1)])
    assert (len(fits), len(again)) == (2, 2)
    assert again.function == fits.function
    assert again.predict(rows) == pytest.approx(fits.predict(rows), rel=1e-12)
    assert again.status == fits.status


def test_the_gradient_equals_finite_differences(name: str, fits: Fits) -> None:
    if name == TREES:
        pytest.skip("trees are flat between splits")
    at = Points.make(np.random.default_rng(1).dirichlet(np.ones(3), 4), 4e6, 2e9, 3)
    value, slope = fits.value_and_gradient(at)
    assert value == pytest.approx(fits.predict(at), rel=1e-12)
    assert np.array_equal(slope, fits.gradient(at))
    step = 1e-6
    for k in range(3):
        up, down = (replace(at, mixture=at.mixture + sign * step * (np.arange(3) == k)) for sign in (1, -1))
        numeric = (fits.predict(up) - fits.predict(down)) / (2 * step)
        assert slope[:, :, k] == pytest.approx(numeric, rel=1e-3, abs=1e-5)


def test_the_loss_moves_with_what_is_taken(name: str, fits: Fits) -> None:
    """And with nothing else, but where a process stands on a law: its own features move it near the runs."""
    h = np.array([0.5, 0.3, 0.2])
    moves = {
        "params": Points.make(h, [1e6, 3e7], 1e9, 3, cases.SUPPLY),
        "tokens": Points.make(h, 5e6, [1e8, 1e10], 3, cases.SUPPLY),
        "mixture": Points.make([h, [0.1, 0.8, 0.1]], 5e6, 1e9, 3, cases.SUPPLY),
        "epochs": Points.make(h, 5e6, 1e9, 3, [[1e12] * 3, [1e8] * 3]),
    }
    moved = {which for which, at in moves.items() if abs(np.diff(np.log(fits.predict(at)[0]))[0]) > 1e-6}
    law = get_law(name)
    assert moved >= law.takes
    if law.baseline or get_entry(name).process is not None:
        assert moved == law.takes


def test_baselines_predict_what_they_can(name: str, fits: Fits, rows: Observations) -> None:
    law = get_law(name)
    if law.baseline and law.takes:
        assert np.corrcoef(fits.predict(rows)[0], rows.loss)[0, 1] > 0.9


def test_a_status_says_what_it_means_and_what_may_help() -> None:
    assert [str(status) for status in Status] == [
        "converged", "max_iter", "bound_hit", "ill_conditioned", "too_few_rows"
    ]  # fmt: skip
    for status in Status:
        assert status.message == f"{status.meaning}: {status.advice}"
        assert json.dumps(status) == f'"{status}"'
    assert all("you may need" in s.advice or "you need" in s.advice for s in Status if s is not Status.CONVERGED)


def test_a_solution_counts_its_steps(rows: Observations) -> None:
    found = get_law("effective-data").fit(rows, masks(rows)).solution
    assert np.all(found.steps > 0)
    assert np.all(get_law("linear").fit(rows, masks(rows)).solution.steps == 0)
    assert isinstance(found.some([1]), Solution)
    assert len(found.some([1]).joined([found])) == 3
