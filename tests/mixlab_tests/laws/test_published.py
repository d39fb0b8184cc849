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
    assert any("the parametric law says N*" in warning for warning in result.warnings)
    assert all(profile.tag == "ok" for profile in profiles)


@needs_tables
def test_isoflop_needs_profiles() -> None:
    table = read_runs(REFERENCE / "isoflops_marin_llama3.csv").where("dataset == 'llama3'")
    budget = table.flops().min()
    with pytest.raises(FitError, match="needs at least 2 budgets"):
        fit_isoflop(table.where(f"flops < {budget * 1.05}"), "loss")
