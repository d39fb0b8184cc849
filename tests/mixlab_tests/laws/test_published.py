"""Published constants from published runs; skipped where the reference tables are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixlab.errors import FitError
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.chinchilla import optimum
from mixlab.laws.isoflop import fit_isoflop
from mixlab.runs.read import read_runs

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference"
needs_tables = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference tables are absent")


@needs_tables
def test_chinchilla_as_besiroglu_and_others_corrected_it() -> None:
    table = read_runs(REFERENCE / "chinchilla_245.csv").where("epoch_outlier == 0")
    result = fit_surface(table, "loss", law="chinchilla", bootstrap=0).fits["loss"]
    assert result.status == "converged"
    assert result.objective == pytest.approx(0.00101827, abs=1e-8)
    assert result.params["E"] == pytest.approx(1.817, abs=0.002)
    assert result.params["alpha"] == pytest.approx(0.3475, abs=0.0015)
    assert result.params["beta"] == pytest.approx(0.3665, abs=0.0015)
    assert 475 < result.params["A"] < 484
    assert 2080 < result.params["B"] < 2150
    best = optimum(result.params)
    assert best.a + best.b == pytest.approx(1)
    assert best.params(5.76e23) * best.tokens(5.76e23) * 6 == pytest.approx(5.76e23)


@needs_tables
def test_llama_3_isoflop_exponent() -> None:
    result, profiles = fit_isoflop(
        read_runs(REFERENCE / "isoflops_marin_llama3.csv").where("dataset == 'llama3'"), "loss", bootstrap=50
    )
    assert result.params["b"] == pytest.approx(0.537, abs=0.01)  # the report prints 0.53
    low, high = result.interval["b"]
    assert low < result.params["b"] < high
    assert "by the parametric law fitted to the same runs" in result.warnings[-1]
    assert all(profile.tag == "ok" for profile in profiles)


@needs_tables
def test_chinchilla_isoflop_exponent() -> None:
    """C^0.49 by approach 2 of Hoffmann et al. 2022 (table 2), whose budgets these points scatter about."""
    table = read_runs(REFERENCE / "chinchilla_245.csv").where("epoch_outlier == 0")
    result, profiles = fit_isoflop(table, "loss", bootstrap=100)
    assert result.params["a"] == pytest.approx(0.49, abs=0.02)
    assert sum(profile.tag == "ok" for profile in profiles) >= 9  # as many budgets were planned
    flops = table.flops()
    assert all(flops[profile.rows].max() <= 1.5 * flops[profile.rows].min() for profile in profiles)
    assert sum(len(profile.rows) for profile in profiles) == len(table)
    assert "Neither is shown to be nearer to the truth" in result.warnings[-1]


@needs_tables
def test_isoflop_needs_profiles() -> None:
    table = read_runs(REFERENCE / "isoflops_marin_llama3.csv").where("dataset == 'llama3'")
    budget = table.flops().min()
    with pytest.raises(FitError, match="needs at least 2 budgets"):
        fit_isoflop(table.where(f"flops < {budget * 1.05}"), "loss")
