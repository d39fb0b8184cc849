"""Repeated text: the published formula and its figures, what the law does without repeats, and when it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import law_cases as cases

from mixlab.errors import FitError
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.points import Points
from mixlab.laws.forms.registry import get_law
from mixlab.laws.forms.repetition import MUENNIGHOFF, REPEATS_PRIOR, effective
from mixlab.laws.forms.solver import huber
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference" / "datablations_repeats.csv"
needs_table = pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference table is absent")
BLIND = {
    "repetition": "additive-data",
    "effective-repetition": "effective-data",
    "concave-repetition": "concave-data",
}


def of_all_text(R: float = 8.0, noise: float = 0.0) -> Runs:
    """L = 1.5 + 300 N^-.35 + 500 D'^-.3 without mixtures: four sizes, four token counts, four supplies."""
    grid = np.meshgrid(np.geomspace(1e6, 3e7, 4), np.geomspace(1e8, 4e9, 4), [1e7, 4e7, 9e7, 6e8])
    n, d, u = (axis.ravel() for axis in grid)
    loss = 1.5 + 300 * n**-0.35 + 500 * effective(d, u, R)[0] ** -0.3
    loss = loss * np.exp(noise * np.random.default_rng(0).standard_normal(len(n)))
    return Runs.from_frame(pd.DataFrame({"params": n, "tokens": d, "unique_tokens": u, "loss": loss}))


def test_effective_tokens_saturate() -> None:
    counted, by_seen, by_log_r = effective([0.5, 1.0, 4.0, 1e9], 1.0, 15.0)
    assert counted == pytest.approx([0.5, 1.0, 1 + 15 * (1 - np.exp(-0.2)), 16.0])
    assert by_seen == pytest.approx([1.0, 1.0, np.exp(-0.2), 0.0])
    up, down = (effective(4.0, 1.0, 15.0 * np.exp(step))[0] for step in (1e-6, -1e-6))
    assert by_log_r[2] == pytest.approx((up - down) / 2e-6, rel=1e-6)
    assert effective(1e12, np.inf, 15.0)[0] == 1e12


def test_published_losses() -> None:
    found = MUENNIGHOFF.loss([6.34e9, 8.67e9], [242e9, 178e9], 25e9)
    assert found == pytest.approx([2.22564, 2.22696], abs=1e-5)


@needs_table
def test_published_fit() -> None:
    table = read_runs(REFERENCE).where("in_paper_fit == 1")
    loss = table.column("loss")
    predicted = MUENNIGHOFF.loss(table.params(), table.tokens(), table.unique()[:, 0])
    r2 = 1 - np.sum((predicted - loss) ** 2) / np.sum((loss - loss.mean()) ** 2)
    assert len(table) == 182
    assert r2 == pytest.approx(0.7722046, abs=1e-6)
    assert huber(np.log(predicted / loss), 1e-3).sum() == pytest.approx(0.015825935, abs=1e-8)


@needs_table
def test_few_epochs_predict_many() -> None:
    table = read_runs(REFERENCE).where("in_paper_fit == 1")
    few, many = table.where("epochs <= 16"), table.where("epochs > 16")
    error = {}
    for law in ("repetition", "additive-data"):
        surface = fit_surface(few, "loss", law=law, bootstrap=0).with_supply(many.unique())
        predicted = surface.predict(None, many.params(), many.tokens())
        error[law] = float(np.mean(np.abs(predicted / many.column("loss") - 1)))
    assert error["repetition"] < 0.08
    assert error["additive-data"] > 0.09


def test_repeats_of_all_text_are_recovered() -> None:
    fit = fit_surface(of_all_text(), "loss", law="repetition", bootstrap=0).fits["loss"]
    assert fit.status == "converged"
    truth = {"E": 1.5, "A": 300, "B": 500, "alpha": 0.35, "beta": 0.3, "R": 8.0}
    assert {name: fit.params[name] for name in truth} == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("name", list(BLIND))
def test_endless_text_gives_the_law_without_repetition(name: str) -> None:
    law, blind = cases.parametric(name), cases.parametric(BLIND[name])
    rows = cases.rows_of(name, mixtures=12)
    theta = law.fit(rows, np.ones((1, len(rows)))).theta
    at = Points.make(np.random.default_rng(1).dirichlet(np.ones(3), 5), 0.3, 7.0, 3)
    assert np.array_equal(law.predict(theta, at), blind.predict(theta[:, :-1], at))
    assert np.array_equal(law.gradient(theta, at), blind.gradient(theta[:, :-1], at))
    scarce = replace(at, unique=np.full_like(at.unique, 0.5))
    assert np.all(law.predict(theta, scarce) > law.predict(theta, at))


def test_rows_without_repeats_leave_the_published_constant() -> None:
    rows = cases.rows_of("additive-data", noise=0.002)
    ample = replace(rows, unique=np.full_like(rows.unique, 1e11))
    fits = {name: get_law(name).fit(ample, np.ones((1, len(rows)))) for name in ("repetition", "additive-data")}
    assert fits["repetition"].natural()["R"] == pytest.approx(np.exp(REPEATS_PRIOR[0]))
    assert fits["repetition"].predict(ample) == pytest.approx(fits["additive-data"].predict(ample), rel=1e-9)
    # What a larger run repeats counts for less all the same.
    larger = Points.make([0.2, 0.6, 0.2], 1e8, 1e12, 3, 1e11)
    assert fits["repetition"].predict(larger) > fits["additive-data"].predict(larger)


@pytest.mark.parametrize(("mixtures", "column"), [(False, "`unique_tokens`"), (True, "`unique.<domain>`")])
def test_a_table_that_states_no_supply_is_refused(mixtures: bool, column: str) -> None:
    frame = of_all_text().frame.drop(columns="unique_tokens")
    if mixtures:
        frame = frame.assign(**{"mix.a": np.linspace(0, 1, len(frame)), "mix.b": np.linspace(1, 0, len(frame))})
    with pytest.raises(FitError, match="needs to know how many unique tokens there are") as error:
        fit_surface(Runs.from_frame(frame), "loss", law="repetition")
    assert column in (error.value.hint or "")


def test_auto_tells_repeats_apart_where_the_table_states_a_supply() -> None:
    table = of_all_text(noise=0.003)
    names = {row["law"] for row in fit_surface(table, "loss", bootstrap=0).selection if not row["baseline"]}
    assert names == {"repetition", "effective-repetition"}
    silent = Runs.from_frame(table.frame.drop(columns="unique_tokens"))
    names = {row["law"] for row in fit_surface(silent, "loss", bootstrap=0).selection if not row["baseline"]}
    assert names == {"additive-data", "effective-data"}


def test_laws_blind_to_repeats_are_left_out_only_where_rows_repeat() -> None:
    rows = cases.rows_of("repetition", noise=0.003, mixtures=6)
    frame = pd.DataFrame({"run_id": rows.run, "params": rows.params, "tokens": rows.tokens, "loss": rows.loss})
    frame = frame.assign(**{f"mix.{name}": rows.mixture[:, k] for k, name in enumerate(rows.domains)})
    for supply, joint in ((cases.SUPPLY, False), ((1e11, 1e11, 1e11), True)):
        stated = {f"unique.{name}": count for name, count in zip(rows.domains, supply, strict=True)}
        table = Runs.from_frame(frame.assign(**stated))
        tried = {row["law"] for row in fit_surface(table, "loss", bootstrap=0).selection}
        assert {"repetition+gp", "effective-repetition+gp"} <= tried
        assert ("joint+gp" in tried) is joint
