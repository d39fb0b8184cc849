"""Mixtures and their space: sums, bounds, caps, projection."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Domain, Mixture, MixtureSpace

weights = st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: sum(values) > 1e-3)


@pytest.mark.parametrize(
    ("given_weights", "message"),
    [
        ({"a": 0.5, "b": 0.4}, r"sum to 1, but they sum to 0\.9 \(-0\.1\)"),
        ({"a": 1.5, "b": -0.5}, r">= 0, but got b=-0\.5"),
        ({"a": float("nan"), "b": 1.0}, "a=nan"),
    ],
)
def test_what_is_no_mixture_is_refused(given_weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture(given_weights)


@given(weights)
def test_a_mixture_survives_json_to_the_last_bit(values: list[float]) -> None:
    mixture = Mixture.normalized({f"d{i}": value for i, value in enumerate(values)})
    again = Mixture(json.loads(json.dumps(dict(mixture))))
    assert again == mixture
    assert hash(again) == hash(mixture)


def test_an_unknown_domain_names_its_neighbour() -> None:
    with pytest.raises(ConfigError, match="`cod`") as error:
        Mixture({"cod": 1.0}).array(["web", "code"])
    assert error.value.hint == "did you mean `code`?"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_projection_is_the_nearest_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = MixtureSpace(tuple(Domain(n, 100.0) for n in "abcd"), {"a": 0.1}, {"b": 0.4}, max_epochs=3)
    point = rng.normal(0.25, 0.5, 4)
    ours = space.project(point, tokens=500)
    lower, upper = space.bounds(500)
    found = minimize(
        lambda h: float(np.sum((h - point) ** 2)),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=list(zip(lower, upper, strict=True)),
        constraints={"type": "eq", "fun": lambda h: h.sum() - 1},
        options={"ftol": 1e-14},
    )
    assert ours == pytest.approx(found.x, abs=1e-5)
    assert ours.sum() == pytest.approx(1)


def test_caps_follow_the_tokens() -> None:
    space = MixtureSpace((Domain("web", 1000), Domain("code", 100)), max_epochs=4)
    assert space.bounds(800)[1].tolist() == [1.0, 0.5]
    assert dict(space.uniform(1600)) == pytest.approx({"web": 0.75, "code": 0.25})
    assert space.epochs(Mixture({"web": 0.75, "code": 0.25}), 1600) == {"web": 1.2, "code": 4.0}
    with pytest.raises(InfeasibleError, match="at most 4 epochs") as error:
        space.bounds(4500)
    assert "more epochs" in str(error.value.hint)


def test_bounds_that_cannot_hold_are_refused() -> None:
    with pytest.raises(InfeasibleError, match=r"`web` must have weight >= 0\.8"):
        MixtureSpace((Domain("web"), Domain("code")), {"web": 0.8}, {"web": 0.5})
    with pytest.raises(ConfigError, match="a bound names domain `wob`") as error:
        MixtureSpace((Domain("web"), Domain("code")), {"wob": 0.1})
    assert error.value.hint == "did you mean `web`?"
    with pytest.raises(ConfigError, match="unique tokens of every domain"):
        MixtureSpace((Domain("web"), Domain("code", 5.0))).proportional()
