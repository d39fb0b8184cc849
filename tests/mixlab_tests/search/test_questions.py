"""Questions at the target, on planted truths: limits, worst groups, ratios, serving, money, frontiers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

import mixlab
from mixlab.api import asked
from mixlab.api.fit import fit_problem
from mixlab.constraints import parse_constraint
from mixlab.errors import ConfigError, FitError, InfeasibleError
from mixlab.hardware import PEAKS, Hardware
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs.cost import SixND
from mixlab.runs.serving import ServedCost
from mixlab.search.descent.mix import minimise_mixture
from mixlab.search.frontier import trace
from mixlab.search.optimum import PosedQuestion, find_optimum, worth
from mixlab.search.question import Question
from mixlab.search.recommendation import Recommendation

NAMES = ("web", "code", "math")
E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28  # Hoffmann et al. 2022, approach 3


def chinchilla(n: Any, d: Any) -> Any:
    return E + A * n**-ALPHA + B * d**-BETA


@pytest.fixture(scope="module")
def plain() -> mixlab.Fit:
    """A table of the Chinchilla law itself, without mixtures."""
    rows = [{"params": n, "tokens": d} for n in np.geomspace(1e7, 1e10, 8) for d in np.geomspace(1e9, 1e12, 6)]
    frame = pd.DataFrame(rows)
    return mixlab.fit(frame.assign(loss=chinchilla(frame["params"], frame["tokens"])), law="chinchilla", bootstrap=0)


PROSE, PYTHON = np.array([1.0, 0.1, 0.3]), np.array([0.3, 1.0, 0.5])


def losses(h: Any, n: Any, d: Any) -> tuple[Any, Any]:
    """Python needs code, prose needs web."""
    python = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ PYTHON)) ** -0.3
    prose = 1.2 + 150 * n**-0.35 + 300 * (d * (h @ PROSE)) ** -0.3
    return python, prose


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = []
    for index, h in enumerate(np.random.default_rng(0).dirichlet(np.ones(3), 14)):
        for n in (1e6, 3e6, 1e7):
            for d in (1e8, 4e8, 1.6e9):
                python, prose = losses(h, n, d)
                row = {"run_id": f"{index}-{n:.0f}", "params": n, "tokens": d, "flops": 6 * n * d}
                row |= {"loss.python": python, "loss.prose": prose}
                rows.append(row | {f"mix.{name}": weight for name, weight in zip(NAMES, h, strict=True)})
    return pd.DataFrame(rows)


SUPPLY = {"web": 8e11, "code": 1e11, "math": 1e11}


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> mixlab.Fit:
    both = {"python": 0.5, "prose": 0.5}
    return mixlab.fit(frame, targets=both, law="effective-data", bootstrap=4, supply=SUPPLY)


@pytest.fixture(scope="module")
def python_alone(frame: pd.DataFrame) -> mixlab.Fit:
    return mixlab.fit(frame, "python", law="effective-data", bootstrap=0, supply=SUPPLY)


# Constraints hold, whatever is minimised; the order of the domains changes nothing.


class Bumpy:
    """A bowl with ripples: many local minima."""

    def __init__(self, best: np.ndarray, ripple: float = 0.02) -> None:
        self.best, self.ripple = best, ripple

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        away = np.atleast_2d(np.asarray(mixture)) - self.best
        return np.asarray(2 + np.sum(away**2 - self.ripple * np.cos(25 * away), axis=1))

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, np.ndarray]:
        away = np.asarray(mixture) - self.best
        slope = 2 * away + 25 * self.ripple * np.sin(25 * away)
        return float(self.predict(mixture, params, tokens)[0]), slope


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 8), st.integers(0, 2**32))
def test_a_searched_mixture_keeps_its_constraints_and_follows_the_order_of_the_domains(K: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names, inside = [f"d{k}" for k in range(K)], rng.dirichlet(np.ones(K))
    texts = [f"d0 + d1 >= {0.9 * (inside[0] + inside[1])}", f"2*d1 - d2 <= {2 * inside[1] - inside[2] + 0.02}"]
    if rng.random() < 0.5:
        texts.append(f"d0 - {inside[0] / inside[-1]} d{K - 1} == 0")
    best = rng.dirichlet(np.ones(K))

    def search(order: np.ndarray) -> tuple[MixtureSpace, Mixture]:
        domains = tuple(Domain(names[k], 1e9) for k in order)
        space = MixtureSpace(
            domains, {}, {"d2": max(0.8, inside[2])}, 8, tuple(parse_constraint(text) for text in texts)
        )
        return space, minimise_mixture(Bumpy(best[order]), space, params=1, tokens=5e9)

    space, found = search(np.arange(K))
    assert space.contains(found, tokens=5e9, tolerance=1e-6)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    turned = search(rng.permutation(K))[1]
    assert dict(turned) == pytest.approx(dict(found), abs=1e-4)


def test_the_order_of_the_domains_changes_no_answer(frame: pd.DataFrame) -> None:
    asking: Any = {"constraints": ["math >= 0.1", "code <= 2*web"], "no_worse": {"prose": "uniform"}, "draws": 0}
    answers = []
    for order in (NAMES, ("math", "web", "code")):
        others = [name for name in frame.columns if not name.startswith("mix.")]
        turned = frame[[*others, *(f"mix.{name}" for name in order)]]
        fit = mixlab.fit(turned, "python", law="effective-data", bootstrap=0, supply=SUPPLY)
        answers.append(mixlab.recommend(fit, "1e18", **asking))
    first, second = answers
    assert list(first.mixture) != list(second.mixture)
    assert second.mixture == pytest.approx({name: first.mixture[name] for name in second.mixture}, abs=1e-3)
    assert second.params == pytest.approx(first.params, rel=0.01)
    assert second.loss["mean"] == pytest.approx(first.loss["mean"], abs=1e-5)


def test_constraints_hold_in_every_answer(fitted: mixlab.Fit) -> None:
    texts = ["code + math <= 0.25", "math == 2*code"]
    single = mixlab.recommend(fitted, "1e18", constraints=texts)
    several = mixlab.frontier(fitted, ["1e17", "1e18"], constraints=texts)
    for answer in (single, *several):
        assert answer.mixture["code"] + answer.mixture["math"] <= 0.25 + 1e-6
        assert answer.mixture["math"] == pytest.approx(2 * answer.mixture["code"], abs=1e-6)
        assert answer.asked["constraints"] == texts
    assert single.held[0]["binds"] is True
    assert "Held to: code + math <= 0.25 binds" in single.summary()
    free = mixlab.recommend(fitted, "1e18", draws=0)
    assert free.mixture["code"] > 0.3  # so that the constraint was needed
    with pytest.raises(InfeasibleError, match=r"`web >= 0\.5`, `code \+ math >= 0\.6`"):
        mixlab.recommend(fitted, "1e18", min={"web": 0.5}, constraints="code + math >= 0.6")


# No regression.


def best_within(allowed: Callable[[np.ndarray], np.ndarray], n: float, d: float) -> float:
    """The least loss on python over a fine grid of the simplex."""
    a, b = np.meshgrid(np.linspace(0, 1, 1001), np.linspace(0, 1, 1001))
    h = np.stack([a, b, 1 - a - b], axis=-1)[(a + b) <= 1 + 1e-12]
    return float(losses(h[allowed(h)], n, d)[0].min())


def test_a_loss_is_no_worse_than_that_of_another_mixture(python_alone: mixlab.Fit) -> None:
    uniform = np.full(3, 1 / 3)
    answer = mixlab.recommend(python_alone, "1e18", no_worse={"prose": "uniform"}, draws=0)
    h, n, d = np.array(list(answer.mixture.values())), answer.params, answer.tokens
    held = answer.held[0]
    assert held["said"] == "loss.prose <= uniform"
    assert held["binds"] is True
    assert held["loss"] <= held["most"] + 1e-6
    assert losses(h, n, d)[1] <= losses(uniform, n, d)[1] + 1e-4
    truth = best_within(lambda one: losses(one, n, d)[1] <= losses(uniform, n, d)[1], n, d)
    assert losses(h, n, d)[0] == pytest.approx(truth, abs=2e-4)
    # The size is that of the best constrained mixture, not of the free one's.
    sizes = np.geomspace(n / 3, 3 * n, 61)
    each = [best_within(lambda one, m=m: one @ PROSE >= uniform @ PROSE - 1e-12, m, 1e18 / 6 / m) for m in sizes[::6]]
    assert losses(h, n, d)[0] <= min(each) + 3e-4
    # A number leaves the size freer than a mixture at the same size does.
    again = mixlab.recommend(python_alone, "1e18", no_worse={"loss.prose": held["most"]}, draws=0)
    assert answer.loss["mean"] - 2e-3 < again.loss["mean"] < answer.loss["mean"] + 1e-6
    free = mixlab.recommend(python_alone, "1e18", no_worse={"prose": 9.0}, draws=0)
    assert free.mixture["code"] == pytest.approx(1, abs=1e-3)
    assert free.held[0]["binds"] is False


def test_limits_hold_with_fixed_sizes_and_constraints(python_alone: mixlab.Fit) -> None:
    limits, extra = {"prose": "proportional"}, ["math >= 0.1"]
    for fixed in ({"params": 2e7}, {"tokens_per_param": 50}, {"tokens": "2B"}):
        answer = mixlab.recommend(python_alone, "1e18", no_worse=limits, constraints=extra, draws=0, **fixed)  # type: ignore[arg-type]
        assert answer.mixture["math"] >= 0.1 - 1e-6
        assert answer.held[1]["loss"] <= answer.held[1]["most"] + 1e-5
        h = np.array(list(answer.mixture.values()))
        assert h @ PROSE >= np.array([0.8, 0.1, 0.1]) @ PROSE - 1e-3


@pytest.mark.slow
def test_limits_that_clash_are_named(python_alone: mixlab.Fit) -> None:
    with pytest.raises(InfeasibleError, match=r"`loss\.prose <= 1\.3` \(1\.3000\); .* misses by") as error:
        mixlab.recommend(python_alone, "1e18", no_worse={"prose": 1.3, "python": 9})
    assert "python" not in error.value.message
    assert "larger budget" in str(error.value.hint)
    with pytest.raises(InfeasibleError, match=r"`code >= 0\.8`, `loss\.prose <= 1\.95`"):
        mixlab.recommend(python_alone, "1e18", no_worse={"prose": 1.95}, constraints=["code >= 0.8", "math <= 0.9"])
    with pytest.raises(ConfigError, match="proportional, uniform, prior or a number, but got 'best'"):
        mixlab.recommend(python_alone, "1e18", no_worse={"prose": "best"})
    with pytest.raises(ConfigError, match="`prior` is the mixture of a study"):
        mixlab.recommend(python_alone, "1e18", no_worse={"prose": "prior"})
    with pytest.raises(mixlab.MixlabError, match=r"no column `loss\.pros`") as unknown:
        mixlab.recommend(python_alone, "1e18", no_worse={"pros": "uniform"})
    assert unknown.value.hint == "did you mean `loss.prose`?"
    with pytest.raises(ConfigError, match="mix fixes it"):
        mixlab.recommend(python_alone, "1e18", no_worse={"prose": "uniform"}, mix={"web": 1.0})


def test_the_worst_group_is_as_good_as_it_can_be(fitted: mixlab.Fit, python_alone: mixlab.Fit) -> None:
    answer = mixlab.recommend(fitted, "1e18", worst_group="uniform", params=3e7, draws=0)
    d = 1e18 / 6 / 3e7
    measure = mixlab.recommend(fitted, "1e18", mix=dict.fromkeys(NAMES, 1 / 3), draws=0)
    base = losses(np.full(3, 1 / 3), measure.params, measure.tokens)
    a, b = np.meshgrid(np.linspace(0, 1, 501), np.linspace(0, 1, 501))
    h = np.stack([a, b, 1 - a - b], axis=-1)[(a + b) <= 1 + 1e-12]

    def worst(mixes: np.ndarray) -> np.ndarray:
        return np.max([loss / one for loss, one in zip(losses(mixes, 3e7, d), base, strict=True)], axis=0)

    found = worst(np.array([list(answer.mixture.values())]))[0]
    assert found == pytest.approx(worst(h).min(), abs=2e-4)
    mean = mixlab.recommend(fitted, "1e18", params=3e7, draws=0)
    assert worst(np.array([list(mean.mixture.values())]))[0] > found + 1e-3
    with pytest.raises(ConfigError, match="the objective is python alone"):
        mixlab.recommend(python_alone, "1e18", worst_group="uniform")


# Sizes, serving, and losses to reach: the Chinchilla law has closed forms.


def test_the_optimum_of_a_chinchilla_law(plain: mixlab.Fit) -> None:
    for flops in (1e20, 1e22):
        G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
        truth = G * (flops / 6) ** (BETA / (ALPHA + BETA))
        answer = mixlab.recommend(plain, flops)
        assert answer.params == pytest.approx(truth, rel=5e-3)
        ratio = mixlab.recommend(plain, flops, tokens_per_param=20)
        assert ratio.tokens / ratio.params == pytest.approx(20)
        assert ratio.params == pytest.approx(math.sqrt(flops / 120))


@pytest.mark.parametrize("served", ["1e11", "1e12", "1e13"])
def test_training_and_serving_at_a_budget(plain: mixlab.Fit, served: str) -> None:
    """Minimise A N^-alpha + B D^-beta with 6 N D + 2 N S = C."""
    S, C = float(served), 3e22
    answer = mixlab.recommend(plain, C, serve=served)
    n, d = answer.params, answer.tokens
    assert 6 * n * d + 2 * n * S == pytest.approx(C)
    # The condition of Lagrange: dL/dN / (6 D + 2 S) = dL/dD / (6 N).
    assert ALPHA * A * n**-ALPHA / (6 * n * d + 2 * n * S) == pytest.approx(BETA * B * d**-BETA / (6 * n * d), rel=0.02)
    assert answer.costs["training"]["flops"] + answer.costs["serving"]["flops"] == pytest.approx(C)
    assert n < mixlab.recommend(plain, C).params
    assert answer.extrapolation["flops_ratio"] == pytest.approx(6 * n * d / plain.surface.max_flops)


@pytest.mark.parametrize("served", [None, 1e11, 3e12])
def test_the_least_cost_to_reach_a_loss(plain: mixlab.Fit, served: float | None) -> None:
    """Sardana and Frankle 2024: minimise 6 N D + 2 N S with L(N, D) = loss."""
    loss, S = 2.1, served or 0.0
    answer = mixlab.recommend(plain, reach_loss=loss, serve=served)

    def cost(log_n: float) -> float:
        n = math.exp(log_n)
        left = loss - E - A * n**-ALPHA
        return 6 * n * (B / left) ** (1 / BETA) + 2 * n * S if left > 0 else math.inf

    smallest = math.log((A / (loss - E)) ** (1 / ALPHA))
    truth = minimize_scalar(cost, bounds=(smallest + 1e-6, smallest + 12), method="bounded", options={"xatol": 1e-9})
    assert answer.flops == pytest.approx(truth.fun, rel=1e-3)
    assert answer.params == pytest.approx(math.exp(truth.x), rel=0.03)
    assert chinchilla(answer.params, answer.tokens) == pytest.approx(loss, abs=1e-4)


def test_what_cannot_be_reached_or_served_is_refused(plain: mixlab.Fit, fitted: mixlab.Fit) -> None:
    with pytest.raises(FitError, match=r"a loss of 1\.5 is not reached at every budget up to .* expects 1\.7"):
        mixlab.recommend(plain, reach_loss=1.5)
    with pytest.raises(InfeasibleError, match="serving alone takes"):
        mixlab.recommend(plain, "1e19", serve="1e15")
    with pytest.raises(InfeasibleError, match=r"no budget beyond can be spent: .*these clash: `web <= "):
        mixlab.recommend(fitted, reach_loss=1.4)
    with pytest.raises(ConfigError, match="one follows from the other"):
        mixlab.recommend(plain, "1e19", reach_loss=2)
    with pytest.raises(ConfigError, match="tokens and tokens_per_param are both given"):
        mixlab.recommend(plain, "1e19", tokens="1B", tokens_per_param=20)
    with pytest.raises(TypeError, match="did you mean `constraints`"):
        mixlab.recommend(plain, "1e19", constraint="a <= 1")  # type: ignore[call-arg]


def test_the_cost_of_serving_is_a_third_of_training_per_token() -> None:
    cost = ServedCost(SixND(), 3e11)
    assert cost.flops(1e9, 2e10) == pytest.approx(6 * 1e9 * 2e10 + 2 * 1e9 * 3e11)
    assert cost.tokens(cost.flops(1e9, 2e10), 1e9) == pytest.approx(2e10)


# Money.


def test_hours_and_dollars(plain: mixlab.Fit) -> None:
    answer = mixlab.recommend(plain, "1e21", gpu="H100", mfu=0.5, price=2)
    hours = 1e21 / (989.4e12 * 0.5 * 3600)
    assert answer.costs["training"] == pytest.approx({"flops": 1e21, "gpu_hours": hours, "dollars": 2 * hours})
    assert answer.costs["runs"]["dollars"] == pytest.approx(
        2 * 6 * float(plain.runs.params() @ plain.runs.tokens()) / 1e21 * hours
    )
    assert "GPU hours = $" in answer.summary()
    same = mixlab.recommend(plain, dollars=2 * hours, gpu="h100", mfu=0.5, price=2)
    assert same.flops == pytest.approx(1e21)
    assert mixlab.recommend(plain, gpu_hours=hours, gpu_flops=989.4e12, mfu=0.5).flops == pytest.approx(1e21)
    table = mixlab.frontier(plain, dollars=[100, "1K"], gpu="a100", price=1)
    assert [one.costs["training"]["dollars"] for one in table] == pytest.approx([100, 1000])
    assert list(table.to_frame()["gpu_hours"]) == pytest.approx([100, 1000])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu": "h10"}, "known are a100, b200, h100"),
        ({"price": 2}, "about a GPU, but none is named"),
        ({"gpu": "h100", "mfu": 40}, "above 0 and at most 1, but got 40"),
        ({"gpu": "h100", "dollars": 5}, "needs a price per GPU hour"),
        ({"dollars": 5}, "a budget in dollars needs a GPU"),
        ({"gpu": "h100", "price": 1, "dollars": 5, "flops": 1e20}, "stated once, but got flops and dollars"),
    ],
)
def test_money_that_cannot_be_meant(plain: mixlab.Fit, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixlab.recommend(plain, **{"flops": None if "dollars" in options else 1e20, **options})


def test_every_peak_is_that_of_a_matrix_unit() -> None:
    assert all(1e14 < peak < 1e16 for peak in PEAKS.values())
    assert Hardware.make() is None


# Frontiers.


class TwoWells:
    """A wide well at web, and a deeper one at code that widens with D: at small budgets few starts fall into it."""

    domains = NAMES
    blends: Mapping[str, Any] = MappingProxyType({})
    centres = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, np.ndarray]:
        away = np.asarray(mixture) - self.centres
        widths = np.array([0.3, 0.04 * (tokens / 1e8) ** 0.25])
        wells = np.array([0.2, 0.3]) * np.exp(-np.sum(away**2, axis=1) / (2 * widths**2))
        return float(chinchilla(params, tokens) - wells.sum()), np.asarray((wells / widths**2) @ away)

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
        each = np.broadcast(np.atleast_2d(np.asarray(mixture))[:, 0], params, tokens)
        h = np.broadcast_to(np.atleast_2d(np.asarray(mixture)), (each.size, 3))
        n, d = (np.broadcast_to(one, each.size) for one in (params, tokens))
        return np.array([self.value_and_gradient(*point)[0] for point in zip(h, n, d, strict=True)])


def test_a_path_finds_from_its_neighbours_what_a_single_search_misses() -> None:
    draw: Any = TwoWells()
    space = MixtureSpace(tuple(Domain(name) for name in NAMES))
    budgets = np.geomspace(1e17, 1e21, 9)
    posed = [PosedQuestion(Question(float(c), SixND(), space), None, 1e7, 1e10) for c in budgets]
    start = [Mixture(dict(zip(NAMES, (0.7, 0.15, 0.15), strict=True)))]
    found = trace([(draw, one) for one in posed], start)
    values = [worth(draw, one, best) for one, best in zip(posed, found, strict=True)]
    alone = [worth(draw, one, find_optimum(draw, one, start, 0)) for one in posed]
    assert all(best["code"] == pytest.approx(0.8, abs=0.02) for best in (one.mixture or {} for one in found))
    assert np.all(np.array(values) <= np.array(alone) + 1e-9)
    assert np.all(np.diff(values) < 0)
    # The case is a hard one: single searches miss the better well at small budgets, and whoever only goes upwards from
    # what the smallest budget finds stays in the worse one.
    assert max(np.array(alone) - np.array(values)) > 0.05
    assert alone[-1] == pytest.approx(values[-1], abs=1e-6)
    stuck, upward = start, []
    for one in posed:
        best = find_optimum(draw, one, stuck, 0, explore=False)
        stuck, upward = [best.mixture or start[0]], [*upward, worth(draw, one, best)]
    assert upward[-1] > values[-1] + 0.05


def test_a_frontier_is_never_worse_than_a_single_search_or_than_less_compute(frame: pd.DataFrame) -> None:
    noise = np.exp(0.03 * np.random.default_rng(1).standard_normal(len(frame)))
    noisy = frame.assign(**{"loss.python": frame["loss.python"] * noise})
    fit = mixlab.fit(noisy, "python", law="effective-data+gp", bootstrap=0)
    budgets = np.geomspace(2e15, 5e17, 9)
    found = [one.loss["mean"] for one in mixlab.frontier(fit, budgets)]
    for budget, loss in zip(budgets, found, strict=True):
        assert loss <= mixlab.recommend(fit, float(budget), draws=0).loss["mean"] + 1e-9
    assert np.all(np.diff(found) <= 1e-9)
    backwards = [one.loss["mean"] for one in mixlab.frontier(fit, budgets[::-1])]
    assert backwards[::-1] == pytest.approx(found, abs=1e-6)


def test_several_budgets_in_one_table(fitted: mixlab.Fit) -> None:
    table = mixlab.frontier(fitted, ["1e17", "1e18"], no_worse={"prose": "uniform"}, tokens_per_param=100)
    assert [one.flops for one in table] == [1e17, 1e18]
    assert all(one.tokens / one.params == pytest.approx(100) for one in table)
    frame = table.to_frame()
    assert list(frame["flops"]) == [1e17, 1e18]
    assert frame[[f"mix.{name}" for name in NAMES]].sum(axis=1).to_list() == pytest.approx([1, 1])
    text = table.summary()
    assert "weights by budget" in text
    assert "loss.prose <= uniform" in text
    data = json.loads(json.dumps(table.to_dict()))
    assert [Recommendation.from_dict(one).params for one in data["budgets"]] == [one.params for one in table]
    with pytest.raises(ConfigError, match="one budget, but got several"):
        mixlab.recommend(fitted, [1e17, 1e18])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="budgets are stated once, but got none"):
        mixlab.frontier(fitted)


def test_a_loss_that_the_objective_lacks_is_fitted_once(
    python_alone: mixlab.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []
    monkeypatch.setattr(asked, "fit_problem", lambda problem: fits.append(1) or fit_problem(problem))
    table = mixlab.frontier(python_alone, ["1e17", "3e17", "1e18"], no_worse={"prose": "uniform"})
    assert len(fits) == 1
    assert all(one.held[0]["loss"] <= one.held[0]["most"] + 1e-5 for one in table)
    worst = mixlab.frontier(
        mixlab.fit(python_alone.runs, law="effective-data", bootstrap=0), ["1e17", "1e18"], worst_group="uniform"
    )
    single = mixlab.recommend(
        mixlab.fit(python_alone.runs, law="effective-data", bootstrap=0), "1e18", worst_group="uniform", draws=0
    )
    assert worst[1].mixture == pytest.approx(single.mixture, abs=1e-3)


def test_what_was_asked_can_be_asked_again(fitted: mixlab.Fit) -> None:
    asking: Any = {"constraints": ["math >= 0.1"], "no_worse": {"prose": "uniform"}, "kl": 0.01, "serve": 1e9}
    asking |= {"min": {"web": 0.1}, "prior": dict.fromkeys(NAMES, 1 / 3)}
    answer = mixlab.recommend(fitted, "1e18", draws=0, **asking)
    assert answer.asked == asking
    read = Recommendation.from_dict(json.loads(json.dumps(answer.to_dict())))
    assert mixlab.recommend(fitted, read.flops, draws=0, **read.asked) == answer


# Two objectives.


def test_a_trade_off_is_a_front(python_alone: mixlab.Fit) -> None:
    result = mixlab.trade_off(python_alone, {"prose": 1}, "1e18", points=5, constraints="math >= 0.05")
    first, second = ([getattr(one, name) for one in result.points] for name in ("first", "second"))
    assert np.all(np.diff(first) >= -1e-9)
    assert np.all(np.diff(second) <= 1e-9)
    assert all(one.mixture["math"] >= 0.05 - 1e-6 for one in result.points)
    # Each point is the best for its weight, also among all the others.
    for one in result.points:
        mixed = [(1 - one.weight) * a + one.weight * b for a, b in zip(first, second, strict=True)]
        assert (1 - one.weight) * one.first + one.weight * one.second <= min(mixed) + 1e-9
    ends = [mixlab.recommend(python_alone, "1e18", constraints="math >= 0.05", draws=0).loss["mean"], second[-1]]
    assert first[0] == pytest.approx(ends[0], abs=1e-9)
    assert result.points[0].mixture["code"] > 0.9
    assert result.points[-1].mixture["web"] > 0.9
    limited = mixlab.trade_off(python_alone, "prose", "1e18", points=3, no_worse={"prose": "uniform"})
    assert max(one.second for one in limited.points) < second[0] - 0.05
    with pytest.raises(ConfigError, match="another objective"):
        mixlab.trade_off(python_alone, "python", "1e18")
