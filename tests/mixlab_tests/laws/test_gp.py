"""A Gaussian process alone and on a law's residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import law_cases as cases

from mixlab.laws.forms.registry import get_law


def test_it_corrects_what_a_law_misses_and_keeps_it_at_larger_scale() -> None:
    rows = cases.rows_of("joint-additive", noise=0.002)
    small = rows.select(rows.params < 2e7)
    large = rows.select(rows.params > 2e7)
    error = {}
    for name in ("effective-data", "effective-data+gp"):
        fit = get_law(name).fit(small, np.ones((1, len(small))))
        error[name] = float(np.abs(np.log(fit.predict(large)[0] / large.loss)).mean())
    assert error["effective-data+gp"] < 0.7 * error["effective-data"]


def test_at_one_scale_it_corrects_there_and_leaves_the_law_alone_elsewhere() -> None:
    rows = cases.rows_of("joint-additive", noise=0.002)
    one = rows.select((rows.params == rows.params.min()) & (rows.tokens == rows.tokens.min()))
    one = replace(one, loss=one.loss + 0.2 * np.sin(6 * one.mixture[:, 0]))  # what no law of ours can follow
    fit, law = (get_law(name).fit(one, np.ones((1, len(one)))) for name in ("loglinear+gp", "loglinear"))
    assert np.abs(fit.predict(one) - one.loss).mean() < 0.5 * np.abs(law.predict(one) - one.loss).mean()
    elsewhere = replace(one, params=1000 * one.params)
    assert fit.predict(elsewhere) == pytest.approx(law.predict(elsewhere), rel=1e-9)
    near = replace(one, tokens=1.5 * one.tokens)
    away, slope = np.log(fit.predict(near) / law.predict(near)), fit.gradient(near)[0]
    assert away == pytest.approx(
        np.log(fit.predict(one) / law.predict(one)) * np.exp(-(np.log(1.5) ** 2) / 2), rel=1e-6
    )
    step = 1e-6 * (np.arange(3) == 1)
    up, down = (fit.predict(replace(near, mixture=near.mixture + sign * step))[0] for sign in (1, -1))
    assert slope[:, 1] == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=1e-5)


def test_resamples_share_the_kernel() -> None:
    rows = cases.rows_of("effective-data", noise=0.005, mixtures=12)
    law = get_law("effective-data+gp")
    fit = law.fit(rows, np.ones((1, len(rows))))
    again = law.fit(rows.with_loss(np.tile(rows.loss, (3, 1))), np.ones((3, len(rows))), start=fit.theta[0])
    for draw in again.predict(rows):
        assert draw == pytest.approx(fit.predict(rows)[0], rel=1e-6)
