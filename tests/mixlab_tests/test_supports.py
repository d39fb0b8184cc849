"""A limit on the domains that have weight: that it holds, which domains are taken, and what clashes with it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixlab.constraints import parse_constraint
from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Domain, Mixture, MixtureSpace


def space_of(
    names: str | list[str], *constraints: str, most: int | None = None, supply: dict[str, float] | None = None,
    epochs: float = math.inf, lower: dict[str, float] | None = None, upper: dict[str, float] | None = None,
) -> MixtureSpace:  # fmt: skip
    domains = tuple(Domain(name, (supply or {}).get(name, math.inf)) for name in names)
    rows = tuple(parse_constraint(one) for one in constraints)
    return MixtureSpace(domains, lower or {}, upper or {}, epochs, rows, most)


def parts(space: MixtureSpace, most: int) -> list[MixtureSpace]:
    """The space within every choice of `most` domains that holds a mixture."""
    found = []
    for chosen in itertools.combinations(range(len(space.names)), most):
        try:
            found.append(space.within(np.isin(np.arange(len(space.names)), chosen)))
        except InfeasibleError:
            continue
    return found


@st.composite
def spaces(draw: st.DrawFn) -> MixtureSpace:
    """Spaces that a mixture of few domains keeps, with bounds, caps and constraints that others do not."""
    K = draw(st.integers(3, 8))
    most = draw(st.integers(1, K - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = [f"d{k}" for k in rng.permutation(K)]
    inside = np.zeros(K)
    inside[rng.permutation(K)[:most]] = rng.dirichlet(np.full(most, 2.0))
    texts = []
    for _ in range(draw(st.integers(0, 3))):
        terms = [(float(rng.integers(-3, 4)), name) for name in names]
        value = sum(weight * share for (weight, _), share in zip(terms, inside, strict=True))
        said = " + ".join(f"{weight} {name}" for weight, name in terms if weight).replace("+ -", "- ")
        if said:
            texts.append(f"{said} <= {float(value + 0.02)!r}")
    upper = {name: float(min(1.0, share + 0.3)) for name, share in zip(names, inside, strict=True)}
    lower = {name: float(share / 2) for name, share in zip(names, inside, strict=True) if rng.random() < 0.3 and share}
    return space_of(names, *texts, most=most, lower=lower, upper=upper if draw(st.booleans()) else None)


@settings(max_examples=100, deadline=None)
@given(spaces(), st.integers(0, 10_000))
def test_a_projection_keeps_the_limit_with_all_else(space: MixtureSpace, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0.2, 0.5, (2, 5, len(space.names)))
    found = space.project(points)
    assert found.shape == points.shape
    assert np.all((found > 0).sum(axis=-1) <= space.max_domains)
    for h in found.reshape(-1, len(space.names)):
        mixture = Mixture.from_array(space.names, h)
        assert space.contains(mixture)
        assert space.unlimited.contains(mixture)
    assert space.project(found) == pytest.approx(found, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 7), st.integers(0, 2**32))
def test_a_projection_is_the_nearest_of_all_supports(K: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, K + 1))
    names = [f"d{k}" for k in range(K)]
    space = space_of(names, most=most, lower={"d1": 0.1} if rng.random() < 0.5 else None)
    point = rng.normal(0.2, 0.5, K)
    nearest = min(float(np.linalg.norm(part.project(point) - point)) for part in parts(space, most))
    assert np.linalg.norm(space.project(point) - point) == pytest.approx(nearest, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(spaces(), st.integers(0, 10_000))
def test_the_order_of_the_domains_changes_no_projection(space: MixtureSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(space.names))
    turned = MixtureSpace(
        tuple(space.domains[k] for k in order), space.lower, space.upper, math.inf, space.constraints, space.max_domains
    )
    for point in (rng.normal(0.2, 0.5, len(order)), np.full(len(order), 1 / len(order))):
        assert turned.project(point[order]) == pytest.approx(space.project(point)[order], abs=1e-8)


def test_names_decide_between_equals_in_any_order() -> None:
    names = list("abcdef")
    supply = {"a": 30.0, "b": 30.0, "c": 30.0, "d": 60.0, "e": 60.0, "f": 60.0}
    for order in itertools.permutations(names, 6):
        space = space_of(list(order), most=2, supply=supply, epochs=1)
        found = dict(zip(order, space.project([1 / 3 if name in "abc" else 0.0 for name in order], 100), strict=True))
        assert {name for name, weight in found.items() if weight > 0} == {"d", "e"}
        plain = dict(zip(order, space.project(np.full(6, 1 / 6)), strict=True))
        assert plain == pytest.approx({"a": 0.5, "b": 0.5, "c": 0, "d": 0, "e": 0, "f": 0})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_a_space_is_refused_where_no_support_holds_a_mixture_and_what_clashes_is_smallest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, 4))
    names = "abcde"
    upper = {name: round(float(rng.uniform(0.1, 0.7)), 2) for name in names}
    texts = [f"{a} + {b} >= {rng.uniform(0.1, 0.5):.2f}" for a, b in (rng.permutation(list(names))[:2] for _ in "xy")]
    try:
        whole = space_of(names, *texts, upper=upper)
    except InfeasibleError:
        return
    if parts(whole, most):
        space_of(names, *texts, upper=upper, most=most)
        return
    with pytest.raises(InfeasibleError) as error:
        space_of(names, *texts, upper=upper, most=most)
    first, *named = error.value.message.partition(": ")[2].replace("`", "").split(", ")
    assert first == f"at most {most} domain{'s' if most > 1 else ''}"
    kept = {name: bound for name, bound in upper.items() if f"{name} <= {bound:.4g}" in named}
    rows = [text for text in texts if text in named]
    assert len(kept) + len(rows) == len(named)
    with pytest.raises(InfeasibleError):
        space_of(names, *rows, upper=kept, most=most)
    for left in named:
        fewer = {name: bound for name, bound in kept.items() if f"{name} <= {bound:.4g}" != left}
        space_of(names, *(one for one in rows if one != left), most=most, upper=fewer)
    fewest = int(str(error.value.hint).split()[1])
    assert parts(whole, fewest)
    assert not parts(whole, fewest - 1)


@pytest.mark.parametrize(
    ("texts", "lower", "upper", "named", "fewest"),
    [
        ([], {"a": 0.1, "b": 0.1, "c": 0.1}, {}, {"a >= 0.1", "b >= 0.1", "c >= 0.1"}, 3),
        (["a + b >= 0.5", "c + d >= 0.2", "e >= 0.1"], {}, {}, {"a + b >= 0.5", "c + d >= 0.2", "e >= 0.1"}, 3),
        (["a == b"], {}, {"c": 0.2, "d": 0.2, "e": 0.2, "a": 0.3}, None, 4),
    ],
)
def test_what_clashes_with_the_limit_is_named(
    texts: list[str], lower: dict[str, float], upper: dict[str, float], named: set[str] | None, fewest: int
) -> None:
    with pytest.raises(InfeasibleError, match="no mixture keeps all of these: `at most 2 domains`, ") as error:
        space_of("abcde", *texts, most=2, lower=lower, upper=upper)
    if named is not None:
        assert set(error.value.message.partition(", ")[2].replace("`", "").split(", ")) == named
    assert str(error.value.hint).startswith(f"allow {fewest} domains")


def test_a_supply_that_few_domains_cannot_give_is_refused() -> None:
    supply = {"web": 800.0, "code": 100.0, "math": 100.0, "books": 50.0}
    space = space_of(list(supply), most=2, supply=supply, epochs=4)
    assert space.most_tokens() == pytest.approx(4 * 900, rel=1e-5)
    with pytest.raises(InfeasibleError, match=r"at 3\.8K tokens: `at most 2 domains`, .*4 epochs of 100 tokens"):
        space.bounds(3800)
    # Of code and math, which must be there, one may: it has 400 tokens to give.
    tied = space_of(list(supply), "code + math >= 0.2", most=2, supply=supply, epochs=4)
    assert tied.most_tokens() == pytest.approx(4 * 100 / 0.2)
    tied.bounds(1999)
    with pytest.raises(InfeasibleError):
        tied.bounds(2010)
    # Code and math alone are capped at 0.8 in all: one makes room for web, and names decide which.
    even = space_of(list(supply), most=2, supply=supply, epochs=4).project([0.0, 0.5, 0.5, 0.0], tokens=1000)
    assert even.tolist() == pytest.approx([0.6, 0.4, 0, 0])


def test_the_uniform_mixture_is_one_of_all_domains() -> None:
    space = space_of("abc", most=2, supply={"a": 1.0, "b": 2.0, "c": 1.0})
    assert dict(space.uniform()) == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert dict(space.proportional()) == pytest.approx({"a": 0.25, "b": 0.5, "c": 0.25})
    assert not space.contains(space.uniform())
    assert space.project([0.25, 0.5, 0.25]).tolist() == pytest.approx([0.375, 0.625, 0])  # names decide


def test_a_limit_that_leaves_none_is_refused_and_one_that_binds_nothing_changes_nothing() -> None:
    with pytest.raises(ConfigError, match="max_domains must be at least 1, but got 0"):
        space_of("abc", most=0)
    points = np.random.default_rng(0).normal(0.2, 0.5, (50, 3))
    assert np.array_equal(space_of("abc", most=3).project(points), space_of("abc").project(points))
    assert np.all(space_of("abc", most=1).project(points) == np.eye(3)[np.argmax(points, axis=1)])
