"""What to run next: from a fit, from a handful of runs, inside bounds and budgets; and when to stop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mixlab
from mixlab.commands.propose import propose as command
from mixlab.errors import ConfigError, MixlabError, RunTableError

DOMAINS = ("web", "code", "math")


def table(mixtures: int, sizes: tuple[float, ...], tokens: tuple[float, ...], noise: float = 0.004) -> pd.DataFrame:
    """Runs of a planted law in which code is worth most; a row at each token count."""
    rng, rows = np.random.default_rng(0), []
    for run, h in enumerate(rng.dirichlet(np.ones(3), mixtures)):
        for n in sizes:
            for d in tokens:
                loss = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ [0.3, 1.0, 0.5])) ** -0.3
                row = {"run_id": f"{run}-{n:g}", "params": n, "tokens": d}
                row |= {"loss": loss * np.exp(noise * rng.standard_normal())}
                rows.append(row | {f"mix.{name}": weight for name, weight in zip(DOMAINS, h, strict=True)})
    return pd.DataFrame(rows)


FEW = table(4, (1e6,), (1e8,))
MANY = table(20, (1e6, 3e6, 1e7), (1e8, 4e8, 1.6e9))


@pytest.fixture(scope="module")
def fitted() -> mixlab.Fit:
    return mixlab.fit(MANY, bootstrap=20)


def test_a_fit_asks_at_the_size_that_is_recommended(fitted: mixlab.Fit) -> None:
    found = mixlab.propose(fitted, flops="1e19")
    assert found.params == pytest.approx(mixlab.recommend(fitted, flops="1e19", draws=0).params, rel=0.2)
    assert found.flops == pytest.approx(6 * found.params * found.tokens)
    ends = {(n, 1.6e9) for n in (1e6, 3e6, 1e7)}
    frame = found.to_frame()
    assert {(one.params, one.tokens) for one in found} <= ends
    assert list(frame) == [*(f"mix.{name}" for name in DOMAINS), "params", "tokens", "flops", "share"]
    np.testing.assert_allclose(frame["flops"], 6 * frame["params"] * frame["tokens"])
    np.testing.assert_allclose(frame[[f"mix.{name}" for name in DOMAINS]].sum(axis=1), 1)
    assert 0 < frame["share"].sum() <= 1 + 1e-9


def test_runs_that_carry_no_law_are_enough() -> None:
    found = mixlab.propose(FEW, 6, flops="1e17")
    assert len(found) == 6
    assert found.tokens == pytest.approx(20 * found.params)
    assert not found.stop
    assert found.why.startswith("go on")
    assert any("no law can be fitted yet" in note for note in found.notes)
    assert mixlab.propose(FEW, 6, flops="1e17").to_dict() == found.to_dict()


def test_it_stops_where_the_answer_is_known_and_goes_on_where_it_is_not(fitted: mixlab.Fit) -> None:
    known = mixlab.propose(fitted, flops="1e18")
    assert known.stop
    assert known.regret < known.noise / 2
    assert known.why.startswith("stop")
    assert repr(known).startswith("<Proposals: stop")
    assert "if you go on" in known.summary()


def test_making_what_is_proposed_takes_off_the_doubt() -> None:
    """The expected regret falls, and more than by as many runs of a mixture that nobody proposes."""
    before = mixlab.propose(FEW, 4, params=1e6, tokens=1e8)

    def after(mixtures: list[dict[str, float]]) -> float:
        rows = [
            {"run_id": f"new-{k}", "params": 1e6, "tokens": 1e8}
            | {"loss": 1.5 + 200 * 1e6**-0.35 + 400 * (1e8 * (np.array(list(h.values())) @ [0.3, 1.0, 0.5])) ** -0.3}
            | {f"mix.{name}": weight for name, weight in h.items()}
            for k, h in enumerate(mixtures)
        ]
        grown = pd.concat([FEW, pd.DataFrame(rows)], ignore_index=True)
        return mixlab.propose(grown, 4, params=1e6, tokens=1e8).regret

    proposed, idle = after([one.mixture for one in before]), after([{"web": 1.0, "code": 0.0, "math": 0.0}] * 4)
    assert proposed < min(before.regret, idle)


def test_bounds_budgets_and_scales_are_kept() -> None:
    scales = [("1M", "50M"), (2e6, 1e8)]
    found = mixlab.propose(FEW, 8, flops="1e17", budget=3e15, scales=scales, max={"code": 0.5}, constraints="web >= .2")
    frame = found.to_frame()
    assert frame["mix.code"].max() <= 0.5 + 1e-6
    assert frame["mix.web"].min() >= 0.2 - 1e-6
    assert frame["flops"].sum() <= 3e15
    assert set(frame["params"]) <= {1e6, 2e6}


def test_text_that_is_short_caps_the_question_and_the_mixtures() -> None:
    scarce = mixlab.propose(FEW, 5, flops="1e17", supply={"web": 1e9, "code": 1e7, "math": 1e9})
    assert 0 < scarce.to_frame()["mix.code"].max() <= 4 * 1e7 / scarce.tokens + 1e-6
    none = mixlab.propose(FEW, 5, flops="1e17", supply={"web": 4e7, "code": 1e7, "math": 3e7})
    assert none.tokens == pytest.approx(4 * 8e7)
    assert 6 * none.params * none.tokens == pytest.approx(1e17)
    assert none.stop  # all text must be read as often as it may: there is one mixture
    assert none.to_frame().empty
    assert "no run that is offered" in none.summary()


def test_many_scales_are_thinned_and_it_is_said() -> None:
    rng = np.random.default_rng(1)
    wild = table(40, (1e6,), (1e8,)).assign(tokens=np.geomspace(1e8, 1e10, 40)).assign(run_id=range(40))
    found = mixlab.propose(wild.assign(loss=wild["loss"] + 0.01 * rng.standard_normal(40)), 3, flops="1e18", law="gp")
    assert any("40 scales" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ConfigError, "budget that is asked about"),
        ({"flops": 1e17, "count": 0}, ConfigError, "count"),
        ({"flops": 1e17, "budget": 1e10}, ConfigError, "must pay for one run"),
        ({"flops": 1e17, "scales": []}, ConfigError, "pairs of N and D"),
        ({"flops": 1e17, "scales": [1e6]}, ConfigError, "pairs of N and D"),
        ({"flops": 1e17, "max": {"cod": 0.5}}, ConfigError, "no domain `cod`"),
        ({"flops": -1}, ConfigError, "flops"),
    ],
)
def test_mistakes_are_refused(options: dict[str, object], error: type[MixlabError], match: str) -> None:
    with pytest.raises(error, match=match):
        mixlab.propose(FEW, **options)  # type: ignore[arg-type]


def test_tables_that_cannot_be_asked_are_refused(fitted: mixlab.Fit) -> None:
    with pytest.raises(RunTableError, match="`tokens`"):
        mixlab.propose(FEW.drop(columns="tokens"), flops=1e17)
    with pytest.raises(ConfigError, match="question of mixtures"):
        mixlab.propose(MANY.drop(columns=[f"mix.{name}" for name in DOMAINS]), flops=1e17)
    with pytest.raises(ConfigError, match="knows its max"):
        mixlab.propose(fitted, flops=1e17, max={"code": 0.5})


def test_the_command_says_the_same(tmp_path: Path) -> None:
    FEW.to_csv(tmp_path / "runs.csv", index=False)
    words = [str(tmp_path / "runs.csv"), "--count", "3", "--flops", "1e17", "--max", "code=0.5"]
    result = CliRunner().invoke(command, [*words, "--json", "-o", str(tmp_path / "next.json")])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said == mixlab.propose(tmp_path / "runs.csv", 3, flops=1e17, max={"code": 0.5}).to_dict()
    assert said == json.loads((tmp_path / "next.json").read_text())
    assert "the runs to make next" in CliRunner().invoke(command, words).stdout
