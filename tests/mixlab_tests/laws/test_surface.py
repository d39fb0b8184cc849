"""From a table to a fitted objective: choice by transfer, intervals, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import law_cases as cases

from mixlab.errors import ConfigError, FitError, RunTableError
from mixlab.laws.bootstrap import bootstrap_losses
from mixlab.laws.choice.rows import groups_of_mixtures
from mixlab.laws.choice.transfer import TransferError, make_splits
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.solution import Status
from mixlab.laws.result import FitResult
from mixlab.runs.table import Runs


def planted(mixtures: int) -> Runs:
    rows = cases.rows_of("effective-data", noise=0.005, mixtures=mixtures)
    other = cases.rows_of("joint-additive", noise=0.005, mixtures=mixtures)
    frame = pd.DataFrame(
        {"run_id": rows.run, "params": rows.params, "tokens": rows.tokens, "loss.a": rows.loss, "loss.b": other.loss}
        | {f"mix.{name}": rows.mixture[:, k] for k, name in enumerate(rows.domains)}
    )
    return Runs.from_frame(frame.assign(loss=frame["loss.a"] / 2 + frame["loss.b"] / 2))


@pytest.fixture(scope="module")
def table() -> Runs:
    """Two evaluation sets that follow planted laws with noise of half a percent."""
    return planted(24)


@pytest.fixture(scope="module")
def small() -> Runs:
    """The same with half of the mixtures, on which `auto` takes a third of the time."""
    return planted(12)


def test_auto_takes_the_law_that_made_the_rows(table: Runs) -> None:
    surface = fit_surface(table, "loss.a", bootstrap=0)
    assert surface.law == "auto"
    best = min(surface.selection, key=lambda row: row["transfer_error"])
    assert best["law"] in ("effective-data+gp", "concave-data+gp")  # the second contains the first
    assert sum(row["weight"] for row in surface.selection) == pytest.approx(1)
    assert next(row for row in surface.selection if row["law"] == best["law"])["weight"] > 0
    assert surface.selection[-1]["law"] == "linear"
    assert surface.selection[-1]["baseline"]


def test_targets_are_fitted_apart_and_combined(table: Runs) -> None:
    surface = fit_surface(table, {"a": 0.25, "b": 0.75}, law="effective-data", bootstrap=20)
    h, n, d = np.array([0.2, 0.3, 0.5]), 1e7, 1e10
    parts = surface.predict_targets(h, n, d)
    assert surface.predict(h, n, d) == pytest.approx(0.25 * parts["loss.a"] + 0.75 * parts["loss.b"])
    step = np.array([1e-6, 0, -1e-6])
    slope = (surface.predict(h + step, n, d) - surface.predict(h - step, n, d)) / 2e-6
    value, gradient = surface.value_and_gradient(h, n, d)
    assert value == pytest.approx(surface.predict(h, n, d)[0])
    assert gradient[0] - gradient[2] == pytest.approx(slope[0], rel=1e-4)


def test_intervals_widen_with_reach_and_hold_new_runs(table: Runs) -> None:
    surface = fit_surface(table, "loss.a", law="effective-data", bootstrap=60)
    h = np.array([0.3, 0.3, 0.4])
    near, far = (surface.interval(h, n, d) for n, d in ((1e7, 1e9), (1e9, 1e11)))
    mean = surface.predict(h, np.array([1e7, 1e9]), np.array([1e9, 1e11]))
    assert np.log(far[1] / far[0]) > np.log(near[1] / near[0])
    assert near[0] < mean[0] < near[1]
    confidence = surface.interval(h, 1e7, 1e9, kind="confidence")
    assert confidence[1] - confidence[0] < near[1] - near[0]
    fresh = cases.rows_of("effective-data", noise=0.005, seed=9)
    low, high = surface.interval(fresh.mixture, fresh.params, fresh.tokens)
    # 384 rows set the width and 384 rows test it: two standard errors of both together are .043.
    assert 0.84 <= np.mean((low <= fresh.loss) & (fresh.loss <= high)) <= 0.96
    with pytest.raises(ConfigError, match=r"no target `loss\.c`"):
        surface.interval(h, 1e7, 1e9, target="loss.c")


def test_a_result_survives_json(table: Runs) -> None:
    result = fit_surface(table, "loss.a", law="effective-data", bootstrap=0, parameter_draws=20).fits["loss.a"]
    assert FitResult.from_dict(result.to_dict()) == result
    assert set(result.to_dict()) == {
        "law", "target", "rows", "params", "interval", "objective", "status", "warnings", "members"
    }  # fmt: skip


def test_the_same_seed_gives_the_same_intervals(table: Runs) -> None:
    one, two = (
        fit_surface(table, "loss.a", law="effective-data", bootstrap=0, parameter_draws=20, seed=4) for _ in range(2)
    )
    assert one.fits["loss.a"].interval == two.fits["loss.a"].interval


@pytest.mark.parametrize(
    ("where", "law", "message"),
    [
        ("index < 2", "auto", "needs at least 3 rows with a finite"),
        ("index < 7", "chinchilla", "5 parameters and needs at least 8 rows, but got 7"),
        ("params < 2e6", "chinchilla", "needs at least 3 different model sizes N, but all rows have the same"),
        ("params < 4e6", "chinchilla", "needs at least 3 different model sizes N, but got 2"),
    ],
)
def test_what_cannot_carry_a_law_is_refused(table: Runs, where: str, law: str, message: str) -> None:
    with pytest.raises(FitError, match=message) as error:
        fit_surface(table.where(where), "loss.a", law=law)
    assert error.value.hint
    assert error.value.exit_code == 4


def test_mixtures_on_a_line_are_refused(table: Runs) -> None:
    h = np.linspace(0.1, 0.8, len(table))
    frame = table.frame.assign(**{"mix.web": h, "mix.code": 0.9 - h, "mix.math": 0.1})
    with pytest.raises(FitError, match="must vary in 2 directions, but vary in 1"):
        fit_surface(Runs.from_frame(frame), "loss.a", law="effective-data")


def test_a_fit_that_ends_at_its_bound_is_refused(table: Runs) -> None:
    # Loss rises with size, which no exponent can say.
    frame = table.frame.assign(loss=2 + 0.05 * np.log(table.params()) - 0.02 * np.log(table.tokens()))
    with pytest.raises(FitError, match=r"ended as bound_hit after \d+ steps; bound_hit says that an") as error:
        fit_surface(Runs.from_frame(frame), "loss", law="chinchilla", bootstrap=0)
    assert error.value.hint == Status.BOUND_HIT.advice


def test_missing_columns_are_named(table: Runs) -> None:
    with pytest.raises(RunTableError, match="no column `lss`"):
        fit_surface(table, "lss")


def test_rows_without_a_loss_are_counted(table: Runs) -> None:
    frame = table.frame.copy()
    frame.loc[:4, "loss.a"] = np.nan
    surface = fit_surface(Runs.from_frame(frame), "loss.a", law="effective-data", bootstrap=0)
    assert surface.rows == len(table) - 5
    assert any("is missing in 5 rows" in warning for warning in surface.warnings)


def test_resamples_keep_the_design_and_the_luck_of_a_run() -> None:
    run = np.array([0, 0, 0, 1, 1, 2])
    fitted = np.full(6, 2.0)
    observed = 2.0 * np.exp([0.1, 0.1, 0.2, -0.1, -0.1, 0.3])
    tables = bootstrap_losses(observed, fitted, run, parameters=0, count=200, seed=1)
    moved = np.log(tables / fitted) / np.log(observed / fitted)
    assert np.allclose(np.abs(moved), 1)
    assert np.allclose(moved[:, :1], moved[:, :3])
    assert set(map(tuple, np.sign(moved[:, [0, 3, 5]]).astype(int))) == set(itertools.product((-1, 1), repeat=3))
    wider = bootstrap_losses(observed, fitted, run, parameters=2, count=1, seed=1)
    assert np.abs(np.log(wider / fitted)) == pytest.approx(np.abs(np.log(observed / fitted))[None] * np.sqrt(6 / 4))


def test_mixtures_that_nearly_agree_are_one_group() -> None:
    h = np.array([[0.5, 0.5], [0.503, 0.497], [0.506, 0.494], [0.6, 0.4]])
    groups = groups_of_mixtures(h)
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_splits_predict_forward_and_keep_mixtures_whole() -> None:
    flops = np.tile([1e15, 2e15, 4e15], 16)
    params = np.tile(np.repeat([1e6, 2e6, 3e6, 9e6], 3), 4)
    groups = np.repeat(np.arange(16), 3)
    splits = make_splits({"compute": flops, "params": params}, groups, min_rows=10, seed=0)
    compute = [split for split in splits if split.kind == "compute"]
    assert len(compute) == 2
    for split in compute:
        assert flops[split.fit].max() < flops[split.test].min()
        assert np.all(split.reach[split.test] > 0.6)
    larger = [split for split in splits if split.kind == "params"]
    assert [set(params[split.test]) for split in larger] == [{9e6}]  # three sizes must have been seen
    assert np.allclose(larger[0].reach[larger[0].test], np.log(3))
    for split in splits:
        assert not np.any(split.fit & split.test)
        if split.kind == "mixture":
            assert not set(groups[split.fit]) & set(groups[split.test])


def test_an_interval_is_as_wide_as_the_transfer_it_asks_for() -> None:
    error = TransferError(0.01, 0.01, {"compute": 0.02, "params": 0.05, "mixture": 0.03}, {"compute": 3})
    decade = np.log(10.0)
    compute, params = np.array([-1.0, 0.0, decade, 2 * decade, 0.0]), np.array([-1.0, 0.0, 0.0, 0.0, decade])
    reach = {"compute": compute, "params": params, "epochs": np.zeros(5)}
    widths = error.half_width(reach, 0.9)
    assert widths == pytest.approx([0.03, 0.03, 0.04, 0.06, 0.1])
    assert error.half_width(reach, 0.5) == pytest.approx(widths * 0.6745 / 1.6449, rel=1e-3)


def test_a_target_measured_in_half_of_the_rows_is_fitted_to_that_half(small: Runs) -> None:
    frame = small.frame.copy()
    frame.loc[frame["params"] > 1e7, "loss.b"] = np.nan
    surface = fit_surface(Runs.from_frame(frame), {"a": 0.5, "b": 0.5}, bootstrap=0)
    assert surface.fits["loss.a"].rows == len(small)
    assert surface.fits["loss.b"].rows == int((small.params() <= 1e7).sum())
    assert np.isfinite(surface.predict([0.2, 0.3, 0.5], 1e7, 1e9)).all()


def test_the_interval_of_a_printed_parameter_holds_its_value(small: Runs) -> None:
    result = fit_surface(small, "loss.a", bootstrap=0, parameter_draws=40).fits["loss.a"]
    for name in ("E", "alpha", "beta"):
        low, high = result.interval[name]
        assert low <= result.params[name] <= high


def test_a_law_that_takes_nearly_all_rows_is_tried_on_one_mixture_at_a_time() -> None:
    groups = np.arange(16)
    folds, single, none = (
        make_splits({"compute": np.ones(16)}, group, min_rows=rows, seed=0)
        for group, rows in ((groups, 12), (groups, 15), (groups // 4, 15))
    )
    assert (len(folds), len(single), len(none)) == (4, 16, 0)
    assert sorted(int(np.flatnonzero(split.test)[0]) for split in single) == list(range(16))
    rows = cases.rows_of("concave-data", noise=0.01, mixtures=16)
    one = rows.select((rows.params == rows.params.max()) & (rows.tokens == rows.tokens.max()))
    frame = pd.DataFrame({"loss": one.loss} | {f"mix.{k}": one.mixture[:, i] for i, k in enumerate(one.domains)})
    for count, law, told in ((10, "effective-data+gp", True), (7, "gp", False)):
        surface = fit_surface(Runs.from_frame(frame[:count]), "loss", law=law, bootstrap=0)
        low, high = surface.interval(one.mixture, 1.0, 1.0)
        assert ("mixture" in surface.choice.objective.quantile) == told
        assert any("intervals come from in-sample errors" in warning for warning in surface.warnings) != told
        if told:
            assert np.median(np.log(high / low)) > 2 * 0.01  # the noise alone is that wide
