"""isoFLOP profiles: what a budget is, which are usable, planted optima, and what is said beside the parametric law."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mixlab.errors import FitError, RunTableError
from mixlab.laws.isoflop import fit_isoflop
from mixlab.laws.profiles import MIN_SIZES, budgets, left_out, profiles
from mixlab.runs.table import Runs

LAW = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.3, "beta": 0.3}  # alpha = beta: parabolas without bias


def loss_of(n: np.ndarray, d: np.ndarray, alpha: float = 0.3) -> np.ndarray:
    return np.asarray(LAW["E"] + LAW["A"] * n**-alpha + LAW["B"] * d ** -LAW["beta"])


def planted(
    flops: tuple[float, ...] = (1e18, 4e18, 1.6e19, 6.4e19),
    sizes: int = 7,
    width: float = 1.0,
    noise: float = 0.0,
) -> Runs:
    """Budgets at sizes around each optimum, where N = D, by the law."""
    rng, rows = np.random.default_rng(0), []
    for c in flops:
        n = (c / 6) ** 0.5 * np.exp(np.linspace(-width, width, sizes))
        d = c / 6 / n
        rows.append({"params": n, "tokens": d, "flops": np.full(sizes, c), "loss": loss_of(n, d)})
    frame = pd.concat([pd.DataFrame(one) for one in rows], ignore_index=True)
    return Runs.from_frame(frame.assign(loss=frame["loss"] * np.exp(noise * rng.standard_normal(len(frame)))))


def with_mixtures() -> Runs:
    """Two mixtures at all sizes, one of them twice, and a far better one at the smallest size alone."""
    frame = planted().frame
    both = [
        frame.assign(**{"mix.a": share, "mix.b": 1 - share}, loss=frame["loss"] + more)
        for share, more in ((0.2, 0.1), (0.8, 0.3), (0.8, 0.3))
    ]
    few = frame[frame["params"] == frame.groupby("flops")["params"].transform("min")]
    both.append(few.assign(**{"mix.a": 0.5, "mix.b": 0.5}, loss=few["loss"] - 0.5))
    return Runs.from_frame(pd.concat(both, ignore_index=True))


def test_a_budget_is_runs_of_nearly_one_compute() -> None:
    assert budgets(np.array([1e18, 3.1e18, 1.02e18, 3e18])).tolist() == [0, 1, 0, 1]
    assert budgets(np.array([5.0])).tolist() == [0]
    # A stretch without a gap over a decade is no one budget: the crowded places in it are.
    haze = np.geomspace(1e18, 1e19, 40)
    crowded = np.concatenate([haze, np.full(20, 2e18), np.full(20, 6e18)])
    number = budgets(crowded)
    assert set(number) == set(range(number.max() + 1))
    for one in range(number.max() + 1):
        assert crowded[number == one].max() / crowded[number == one].min() <= 1.5 + 1e-9
    assert np.all(np.diff(number[np.argsort(crowded, kind="stable")]) >= 0)
    assert (number == number[40]).sum() >= 25
    assert (number == number[60]).sum() >= 25


def test_planted_optima_are_found() -> None:
    result, found = fit_isoflop(planted(), bootstrap=0)
    assert [profile.tag for profile in found] == ["ok"] * 4
    for profile in found:
        assert profile.optimum == pytest.approx((profile.flops / 6) ** 0.5, rel=1e-6)
        assert profile.curve is not None
        assert profile.curve.lowest == pytest.approx(profile.loss.min(), rel=1e-3)
    assert result.params["a"] == pytest.approx(0.5, abs=1e-9)
    assert result.params["a"] + result.params["b"] == pytest.approx(1)
    assert result.params["G"] * (1e21) ** result.params["a"] == pytest.approx((1e21 / 6) ** 0.5, rel=1e-6)
    assert result.rows == 28
    json.dumps([result.to_dict(), [profile.to_dict() for profile in found]], allow_nan=False)


def test_sizes_are_compared_over_the_mixtures_that_were_run_at_all_of_them() -> None:
    table = with_mixtures()
    plain = profiles(planted())
    for profile, alone in zip(profiles(table), plain, strict=True):
        assert (len(profile.rows), len(profile.shared), len(profile.params)) == (22, 21, 7)
        assert profile.loss == pytest.approx(alone.loss + 0.2)  # each mixture counts once, however often it was run
        assert profile.optimum == pytest.approx(alone.optimum)
    result, _ = fit_isoflop(table, bootstrap=30)
    assert result.params["a"] == pytest.approx(0.5, abs=1e-9)
    assert result.rows == 4 * 21
    assert "parametric law fitted to the same runs: they agree" in result.warnings[-1]


def test_the_sizes_of_a_profile_are_the_most_that_one_mixture_was_run_at() -> None:
    frame = with_mixtures().frame
    sizes = np.sort(frame["params"][frame["flops"] == 1e18].unique())
    few = frame[~((frame["mix.a"] == 0.2) & (frame["params"] == sizes[0]) & (frame["flops"] == 1e18))]
    first = profiles(Runs.from_frame(few.reset_index(drop=True)))[0]
    assert first.params == pytest.approx(sizes)
    assert len(first.shared) == 14  # those of the mixture that was run twice at each


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f[f["params"].rank(method="dense") % 7 > 3], "fewer than 5 sizes"),
        (lambda f: f.assign(loss=5 - f["loss"]), "the losses curve downward"),
        (lambda f: f.assign(loss=f["loss"] + 0.2 * np.log(f["params"])), "the lowest point lies outside"),
        (lambda f: f.assign(**{"mix.a": np.linspace(0, 1, len(f)), "mix.b": np.linspace(1, 0, len(f))}),
         "no mixture was run at 5 sizes"),
    ],
)  # fmt: skip
def test_a_budget_without_a_parabola_says_why(change: object, reason: str) -> None:
    assert callable(change)
    table = Runs.from_frame(change(planted().frame).reset_index(drop=True))
    found = profiles(table)
    assert all(reason in profile.tag and np.isnan(profile.optimum) for profile in found)
    (line,) = left_out(found)
    assert line.startswith("4 budgets (1e18 to 6.4e19) have no parabola: ")
    with pytest.raises(FitError, match="at least 2 budgets with a parabola, but got 0: 4 budgets") as error:
        fit_isoflop(table)
    assert reason in error.value.message
    assert str(MIN_SIZES) in (error.value.hint or "")


def test_rows_without_the_loss_are_left_out() -> None:
    frame = planted().frame
    gone = frame.assign(loss=frame["loss"].where(frame["flops"] < 5e19))
    assert len(profiles(Runs.from_frame(gone))) == 3
    with pytest.raises(RunTableError, match="no row has a finite `loss`"):
        profiles(Runs.from_frame(frame.assign(loss=np.nan)))
    with pytest.raises(RunTableError, match="no column `lss`"):
        profiles(planted(), "lss")


def test_another_column_may_be_the_size() -> None:
    table = planted()
    table = Runs.from_frame(table.frame.assign(params_non_embed=table.params() / 2))
    whole, half = (fit_isoflop(table, bootstrap=0, params_column=name)[0] for name in (None, "params_non_embed"))
    assert half.params["a"] == pytest.approx(whole.params["a"])
    assert half.params["G"] == pytest.approx(whole.params["G"] / 2)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    inside = []
    for seed in range(40):
        table = planted()
        loss = table.column("loss") * np.exp(0.002 * np.random.default_rng(seed).standard_normal(len(table)))
        result, _ = fit_isoflop(Runs.from_frame(table.frame.assign(loss=loss)), bootstrap=100, seed=seed)
        low, high = result.interval["a"]
        assert low < result.params["a"] < high
        inside.append(low <= 0.5 <= high)
    assert 0.8 <= np.mean(inside) <= 1.0  # of 40: two standard errors of 90% are 9%


def test_the_bias_of_approach_2_is_said_and_nothing_is_preferred_unshown() -> None:
    # The same sizes at each budget of a lopsided surface: without noise the bias is the whole difference.
    n, c = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 3e8, 9), [1e18, 4e18, 1.6e19, 6.4e19]))
    frame = pd.DataFrame({"params": n, "tokens": c / 6 / n, "flops": c, "loss": loss_of(n, c / 6 / n, alpha=0.5)})
    result, _ = fit_isoflop(Runs.from_frame(frame), bootstrap=50)
    told = result.warnings[-1]
    truth = LAW["beta"] / (0.5 + LAW["beta"])
    gap = result.params["a"] - truth
    assert abs(gap) > 0.005
    assert f"as C^{truth:.3f} by the parametric law fitted to the same runs" in told
    assert f"Of the difference of {gap:+.3f}, the bias of approach 2 at these sizes explains {gap:+.3f}" in told
    assert "within their noise" in told
    assert "Neither is shown to be nearer to the truth" in told
    assert "prefer" not in told


def test_a_difference_beyond_the_noise_is_called_that() -> None:
    # Optima that move as no sum of two power laws moves them.
    frame = planted(noise=0.0005).frame
    centre = 3e8 * (frame["flops"] / 1e18) ** 0.2
    loss = 2.5 * (frame["flops"] / 1e18) ** -0.05 + 0.05 * np.log(frame["params"] / centre) ** 2
    rng = np.random.default_rng(1)
    table = Runs.from_frame(frame.assign(loss=loss * np.exp(1e-4 * rng.standard_normal(len(frame)))))
    result, _ = fit_isoflop(table, bootstrap=50)
    assert result.params["a"] == pytest.approx(0.2, abs=0.01)
    assert "more than their noise" in result.warnings[-1] or "nothing to compare" in result.warnings[-1]
