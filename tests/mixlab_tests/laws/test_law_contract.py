"""What every law must keep, over all that are registered: a law that is added is tested here without a word about it.

Rows come from the formula and the example that a law states of itself, so that what it fits is held to what it prints.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import law_cases as cases

from mixlab.arrays import Array
from mixlab.laws.forms.parametric import ParametricFits, ParametricLaw
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.registry import entries

LAWS = [entry.law.name for entry in entries() if not entry.law.baseline]
COLLINEAR = 1e-9  # 1 - cosine of two columns of a Jacobian up to which the rows cannot tell their parameters apart


def fitted(law: ParametricLaw, rows: Observations, seed: int = 0) -> ParametricFits:
    return law.fit(rows, np.ones((1, len(rows))), seed)


def fitted_loss(law: ParametricLaw, rows: Observations) -> Array:
    return fitted(law, rows).predict(rows)[0]


@pytest.fixture(params=LAWS)
def law(request: pytest.FixtureRequest) -> ParametricLaw:
    found: ParametricLaw = cases.parametric(request.param)
    return found


def with_and_without_mixtures(law: ParametricLaw) -> list[tuple[str, ...]]:
    return [cases.DOMAINS] if "mixture" in law.needs else [cases.DOMAINS, ()]


def test_planted_truth_is_recovered(law: ParametricLaw) -> None:
    for domains in with_and_without_mixtures(law):
        rows = cases.rows_of(law.name, domains=domains)
        fit = fitted(law, rows)
        assert fit.status == ("converged",)
        assert fit.predict(rows)[0] == pytest.approx(rows.loss, rel=1e-6)
        assert fit.natural() == pytest.approx(law.example(domains), rel=1e-4)
        # Beyond the rows too: mixtures, sizes and tokens that no row has.
        h = np.random.default_rng(1).dirichlet(np.ones(len(domains)), 5) if domains else None
        far = Points.make(h, 1e8, 1e11, len(domains), cases.SUPPLY if domains else 1e8)
        assert fit.predict(far)[0] == pytest.approx(cases.planted_loss(law.name, far, domains), rel=1e-5)


def test_other_truths_are_recovered_too(law: ParametricLaw) -> None:
    for seed in range(4):
        example, rng = law.example(cases.DOMAINS), np.random.default_rng(seed)
        params = {name: value * np.exp(0.25 * rng.standard_normal()) for name, value in example.items()}
        rows = cases.rows_of(law.name, mixtures=16, params=params)
        assert fitted_loss(law, rows) == pytest.approx(rows.loss, rel=1e-4)
    rows = cases.rows_of(law.name, mixtures=16)
    for level in (0.05, 20.0):  # of the loss, as in bits, or per byte
        assert fitted_loss(law, replace(rows, loss=level * rows.loss)) == pytest.approx(level * rows.loss, rel=1e-5)


def test_a_parameter_may_be_zero(law: ParametricLaw) -> None:
    """Where the formula allows it: no floor, a term without size, a domain without worth, an exponent of nothing."""
    example, allowed = law.example(cases.DOMAINS), 0
    for name in example:
        with np.errstate(all="ignore"):
            rows = cases.rows_of(law.name, mixtures=16, params={**example, name: np.float64(0.0)})
        if np.all(np.isfinite(rows.loss) & (rows.loss > 0)):
            allowed += 1
            error = np.log(fitted_loss(law, rows) / rows.loss)
            assert np.sqrt(np.mean(error**2)) < 2e-3, name
    assert allowed


def test_noise_is_averaged_out(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.005, mixtures=12)
    error = np.log(fitted_loss(law, rows) / cases.planted_loss(law.name, rows))
    assert np.sqrt(np.mean(error**2)) < 0.5 * 0.005


def test_runs_that_went_wrong_do_not_drag_the_fit(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.005, mixtures=12)
    wrong = rows.with_loss(np.where(np.arange(len(rows)) % 48 == 7, 2.0, 1.0) * rows.loss)
    error = np.log(fitted_loss(law, wrong) / cases.planted_loss(law.name, rows))
    assert np.sqrt(np.mean(error**2)) < 0.005


def test_the_formula_says_what_the_law_predicts(law: ParametricLaw) -> None:
    """At any theta and centre: natural parameters, put into the formula in units, give the same loss."""
    for domains in with_and_without_mixtures(law):
        rows = cases.rows_of(law.name, domains=domains)
        theta = fitted(law, rows).theta[0]
        assert len(theta) == law.size(len(domains))
        lower, upper, _ = law.box(rows.relative_to(rows.centre))
        for seed in range(3):
            rng = np.random.default_rng(seed)
            at = rows.select(rng.choice(len(rows), 12, replace=False))
            moved = np.clip(theta + rng.normal(0, 0.2, len(theta)), lower, upper)
            centre = (rows.centre[0] + rng.normal(), rows.centre[1] + rng.normal())
            natural = law.natural(moved, centre, domains)
            assert set(natural) == set(law.example(domains))
            predicted = law.predict(moved[None], at.relative_to(centre))[0]
            assert law.formula(natural, at, domains) == pytest.approx(predicted, rel=1e-8)


def test_derivatives_equal_finite_differences(law: ParametricLaw) -> None:
    theta = fitted(law, cases.rows_of(law.name)).theta[0]
    rng = np.random.default_rng(2)
    h, n, d = rng.dirichlet(np.ones(3), 4), np.exp(rng.normal(size=4)), np.exp(rng.normal(size=4))
    at = Points.make(h, n, d, 3, (0.3, 0.02, np.inf))  # some domains are repeated, some not
    assert 0 < np.mean(at.mixture * d[:, None] > at.unique) < 1
    step = 1e-6
    value, jacobian = law.evaluate(theta[None], at)
    for i in range(len(theta)):
        move = step * (np.arange(len(theta)) == i)
        numeric = (law.evaluate((theta + move)[None], at)[0] - law.evaluate((theta - move)[None], at)[0])[0]
        assert jacobian[0, :, i] == pytest.approx(numeric / (2 * step), abs=1e-7)
    gradient = law.gradient(theta[None], at)[0]
    for k in range(3):
        move = step * (np.arange(3) == k)
        up, down = (replace(at, mixture=at.mixture + sign * move) for sign in (1, -1))
        numeric = (law.evaluate(theta[None], up)[0] - law.evaluate(theta[None], down)[0])[0]
        assert gradient[:, k] == pytest.approx(numeric / (2 * step), abs=1e-7)
    # The three ways to ask for a loss agree.
    predicted = law.predict(theta[None], at)
    both = law.value_and_gradient(theta[None], at)
    assert predicted == pytest.approx(value, rel=1e-12)
    assert np.array_equal(both[0], predicted)
    assert np.array_equal(both[1][0], gradient)


def test_the_loss_moves_with_what_the_law_takes_and_nothing_else(law: ParametricLaw) -> None:
    fit = fitted(law, cases.rows_of(law.name))
    h, inf = np.array([0.5, 0.3, 0.2]), np.inf
    changes = {
        "params": Points.make(h, [1e6, 3e6], 1e9, 3),
        "tokens": Points.make(h, 5e6, [3e8, 3e9], 3),
        "mixture": Points.make([h, [0.2, 0.5, 0.3]], 5e6, 1e9, 3),
        "epochs": Points.make(h, 5e6, 1e9, 3, [[inf, inf, inf], [1e8, 1e8, 1e8]]),
    }
    moves = {name: abs(float(np.diff(np.log(fit.predict(at)[0]))[0])) for name, at in changes.items()}
    assert {name for name, move in moves.items() if move > 1e-6} == set(law.takes), moves


def test_the_loss_falls_in_size_and_tokens_and_rises_with_repeats(law: ParametricLaw) -> None:
    fit = fitted(law, cases.rows_of(law.name))
    h, grid = [0.5, 0.3, 0.2], np.exp(np.linspace(-4, 4, 9))
    supply = 1e9 / grid[:, None] * np.ones(3)
    for name, at in {
        "params": Points.make(h, 5e6 * grid, 1e9, 3),
        "tokens": Points.make(h, 5e6, 1e9 * grid, 3),
        "epochs": Points.make(h, 5e6, 1e9, 3, supply),
    }.items():
        steps = np.diff(fit.predict(at)[0]) * (-1 if name == "epochs" else 1)
        assert np.all(steps <= 1e-12)
        if name in law.takes:
            assert steps[-1] < 0


def undetermined(law: ParametricLaw, rows: Observations) -> bool:
    """Whether the rows say nothing about some free parameter, or cannot tell two apart."""
    fit = fitted(law, rows)
    relative = rows.relative_to(fit.centre)
    lower, upper, _ = law.box(relative)
    value, jacobian = law.evaluate(fit.theta, relative)
    columns = (jacobian[0] / value[0][:, None])[:, lower < upper]
    size = np.linalg.norm(columns, axis=0)
    if np.any(size < 1e-9 * size.max()):
        return True
    cosine = np.abs((columns / size).T @ (columns / size))
    return bool(np.any(np.triu(cosine, 1) > 1 - COLLINEAR))


def test_what_a_law_needs_is_what_settles_its_parameters(law: ParametricLaw) -> None:
    """Without variation in what it needs a law is not determined; what it can do without, its box makes up for."""
    at = cases.design()
    assert not undetermined(law, cases.rows_of(law.name))
    for name in ("params", "tokens", "mixture"):
        if name == "mixture" and name not in law.needs:
            continue  # a law that can do without recovers the truth without domains, above
        values = getattr(at, name)
        still = replace(at, **{name: np.broadcast_to(values[5], values.shape)})
        rows = cases.observed(still, cases.planted_loss(law.name, still))
        assert undetermined(law, rows) == (name in law.needs), name
    assert ("unique" in law.needs) == ("epochs" in law.takes)
    assert law.needs <= law.takes | {"unique"}


def test_many_starts_lead_to_the_lowest_place(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.005, mixtures=12)
    relative = rows.relative_to(rows.centre)
    lower, upper, _ = law.box(relative)
    starts, others = (
        np.clip(law.initial(replace(relative, loss=factor * rows.loss), np.random.default_rng(0)), lower, upper)
        for factor in (1.0, 2.0)
    )
    assert np.isfinite(starts).all()
    assert len(np.unique(starts.round(6), axis=0)) > 1
    assert not np.allclose(starts, others)  # they look at the rows
    fits = [fitted(law, rows, seed) for seed in range(2)]
    assert fits[1].objective == pytest.approx(fits[0].objective, rel=1e-7)
    rng, weights = np.random.default_rng(4), np.ones((1, len(rows)))
    for _ in range(4):
        far = fits[0].theta[0] + rng.normal(0, 0.5, len(lower))
        assert law.fit(rows, weights, start=far).objective[0] > (1 - 1e-7) * fits[0].objective[0]


def test_an_exponent_at_its_bound_is_reported(law: ParametricLaw) -> None:
    """For N and for D some parameter that changes how fast the loss falls reports its bound, and no pinned one does."""
    rows = cases.rows_of(law.name)
    theta = fitted(law, rows).theta[0]
    lower, upper, report = law.box(rows.relative_to(rows.centre))
    assert np.all(lower <= upper)
    assert not np.any(report & (lower == upper))
    grid = np.exp(np.array([-1.0, -0.999, 1.0, 1.001]))
    for name, at in {
        "params": Points.make([0.5, 0.3, 0.2], grid, 1.0, 3),
        "tokens": Points.make([0.5, 0.3, 0.2], 1.0, grid, 3),
    }.items():
        if name in law.takes:

            def exponent(theta: Array, at: Points = at) -> float:
                loss = law.predict(theta[None], at)[0]
                return float(np.log((loss[0] - loss[1]) / (loss[2] - loss[3])) / 2)

            moves = [abs(exponent(theta + 0.05 * unit) - exponent(theta)) for unit in np.eye(len(theta))]
            assert np.any(report & (np.array(moves) > 1e-3)), name


def test_the_order_of_domains_and_rows_does_not_matter(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.002, mixtures=12)
    turns = [2, 0, 1]
    turned = replace(
        rows, mixture=rows.mixture[:, turns], unique=rows.unique[:, turns], domains=("math", "web", "code")
    )
    expected = fitted_loss(law, rows)
    assert fitted_loss(law, turned) == pytest.approx(expected, rel=2e-4)
    order = np.random.default_rng(3).permutation(len(rows))
    assert fitted_loss(law, rows.select(order)) == pytest.approx(expected[order], rel=2e-4)


def test_units_do_not_matter(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.002, mixtures=12)
    scaled = replace(rows, params=rows.params * 1e-6, tokens=rows.tokens * 1e3, unique=rows.unique * 1e3)
    assert fitted_loss(law, scaled) == pytest.approx(fitted_loss(law, rows), rel=1e-6)


def test_fits_to_their_own_losses_equal_each_alone(law: ParametricLaw) -> None:
    rows = cases.rows_of("joint-additive", noise=0.005, mixtures=12)
    tables = np.array([rows.loss, rows.loss * np.exp(0.01 * np.random.default_rng(5).standard_normal(len(rows)))])
    start = fitted(law, rows).theta[0]
    both = law.fit(rows.with_loss(tables), np.ones((2, len(rows))), start=start)
    for i, loss in enumerate(tables):
        alone = law.fit(rows.with_loss(loss), np.ones((1, len(rows))), start=start)
        assert both.predict(rows)[i] == pytest.approx(alone.predict(rows)[0], rel=1e-8)


def test_a_row_of_weight_zero_is_not_seen(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, noise=0.002, mixtures=12)
    spoiled = rows.with_loss(np.where(np.arange(len(rows)) < 20, 50.0, rows.loss))
    weights = (np.arange(len(rows)) >= 20).astype(float)[None]
    predicted = [law.fit(data, weights).predict(rows)[0] for data in (rows, spoiled)]
    # Starts look at all rows, so the two searches differ; where they end does not.
    assert predicted[1] == pytest.approx(predicted[0], rel=1e-3)


def test_fewer_rows_than_parameters_are_reported(law: ParametricLaw) -> None:
    rows = cases.rows_of(law.name, mixtures=12)
    weights = np.zeros((2, len(rows)))
    weights[0, :: len(rows) // (law.free(rows) - 1) + 1] = 1
    weights[1] = 1
    assert np.count_nonzero(weights[0]) < law.free(rows)
    assert law.fit(rows, weights).status == ("too_few_rows", "converged")
