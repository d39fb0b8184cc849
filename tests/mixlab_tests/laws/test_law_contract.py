"""One suite that every law passes: planted truth, derivatives, monotonicity, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from mixlab.laws.forms.base import Observations, Points
from mixlab.laws.forms.registry import get_law

LAWS = (
    "chinchilla",
    "loglinear",
    "power-mix",
    "effective-data",
    "additive-data",
    "concave-data",
    "repetition",
    "effective-repetition",
    "concave-repetition",
    "joint",
    "joint-additive",
)


def fitted_loss(law: str, rows: Observations, seed: int = 0) -> np.ndarray:
    fit = get_law(law).fit(rows, np.ones((1, len(rows))), seed)
    return fit.predict(rows)[0]


@pytest.mark.parametrize("name", LAWS)
def test_planted_truth_is_recovered(cases: ModuleType, name: str) -> None:
    rows = cases.rows_of(name)
    fit = get_law(name).fit(rows, np.ones((1, len(rows))))
    assert fit.status == ("converged",)
    assert fit.predict(rows)[0] == pytest.approx(rows.loss, rel=1e-6)
    # Beyond the rows too: mixtures, sizes and tokens that no row has.
    far = Points.make(np.random.default_rng(1).dirichlet(np.ones(3), 5), 1e8, 1e11, 3, cases.SUPPLY)
    assert fit.predict(far)[0] == pytest.approx(cases.planted_loss(name, far), rel=1e-5)


def test_published_parameters_come_back(cases: ModuleType) -> None:
    rows = cases.rows_of("chinchilla")
    found = get_law("chinchilla").fit(rows, np.ones((1, len(rows)))).natural()
    E, A, B, alpha, beta = np.exp(cases.PLANTED["chinchilla"])
    truth = {
        "E": E,
        "A": A * np.exp(alpha * cases.CENTRE[0]),
        "B": B * np.exp(beta * cases.CENTRE[1]),
        "alpha": alpha,
        "beta": beta,
    }
    assert found == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_derivatives_equal_finite_differences(cases: ModuleType, name: str) -> None:
    law, theta = cases.parametric(name), cases.PLANTED[name]
    rng = np.random.default_rng(2)
    h, n, d = rng.dirichlet(np.ones(3), 4), np.exp(rng.normal(size=4)), np.exp(rng.normal(size=4))
    at = Points.make(h, n, d, 3, (0.3, 0.02, np.inf))  # some domains are repeated, some not
    assert 0 < np.mean(at.mixture * d[:, None] > at.unique) < 1
    step = 1e-6
    jacobian = law.evaluate(theta[None], at)[1][0]
    for i in range(len(theta)):
        move = step * (np.arange(len(theta)) == i)
        numeric = (law.predict((theta + move)[None], at) - law.predict((theta - move)[None], at))[0]
        assert jacobian[:, i] == pytest.approx(numeric / (2 * step), abs=1e-7)
    gradient = law.gradient(theta[None], at)[0]
    for k in range(3):
        move = step * (np.arange(3) == k)
        up, down = (replace(at, mixture=at.mixture + sign * move) for sign in (1, -1))
        numeric = (law.predict(theta[None], up) - law.predict(theta[None], down))[0]
        assert gradient[:, k] == pytest.approx(numeric / (2 * step), abs=1e-7)
    value, again = law.value_and_gradient(theta[None], at)
    assert np.array_equal(value, law.predict(theta[None], at))
    assert np.array_equal(again[0], gradient)


@pytest.mark.parametrize("name", LAWS)
def test_loss_falls_in_size_and_tokens(cases: ModuleType, name: str) -> None:
    law, theta = cases.parametric(name), cases.PLANTED[name][None]
    h, grid = [0.5, 0.3, 0.2], np.exp(np.linspace(-4, 4, 9))
    for at in (Points.make(h, grid, 1.0, 3), Points.make(h, 1.0, grid, 3)):
        steps = np.diff(law.predict(theta, at)[0])
        assert np.all(steps < 0) or name in ("loglinear", "power-mix")
        assert np.all(steps <= 0)


@pytest.mark.parametrize("name", LAWS)
def test_the_order_of_domains_and_rows_does_not_matter(cases: ModuleType, name: str) -> None:
    rows = cases.rows_of(name, noise=0.002, mixtures=12)
    turns = [2, 0, 1]
    turned = replace(
        rows, mixture=rows.mixture[:, turns], unique=rows.unique[:, turns], domains=("math", "web", "code")
    )
    assert fitted_loss(name, turned) == pytest.approx(fitted_loss(name, rows), rel=2e-4)
    order = np.random.default_rng(3).permutation(len(rows))
    shuffled = rows.select(order)
    assert fitted_loss(name, shuffled) == pytest.approx(fitted_loss(name, rows)[order], rel=2e-4)


@pytest.mark.parametrize("name", LAWS)
def test_units_do_not_matter(cases: ModuleType, name: str) -> None:
    rows = cases.rows_of(name, noise=0.002, mixtures=12)
    scaled = replace(rows, params=rows.params * 1e-6, tokens=rows.tokens * 1e3, unique=rows.unique * 1e3)
    assert fitted_loss(name, scaled) == pytest.approx(fitted_loss(name, rows), rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_a_batch_of_fits_equals_each_alone(cases: ModuleType, name: str) -> None:
    rows = cases.rows_of(name, noise=0.005, mixtures=12)
    masks = np.ones((2, len(rows)))
    masks[1, ::3] = 0
    law = get_law(name)
    both = law.fit(rows, masks).predict(rows)
    for i in range(2):
        alone = law.fit(rows, masks[i : i + 1]).predict(rows)[0]
        assert both[i] == pytest.approx(alone, rel=1e-8)


@pytest.mark.parametrize("name", [*LAWS, "linear"])
def test_fits_to_their_own_losses_equal_each_alone(cases: ModuleType, name: str) -> None:
    tables = [cases.rows_of("joint-additive", noise=0.005, seed=0, mixtures=12).loss for _ in range(2)]
    rows = cases.rows_of("joint-additive", noise=0.005, mixtures=12)
    tables[1] = tables[1] * np.exp(0.01 * np.random.default_rng(5).standard_normal(len(rows)))
    law = get_law(name)
    start = law.fit(rows, np.ones((1, len(rows)))).theta[0]
    both = law.fit(rows.with_loss(np.array(tables)), np.ones((2, len(rows))), start=start)
    for i, loss in enumerate(tables):
        alone = law.fit(rows.with_loss(loss), np.ones((1, len(rows))), start=start)
        assert both.predict(rows)[i] == pytest.approx(alone.predict(rows)[0], rel=1e-8)


def test_a_row_of_weight_zero_is_not_seen(cases: ModuleType) -> None:
    rows = cases.rows_of("effective-data", noise=0.002, mixtures=12)
    spoiled = rows.with_loss(np.where(np.arange(len(rows)) < 20, 50.0, rows.loss))
    weights = (np.arange(len(rows)) >= 20).astype(float)[None]
    law = get_law("effective-data")
    fits = [law.fit(data, weights) for data in (rows, spoiled)]
    predicted = [fit.predict(rows)[0] for fit in fits]
    # Starts look at all rows, so the two searches differ; where they end does not.
    assert predicted[1] == pytest.approx(predicted[0], rel=1e-3)


@pytest.mark.parametrize("name", ["linear", "gbdt"])
def test_baselines_predict_what_they_can(cases: ModuleType, name: str) -> None:
    if name == "gbdt":
        pytest.importorskip("lightgbm")
    rows = cases.rows_of("joint-additive", noise=0.002)
    assert np.corrcoef(fitted_loss(name, rows), rows.loss)[0, 1] > 0.9
