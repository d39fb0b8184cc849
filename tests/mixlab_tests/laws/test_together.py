"""What is solved or evaluated together is what each would be alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers import law_cases as cases

from mixlab.laws.choice.auto import weigh
from mixlab.laws.choice.blend import FitRecipe
from mixlab.laws.choice.rows import observe
from mixlab.laws.choice.stack import FitStack
from mixlab.laws.forms import solver
from mixlab.laws.forms.points import Points
from mixlab.laws.forms.registry import get_law
from mixlab.objective import Objective
from mixlab.runs.table import Runs


def test_a_pool_of_problems_solves_each_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cases.rows_of("effective-data", noise=0.01)
    weights = (np.random.default_rng(0).random((9, len(rows))) > 0.2).astype(float)
    law, found = get_law("effective-data"), []
    start = law.fit(rows, np.ones((1, len(rows)))).theta[0]
    for room in (1, 4, 100):
        monkeypatch.setattr(solver, "POOL_NUMBERS", room * len(rows) * law.size(3))
        found.append(law.fit(rows, weights, start=start))
    for other in found[1:]:
        assert other.predict(rows) == pytest.approx(found[0].predict(rows), rel=1e-9)
        assert other.status == found[0].status
    assert len(np.unique(found[0].theta[:, 0].round(9))) == 9


def test_all_rows_are_fitted_beside_the_splits_as_from_many_starts() -> None:
    rows = cases.rows_of("effective-data", noise=0.005, mixtures=12)
    frame = pd.DataFrame({"run_id": rows.run, "params": rows.params, "tokens": rows.tokens, "loss": rows.loss})
    shares = {f"mix.{name}": rows.mixture[:, k] for k, name in enumerate(rows.domains)}
    data = observe(Runs.from_frame(frame.assign(**shares)), Objective.column("loss"))
    whole = weigh(data, 0).whole["loss"]
    assert len({recipe.emphasis for recipe in whole if not recipe.form.baseline}) == 3
    for recipe in (FitRecipe("effective-data+gp", 0.0), FitRecipe("effective-data+gp", 1.0)):
        alone = recipe.fit(data.of("loss"), data.flops, np.ones((1, len(rows))))
        assert whole[recipe].predict(rows) == pytest.approx(alone.predict(rows), rel=2e-4)
        assert whole[recipe].natural()["gp_deviation_mixture"] == pytest.approx(
            alone.natural()["gp_deviation_mixture"], rel=0.02
        )


def test_stacked_fits_say_what_each_says() -> None:
    rows = cases.rows_of("joint-additive", noise=0.005, mixtures=12)
    ones, late = np.ones((1, len(rows))), (rows.tokens > rows.tokens.min()).astype(float)[None]
    fits = [
        get_law(name).fit(rows, weights)
        for name in ("effective-data+gp", "joint+gp", "effective-data", "gp")
        for weights in (ones, ones + late)
    ]
    fits.append(get_law("effective-data+gp").fit(rows.select(late[0] > 0), ones[:, late[0] > 0]))
    stack = FitStack.of(fits)
    assert len(stack.groups) == 5  # two of each law, and one that refers to other rows
    at = Points.make(np.random.default_rng(1).dirichlet(np.ones(3), 4), 4e6, 2e9, 3)
    logs, slopes = stack.logs_and_slopes(at)
    assert np.array_equal(logs, stack.logs(at))
    for fit, value, slope in zip(fits, logs, slopes, strict=True):
        assert value == pytest.approx(np.log(fit.predict(at)[0]), rel=1e-12)
        assert slope == pytest.approx(fit.gradient(at)[0] / fit.predict(at)[0][:, None], rel=1e-9, abs=1e-12)
