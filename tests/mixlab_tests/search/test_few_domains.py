"""Few domains in the answer: as good as the best of all choices, in every kind of answer, in any order of domains."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

import mixlab
from mixlab.arrays import Array
from mixlab.cli import app
from mixlab.constraints import parse_constraint
from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Domain, MixtureSpace
from mixlab.search.descent.mix import minimise_mixture

NAMES = ("web", "code", "math", "books", "wiki")
HELPS = {"python": [0.3, 1.0, 0.5, 0.1, 0.2], "prose": [0.7, 0.1, 0.2, 1.0, 0.6]}


class Diverse:
    """Convex: targets need what several domains give, each domain with diminishing returns."""

    def __init__(self, K: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.gives, self.counts = rng.dirichlet(np.full(K, 0.5), 5) * K / 3, rng.uniform(0.5, 1.5, 5)

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        known = np.sqrt(np.atleast_2d(np.asarray(mixture)) + 1e-3) @ self.gives.T + 0.02
        return np.asarray(1 + known**-0.3 @ self.counts)

    def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
        h = np.asarray(mixture)
        known = self.gives @ np.sqrt(h + 1e-3) + 0.02
        slope = -(0.3 * self.counts * known**-1.3) @ self.gives * 0.5 / np.sqrt(h + 1e-3)
        return float(1 + known**-0.3 @ self.counts), slope

    def turned(self, order: Array) -> Diverse:
        """The same law of the domains in another order."""
        other = object.__new__(Diverse)
        other.gives, other.counts = self.gives[:, order], self.counts
        return other


def space_of(K: int, most: int, seed: int, order: Array | None = None) -> MixtureSpace:
    """A space with bounds and constraints, not all of them at every seed."""
    names = [f"d{k}" for k in (range(K) if order is None else order)]
    lower = {"d0": 0.05} if seed % 2 else {}
    upper = {f"d{k}": 0.4 + 0.05 * k for k in range(K)} if seed % 3 == 0 else {}
    rows = ("d1 + d2 >= 0.3", "d3 <= d4") if seed % 5 < 2 else ()
    return MixtureSpace(
        tuple(Domain(name) for name in names), lower, upper, constraints=tuple(map(parse_constraint, rows)),
        max_domains=most,
    )  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_the_search_finds_the_best_of_all_choices(seed: int) -> None:
    law, space = Diverse(6, seed), space_of(6, 3, seed)
    found = minimise_mixture(law, space, params=1, tokens=1)
    assert space.contains(found)
    assert sum(weight > 0 for weight in found.values()) <= 3
    best = np.inf
    for chosen in itertools.combinations(range(6), 3):
        try:
            part = space.within(np.isin(np.arange(6), chosen))
        except InfeasibleError:
            continue
        one = minimise_mixture(law, part, params=1, tokens=1)
        best = min(best, float(law.predict(one.array(space.names), 1, 1)[0]))
    assert law.predict(found.array(space.names), 1, 1)[0] == pytest.approx(best, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(st.integers(6, 9), st.integers(0, 10_000))  # of 5 domains 2 cannot keep all of `space_of`: see the next test
def test_the_order_of_the_domains_changes_no_choice(K: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(K)
    law = Diverse(K, seed)
    found = minimise_mixture(law, space_of(K, K // 2, seed), params=1, tokens=1)
    turned = minimise_mixture(law.turned(order), space_of(K, K // 2, seed, order), params=1, tokens=1)
    assert dict(turned) == pytest.approx(dict(found), abs=2e-3)
    assert {name for name, weight in turned.items() if weight > 0} == {
        name for name, weight in found.items() if weight > 0
    }


def test_bounds_that_two_domains_cannot_keep_are_refused_by_name() -> None:
    """d0 must have weight, and d1 or d2 beside it: the maxima of two such domains do not sum to 1."""
    with pytest.raises(InfeasibleError, match=r"at most 2 domains.*d0 >= 0\.05.*d1 \+ d2 >= 0\.3") as caught:
        space_of(5, 2, 105)
    assert "allow 3 domains" in (caught.value.hint or "")


def test_six_of_seventeen_domains_are_found() -> None:
    law, space = Diverse(17, 4), space_of(17, 6, 10)
    found = minimise_mixture(law, space, params=1, tokens=1)
    assert space.contains(found)
    assert sum(weight > 0 for weight in found.values()) == 6
    # No exchange of a domain is better.
    kept = found.array(space.names) > 0
    value = float(law.predict(found.array(space.names), 1, 1)[0])
    for out, into in itertools.product(np.flatnonzero(kept), np.flatnonzero(~kept)):
        other = kept.copy()
        other[out], other[into] = False, True
        try:
            one = minimise_mixture(law, space.within(other), params=1, tokens=1, starts=[found], explore=False)
        except InfeasibleError:
            continue
        assert law.predict(one.array(space.names), 1, 1)[0] >= value - 1e-5


def test_a_surface_without_slopes_is_sampled_within_the_limit() -> None:
    class Steps(Diverse):
        def value_and_gradient(self, mixture: ArrayLike, params: float, tokens: float) -> tuple[float, Array]:
            return float(self.predict(mixture, params, tokens)[0]), np.zeros(len(np.asarray(mixture)))

    space = space_of(6, 3, 3)
    found = minimise_mixture(Steps(6, 0), space, params=1, tokens=1)
    assert space.contains(found)
    assert sum(weight > 0 for weight in found.values()) <= 3


def table(mixtures: int = 30) -> pd.DataFrame:
    """Runs of two losses that need different domains, each with diminishing returns."""
    rng, rows = np.random.default_rng(0), []
    for run, h in enumerate(rng.dirichlet(np.ones(5), mixtures)):
        for n, d in itertools.product((1e6, 3e6, 1e7), (1e8, 4e8, 1.6e9)):
            row = {"run_id": f"{run}-{n:g}", "params": n, "tokens": d, "flops": 6 * n * d}
            for name, helps in HELPS.items():
                row[f"loss.{name}"] = 1.5 + 200 * n**-0.35 + 400 * (d * (h**0.7 @ helps)) ** -0.3
            rows.append(row | {f"mix.{name}": weight for name, weight in zip(NAMES, h, strict=True)})
    return pd.DataFrame(rows)


SUPPLY = {"web": 8e10, "code": 1e10, "math": 1e10, "books": 1e10, "wiki": 1e10}


@pytest.fixture(scope="module")
def fitted() -> mixlab.Fit:
    return mixlab.fit(
        table(), targets={"python": 0.5, "prose": 0.5}, law="concave-data", bootstrap=4, supply=SUPPLY, max_domains=4
    )


def few(mixture: Any, most: int = 3) -> bool:
    return 0 < sum(weight > 0 for weight in mixture.values()) <= most


def test_every_answer_keeps_the_limit(fitted: mixlab.Fit) -> None:
    asking: Any = {"max_domains": 3, "min": {"wiki": 0.05}, "constraints": "code <= web"}
    free = mixlab.recommend(fitted, "1e18", max_domains=5, draws=0)
    assert sum(weight > 0 for weight in free.mixture.values()) == 5  # so that the limit is needed
    assert len(free.held) == 0
    single = mixlab.recommend(fitted, "1e18", **asking)
    limited = mixlab.recommend(fitted, "1e18", no_worse={"python": 9}, draws=0, **asking)
    worst = mixlab.recommend(fitted, "1e18", worst_group="uniform", draws=0, **asking)
    near = mixlab.recommend(fitted, "1e18", kl=0.05, draws=0, **asking)
    reached = mixlab.recommend(fitted, reach_loss=single.loss["mean"] - 0.05, draws=0, **asking)
    several = mixlab.frontier(fitted, ["1e17", "1e18"], **asking)
    for answer in (single, limited, worst, near, reached, *several):
        assert few(answer.mixture)
        assert answer.mixture["wiki"] >= 0.05 - 1e-6
        assert answer.mixture["code"] <= answer.mixture["web"] + 1e-6
        assert answer.asked["max_domains"] == 3
        assert {"said": "at most 3 domains", "room": 0.0, "binds": True} in answer.held
    path = mixlab.trade_off(fitted, {"prose": 1}, "1e18", points=3, **asking)
    assert all(few(point.mixture) for point in path.points)
    assert few(mixlab.recommend(fitted, "1e18", draws=0).mixture, 4)  # the fit's own
    # The baselines are of all domains, and where they are better it is said why they are no answer.
    assert not few(single.baselines["uniform"]["mixture"])
    assert "at most 3 domains binds" in single.summary()


def test_the_mixture_that_a_belief_decides_keeps_the_limit() -> None:
    frame = table(16).assign(loss=lambda one: one["loss.prose"])
    fit = mixlab.fit(frame, "loss", bootstrap=20, max_domains=2)
    answer = mixlab.recommend(fit, "1e18", draws=2)
    assert answer.decision
    for mixture in (answer.mixture, *answer.decision["alike"]):
        assert few(mixture, 2)
    proposed = mixlab.propose(fit, 5, flops="1e18")
    assert all(few(one.mixture, 2) for one in proposed)
    again = mixlab.propose(frame, 5, target="loss", law="concave-data", flops="1e18", max_domains=3)
    assert all(few(one.mixture) for one in again)


def test_a_baseline_of_more_domains_is_said_to_be_no_answer(fitted: mixlab.Fit) -> None:
    answer = mixlab.recommend(fitted, "1e18", max_domains=1, draws=0)
    assert "has 5 domains, and at most 1 domain may have weight" in " ".join(answer.warnings)


def test_the_command_line_takes_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    common = ["--law", "concave-data", "--objective", "prose=1", "--json"]
    asking = ["--flops", "1e18", "--max-domains", "2"]
    done = CliRunner().invoke(app, ["recommend", str(path), *asking, "--bootstrap", "20", *common])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert few(found["mixture"], 2)
    assert found["asked"] == {"max_domains": 2}
    done = CliRunner().invoke(app, ["propose", str(path), *asking, *common])
    assert done.exit_code == 0, done.output
    assert all(few(one["mixture"], 2) for one in json.loads(done.stdout)["runs"])


def test_limits_that_cannot_be_meant_are_refused(fitted: mixlab.Fit) -> None:
    with pytest.raises(ConfigError, match="max_domains must be at least 1, but got 0"):
        mixlab.recommend(fitted, "1e18", max_domains=0)
    with pytest.raises(ConfigError, match="max_domains must be a whole number"):
        mixlab.recommend(fitted, "1e18", max_domains=2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mix fixes it"):
        mixlab.recommend(fitted, "1e18", max_domains=2, mix={"web": 1.0})
    with pytest.raises(InfeasibleError, match=r"`at most 2 domains`, `web >= 0\.1`, `code >= 0\.1`, `wiki >= 0\.1`"):
        mixlab.recommend(fitted, "1e18", max_domains=2, min={"web": 0.1, "code": 0.1, "wiki": 0.1})
    with pytest.raises(InfeasibleError, match=r"`at most 1 domain`, .*`loss\.prose <= "):
        mixlab.recommend(
            fitted, "1e18", max_domains=1, no_worse={"python": "uniform", "prose": "uniform"}, params=1e7, draws=0
        )
    with pytest.raises(ConfigError, match="so `max_domains` has no meaning here"):
        mixlab.fit(table()[["run_id", "params", "tokens", "loss.prose"]], "prose", max_domains=2)
