"""Planted optima found, bounds and caps kept, baselines beside, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from mixlab.errors import ConfigError, InfeasibleError
from mixlab.laws.fit_surface import fit_surface
from mixlab.laws.forms.repetition import effective
from mixlab.laws.surface import Surface
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs.cost import SixND
from mixlab.runs.flops import six_nd
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs
from mixlab.search.descent.mix import minimise_mixture
from mixlab.search.problem import Stated, pose_problem
from mixlab.search.question import Question
from mixlab.search.recommend import recommend
from mixlab.search.recommendation import Recommendation
from mixlab.search.size import bracket, minimise_size

NAMES = ("web", "code", "math")
BEST = np.array([0.5, 0.3, 0.2])


class Bowl:
    """Quadratic around BEST."""

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        return 1 + np.sum((np.atleast_2d(np.asarray(mixture)) - BEST) ** 2, axis=1)

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, np.ndarray]:
        return float(self.predict(mixture, params, tokens)[0]), 2 * (np.asarray(mixture) - BEST)


class Steps(Bowl):
    """The same in steps, as boosted trees see it: without a slope."""

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        return super().predict(np.round(np.asarray(mixture), 1), params, tokens)

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, np.ndarray]:
        return float(self.predict(mixture, params, tokens)[0]), np.zeros(3)


SPACE = MixtureSpace(tuple(Domain(name, 1e9) for name in NAMES))


def test_the_planted_mixture_is_found() -> None:
    found = minimise_mixture(Bowl(), SPACE, params=1e6, tokens=1e6)
    assert found.array(NAMES) == pytest.approx(BEST, abs=1e-5)


def test_a_surface_without_slope_is_sampled() -> None:
    found = minimise_mixture(Steps(), SPACE, params=1e6, tokens=1e6)
    assert found.array(NAMES) == pytest.approx(BEST, abs=0.05)


def test_bounds_and_caps_hold() -> None:
    space = MixtureSpace((Domain("web", 1e9), Domain("code", 1e7), Domain("math", 1e9)), {"math": 0.4}, max_epochs=2)
    found = minimise_mixture(Bowl(), space, params=1e6, tokens=1e8)
    assert found["math"] == pytest.approx(0.4, abs=1e-6)
    assert found["code"] == pytest.approx(0.2, abs=1e-6)  # 2 epochs of 1e7 in 1e8 tokens
    with pytest.raises(InfeasibleError):
        minimise_mixture(Bowl(), space, params=1e6, tokens=1e11)


def test_a_negligible_weight_is_none() -> None:
    class Tilted(Bowl):
        def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
            return 1 + np.sum((np.atleast_2d(np.asarray(mixture)) - [0.5, 0.49995, 0.00005]) ** 2, axis=1)

        def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, np.ndarray]:
            slope = 2 * (np.asarray(mixture) - [0.5, 0.49995, 0.00005])
            return float(self.predict(mixture, params, tokens)[0]), slope

    found = minimise_mixture(Tilted(), SPACE, params=1, tokens=1)
    assert found["math"] == 0
    assert sum(found.values()) == pytest.approx(1)
    bound = minimise_mixture(Tilted(), MixtureSpace(SPACE.domains, {"math": 0.00002}), params=1, tokens=1)
    assert bound["math"] == pytest.approx(0.00005, abs=2e-5)


def test_the_pull_to_the_prior_grows_with_its_weight() -> None:
    prior = Mixture({"web": 0.1, "code": 0.1, "math": 0.8})
    distance = [
        np.abs(
            minimise_mixture(Bowl(), SPACE, params=1, tokens=1, kl=kl, prior=prior).array(NAMES) - prior.array(NAMES)
        ).sum()
        for kl in (0.0, 0.1, 1.0, 100.0)
    ]
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] < 0.01


def test_the_best_size_is_found_and_an_edge_is_named() -> None:
    n, at_edge = minimise_size(lambda n: (np.log(n) - np.log(3e6)) ** 2, 1e5, 1e8)
    assert n == pytest.approx(3e6, rel=1e-3)
    assert not at_edge
    assert minimise_size(lambda n: -np.log(n), 1e5, 1e8)[1]
    assert bracket((1e6, 1e8), 1e20, 1e20) == (5e5, 2e8)
    assert bracket((1e6, 1e8), 1e22, 1e20) == (1e6, 2e9)


def planted() -> Runs:
    """L = 1.5 + 200 N^-.35 + 400 (D worth(h))^-.3 where code is worth most, then math."""
    rng = np.random.default_rng(0)
    rows = []
    for index, h in enumerate(rng.dirichlet(np.ones(3), 20)):
        for n in np.geomspace(1e6, 3e7, 4):
            for c in (1e16, 4e16, 1.6e17):
                d = c / 6 / n
                loss = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ [0.2, 1.0, 0.6])) ** -0.3
                row = {"run_id": f"{index}-{n:.0f}", "params": n, "tokens": d, "flops": c, "loss": loss}
                rows.append(row | {f"mix.{name}": w for name, w in zip(NAMES, h, strict=True)})
    supply = {"unique.web": 1e10, "unique.code": 1e8, "unique.math": 1e9}
    return Runs.from_frame(pd.DataFrame(rows).assign(**supply))


@pytest.fixture(scope="module")
def table() -> Runs:
    return planted()


@pytest.fixture(scope="module")
def surface(table: Runs) -> Surface:
    return fit_surface(table, "loss", law="effective-data", bootstrap=30)


def space(max_epochs: float = np.inf) -> MixtureSpace:
    return MixtureSpace((Domain("web", 1e10), Domain("code", 1e8), Domain("math", 1e9)), max_epochs=max_epochs)


def ask(space: MixtureSpace, flops: float, **fixed: Any) -> Question:
    return Question(flops, SixND(), space, **fixed)


def test_the_answer_is_the_planted_optimum(surface: Surface, table: Runs) -> None:
    answer = recommend(surface, ask(space(), 1e18), observed=table)
    assert answer.mixture["code"] == pytest.approx(1, abs=1e-3)
    n = np.geomspace(1e6, 1e9, 20_001)
    truth = 1.5 + 200 * n**-0.35 + 400 * (1e18 / 6 / n) ** -0.3
    assert answer.params == pytest.approx(n[truth.argmin()], rel=0.02)
    assert six_nd(answer.params, answer.tokens) == pytest.approx(1e18)
    assert answer.loss["mean"] == pytest.approx(truth.min(), rel=1e-4)
    assert answer.loss["low"] < answer.loss["mean"] < answer.loss["high"]
    assert any("a corner" in warning for warning in answer.warnings)
    for baseline in ("best_observed", "proportional", "uniform"):
        assert answer.baselines[baseline]["loss"]["mean"] > answer.loss["mean"]


def test_supply_holds_the_answer_back(surface: Surface, table: Runs) -> None:
    answer = recommend(surface, ask(space(max_epochs=4), 1e18), observed=table)
    assert answer.epochs["code"] == pytest.approx(4, abs=0.01)
    assert answer.mixture["math"] > answer.mixture["web"]
    assert any("limited by the supply or a bound: " in warning and "code" in warning for warning in answer.warnings)


def test_scarce_text_asks_for_a_larger_model(surface: Surface) -> None:
    free = recommend(surface, ask(space(), 1e17), draws=0)
    supply = free.tokens / 3
    scarce = MixtureSpace(tuple(Domain(name, supply / 12) for name in NAMES), max_epochs=4)
    assert scarce.most_tokens() == pytest.approx(supply, rel=1e-5)
    answer = recommend(surface, ask(scarce, 1e17), draws=0)
    assert answer.tokens == pytest.approx(supply, rel=1e-3)
    assert answer.params == pytest.approx(3 * free.params, rel=1e-2)
    assert any("the text runs out" in warning for warning in answer.warnings)
    none = MixtureSpace(tuple(Domain(name, 1e4) for name in NAMES), max_epochs=4)
    with pytest.raises(InfeasibleError, match="unique tokens, at most 4 epochs"):
        recommend(surface, ask(none, 1e17), draws=0)


def test_what_is_fixed_stays_fixed(surface: Surface) -> None:
    fixed = Mixture({"web": 0.2, "code": 0.5, "math": 0.3})
    answer = recommend(surface, ask(space(), 1e17, mixture=fixed))
    assert answer.mixture == dict(fixed)
    sized = recommend(surface, ask(space(), 1e17, params=5e6))
    assert (sized.params, sized.tokens) == (5e6, pytest.approx(1e17 / 6 / 5e6))
    told = recommend(surface, ask(space(), 1e17, tokens=2e9))
    assert told.params == pytest.approx(1e17 / 6 / 2e9)


def test_a_far_budget_is_flagged(surface: Surface) -> None:
    answer = recommend(surface, ask(space(), 1.6e21))
    assert answer.extrapolation["flops_ratio"] == pytest.approx(1e4)
    assert any("nothing tests the law that far out" in warning for warning in answer.warnings)


def test_an_answer_survives_json(surface: Surface, table: Runs) -> None:
    answer = recommend(surface, ask(space(), 1e18), observed=table)
    again = Recommendation.from_dict(json.loads(json.dumps(answer.to_dict())))
    assert again == answer
    with pytest.raises(ConfigError, match="`mixture` is missing"):
        Recommendation.from_dict({"flops": 1.0})


def counting_repeats(worth: np.ndarray, h: np.ndarray, d: float, supply: np.ndarray) -> np.ndarray:
    """Effective tokens in units of worth, at R* = 12."""
    return effective(h * d, supply, 12.0)[0] @ worth


def test_a_scarce_domain_gets_the_weight_that_its_repeats_are_worth() -> None:
    worth, supply = np.array([0.2, 1.0, 0.6]), np.array([1e10, 5e7, 5e9])
    rows = planted().frame
    h, n, d = rows[[f"mix.{name}" for name in NAMES]].to_numpy(), rows["params"], rows["tokens"]
    counted = np.array([counting_repeats(worth, one, tokens, supply) for one, tokens in zip(h, d, strict=True)])
    rows = rows.assign(loss=1.5 + 200 * n**-0.35 + 400 * counted**-0.3)
    rows = rows.assign(**{f"unique.{name}": count for name, count in zip(NAMES, supply, strict=True)})
    table = Runs.from_frame(rows)

    def answer(law: str, code: float) -> dict[str, float]:
        ours = np.array([1e10, code, 5e9])
        surface = fit_surface(table, "loss", law=law, bootstrap=0).with_supply(ours)
        free = MixtureSpace(tuple(Domain(name, count) for name, count in zip(NAMES, ours, strict=True)))
        return recommend(surface, ask(free, 6e17, params=2e7, tokens=5e9), draws=0).mixture

    # The truth: the last token of code is worth w exp(-r / R*), and at the optimum as much as one of math.
    for code in (5e7, 2e8):
        best = code * (1 + 12 * np.log(worth[1] / worth[2])) / 5e9
        found = answer("repetition", code)
        assert found["code"] == pytest.approx(best, abs=0.003)
        assert found["math"] == pytest.approx(1 - best, abs=0.003)
    assert answer("repetition", 1e11)["code"] == pytest.approx(1, abs=1e-3)
    # A law that takes repeats for fresh text asks for the same mixture whatever there is, and for far too much code.
    blind = [answer("effective-data", code)["code"] for code in (5e7, 1e11)]
    assert blind[0] == pytest.approx(blind[1], abs=1e-6)
    assert blind[0] > 0.5


def test_supply_is_as_given_else_the_most_that_a_row_states(tmp_path: Path) -> None:
    frame = planted().frame.drop(columns=["unique.math"])
    frame.loc[0, "unique.code"] = 3e8
    frame.to_csv(tmp_path / "runs.csv", index=False)
    problem = pose_problem(read_runs(tmp_path / "runs.csv"), stated=Stated(supply={"math": 7e8}))
    assert dict(zip(NAMES, problem.supply, strict=True)) == {"web": 1e10, "code": 3e8, "math": 7e8}
    assert any("`unique.code` differs from row to row" in note for note in problem.runs.notes)
    # What only the caller states is no reason to think that the runs repeated it.
    assert any("`unique.math`: its runs count as not repeated" in note for note in problem.runs.notes)
    read = problem.runs.column("mix.math") * problem.runs.tokens()
    assert np.all(problem.runs.column("unique.math") >= read)
    whole = planted().frame[["params", "tokens", "flops", "loss"]]
    whole.to_csv(tmp_path / "whole.csv", index=False)
    assert pose_problem(
        read_runs(tmp_path / "whole.csv"), stated=Stated(supply={"tokens": 1e9})
    ).supply == pytest.approx([1e9])
    with pytest.raises(ConfigError, match="the supply knows no `web`"):
        pose_problem(read_runs(tmp_path / "whole.csv"), stated=Stated(supply={"web": 1e9}))


def test_repeats_that_a_law_is_blind_to_are_said(surface: Surface, table: Runs) -> None:
    answer = recommend(surface, ask(space(max_epochs=4), 1e18), observed=table)
    assert any("repeats of code" in warning and "effective-data" in warning for warning in answer.warnings)
    knowing = fit_surface(table, "loss", law="repetition", bootstrap=0)
    answer = recommend(knowing, ask(space(max_epochs=4), 1e18), observed=table, draws=0)
    assert not any("count as fresh text" in warning for warning in answer.warnings)
