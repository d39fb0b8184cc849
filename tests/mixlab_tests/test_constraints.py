"""Linear constraints: how they read, that they hold, the nearest point inside, and the names of those that clash."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mixlab.constraints import parse_constraint
from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Domain, Mixture, MixtureSpace


def space_of(
    names: str | list[str], *constraints: str, supply: dict[str, float] | None = None, epochs: float = math.inf,
    lower: dict[str, float] | None = None, upper: dict[str, float] | None = None,
) -> MixtureSpace:  # fmt: skip
    domains = tuple(Domain(name, (supply or {}).get(name, math.inf)) for name in names)
    return MixtureSpace(domains, lower or {}, upper or {}, epochs, tuple(parse_constraint(one) for one in constraints))


@pytest.mark.parametrize(
    ("text", "terms", "lower", "upper"),
    [
        ("code + math >= 0.3", {"code": 1, "math": 1}, 0.3, math.inf),
        ("2*web <= books", {"web": 2, "books": -1}, -math.inf, 0),
        ("code == math", {"code": 1, "math": -1}, 0, 0),
        ("0.2 <= code + math <= 0.5", {"code": 1, "math": 1}, 0.2, 0.5),
        ("0.5 >= code + math >= .2", {"code": 1, "math": 1}, 0.2, 0.5),
        ('"pile-cc" + `x`'.replace("`", "'") + " <= 3e-1", {"pile-cc": 1, "x": 1}, -math.inf, 0.3),
        ("-web + .5 books <= 0", {"web": -1, "books": 0.5}, -math.inf, 0),
        ("web - 0.25 >= code + 0.25", {"web": 1, "code": -1}, 0.5, math.inf),
        ("code*2 + code - web - 0.5 <= 0", {"code": 3, "web": -1}, -math.inf, 0.5),
        ("0.25 <= a.b_1 + 0.25 - c + c <= 0.75", {"a.b_1": 1}, 0, 0.5),
    ],
)
def test_a_constraint_reads_as_it_is_written(text: str, terms: dict[str, float], lower: float, upper: float) -> None:
    found = parse_constraint(text)
    assert (dict(found.terms), found.lower, found.upper) == (terms, lower, upper)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a < b", "`< b` where a name or a number belongs"),
        ("a = b", "`= b` where a name or a number belongs"),
        ("a <=", "lacks a domain or a number on one side"),
        ("", "lacks a domain or a number"),
        ("a + b", "has <=, >= or == between two sides"),
        ("a b <= 1", "`b` where \\+ or - belongs"),
        ("a*b <= 1", "must be linear"),
        ("2*3*a <= 1", "must be linear"),
        ("a ** 2 <= 1", "must be linear"),
        ("0.3 >= 0.2", "is about none"),
        ("a - a <= 1", "is about none"),
        ("a <= b <= c", "three sides are two numbers around domains"),
        ("0.1 <= a >= 0", "three sides are two numbers around domains"),
        ("a <= 1 <= 2 <= 3", "between two sides"),
        ("__import__('os').system('true') <= 1", "where"),
        ("a <= 0.1; b", "`; b` where"),
    ],
)
def test_what_is_no_constraint_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_constraint(text)


def test_an_unknown_domain_is_named() -> None:
    with pytest.raises(ConfigError, match="names a domain `cod`") as error:
        space_of(["code", "web"], "cod >= 0.3")
    assert error.value.hint == "did you mean `code`?"
    with pytest.raises(ConfigError, match="names a domain `pile`") as error:
        space_of(["pile-cc", "web"], "pile-cc >= 0.3")
    assert error.value.hint == 'put "pile-cc" into quotes'


@st.composite
def spaces(draw: st.DrawFn) -> MixtureSpace:
    """Spaces with constraints that a mixture drawn before keeps, some of them barely."""
    K, rows = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = [f"d{k}" for k in range(K)]
    inside = rng.dirichlet(np.full(K, 0.7))
    texts = []
    for _ in range(rows):
        terms = [(float(rng.integers(-3, 4)), name) for name in names]
        value = sum(weight * share for (weight, _), share in zip(terms, inside, strict=True))
        said = " + ".join(f"{weight} {name}" for weight, name in terms if weight).replace("+ -", "- ")
        assume(said)
        relation = rng.choice(["<=", ">=", "=="], p=[0.45, 0.45, 0.1])
        room = {"<=": 1, ">=": -1, "==": 0}[str(relation)] * float(rng.choice([0.0, 0.05]))
        texts.append(f"{said} {relation} {float(value + room)!r}")
    upper = {name: float(min(1.0, share + 0.3)) for name, share in zip(names, inside, strict=True)}
    return space_of(names, *texts, upper=upper)


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 10_000))
def test_a_projection_keeps_every_constraint(space: MixtureSpace, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0.2, 1.0, (3, 4, len(space.names)))
    found = space.project(points)
    A, low, high = space.linear()
    lower, upper = space.bounds(0)
    assert found.shape == points.shape
    assert found.sum(axis=-1) == pytest.approx(1)
    assert np.all(found >= lower - 1e-9)
    assert np.all(found <= upper + 1e-9)
    assert np.all(found @ A.T >= low - 1e-8)
    assert np.all(found @ A.T <= high + 1e-8)
    assert space.project(found) == pytest.approx(found, abs=1e-8)
    assert space.contains(Mixture.from_array(space.names, found[0, 0]))


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 10_000))
def test_a_projection_is_the_nearest_point(space: MixtureSpace, seed: int) -> None:
    point = np.random.default_rng(seed).normal(0.2, 0.5, len(space.names))
    ours = space.project(point)
    A, low, high = space.linear()
    lower, upper = space.bounds(0)
    rows = [(sign * row, sign * end) for row, a, b in zip(A, low, high, strict=True) for sign, end in ((1, a), (-1, b))]
    theirs = minimize(
        lambda h: float(np.sum((h - point) ** 2)),
        ours,
        method="SLSQP",
        bounds=list(zip(lower, upper, strict=True)),
        constraints=[
            {"type": "eq", "fun": lambda h: h.sum() - 1},
            *({"type": "ineq", "fun": lambda h, r=r, e=e: r @ h - e} for r, e in rows if np.isfinite(e)),
        ],
        options={"ftol": 1e-14},
    ).x
    # Optimality against a vertex-free bound: no point that keeps the rows is nearer by more than their tolerance.
    assert np.linalg.norm(ours - point) <= np.linalg.norm(theirs - point) + 1e-6
    # The angle criterion: (point - ours) makes no acute angle with any way inside.
    others = space.project(np.random.default_rng(seed + 1).dirichlet(np.ones(len(point)), 50))
    assert np.max((others - ours) @ (point - ours)) <= 1e-8


@settings(max_examples=50, deadline=None)
@given(spaces(), st.integers(0, 10_000))
def test_the_order_of_the_domains_changes_no_projection(space: MixtureSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(space.names))
    point = rng.normal(0.2, 0.5, len(order))
    turned = MixtureSpace(
        tuple(space.domains[k] for k in order), space.lower, space.upper, constraints=space.constraints[::-1]
    )
    assert turned.project(point[order]) == pytest.approx(space.project(point)[order], abs=1e-8)


def test_plain_bounds_go_the_fast_way_to_the_same_point() -> None:
    box = space_of("abcd", lower={"a": 0.1}, upper={"b": 0.4})
    rows = space_of("abcd", "a >= 0.1", "b <= 0.4")
    points = np.random.default_rng(0).normal(0.25, 0.5, (500, 4))
    assert rows.project(points) == pytest.approx(box.project(points), abs=1e-9)


def test_what_a_space_gives_keeps_its_constraints() -> None:
    supply = {"web": 800.0, "code": 100.0, "math": 100.0}
    space = space_of(list(supply), "code + math >= 0.5", "code == 2 math", supply=supply, epochs=4)
    for mixture in (space.uniform(), space.proportional(), space.uniform(600), space.proportional(600)):
        assert mixture["code"] + mixture["math"] >= 0.5 - 1e-9
        assert mixture["code"] == pytest.approx(2 * mixture["math"])
    assert not space.contains(Mixture({"web": 0.6, "code": 0.3, "math": 0.1}))
    # code <= 400 / D and code >= 1/3 hold together up to 1,200 tokens.
    assert space.most_tokens() == pytest.approx(1200)
    space.bounds(1199.9)
    with pytest.raises(InfeasibleError, match=r"`code <= 0\.3077 \(4 epochs of 100 tokens\)`"):
        space.bounds(1300)
    assert space_of("ab", "a >= 0.5").most_tokens() == math.inf


@pytest.mark.parametrize(
    ("constraints", "lower", "upper", "clash"),
    [
        (["a + b >= 0.6", "a <= 0.2", "b <= 0.3", "c <= 0.9"], {}, {}, {"a + b >= 0.6", "a <= 0.2", "b <= 0.3"}),
        (["a + b >= 0.6"], {"d": 0.1}, {"a": 0.2, "b": 0.3, "c": 0.9}, {"a + b >= 0.6", "a <= 0.2", "b <= 0.3"}),
        (["a == 2 b", "b >= 0.5"], {"c": 0.01}, {}, {"a == 2 b", "b >= 0.5"}),
        (["a >= 1.5", "b <= 0.1"], {}, {}, {"a >= 1.5"}),
        (["a + b + c + d <= 0.5"], {}, {}, {"a + b + c + d <= 0.5"}),
    ],
)
def test_what_clashes_is_named_and_nothing_else(
    constraints: list[str], lower: dict[str, float], upper: dict[str, float], clash: set[str]
) -> None:
    with pytest.raises(InfeasibleError, match="no mixture keeps all of these") as error:
        space_of("abcd", *constraints, lower=lower, upper=upper)
    assert set(error.value.message.partition(": ")[2].replace("`", "").split(", ")) == clash


def test_bounds_that_do_not_sum_to_1_are_named() -> None:
    with pytest.raises(InfeasibleError, match=r"these clash: `a >= 0\.6`, `c >= 0\.5`"):
        space_of("abc", lower={"a": 0.6, "c": 0.5, "b": 0.05})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_clash_is_smallest(seed: int) -> None:
    """Without any one of the named there is a mixture, with all of them there is none."""
    rng = np.random.default_rng(seed)
    texts = [
        f"{rng.integers(-2, 3)} a + {rng.integers(-2, 3)} b + {rng.integers(1, 3)} c {relation} {rng.uniform(0, 1):.2f}"
        for relation in rng.choice(["<=", ">="], 6)
    ]
    texts = [text.replace("+ -", "- ") for text in texts]
    try:
        space_of("abc", *texts)
    except InfeasibleError as error:
        named = error.message.partition(": ")[2].replace("`", "").split(", ")
        assert set(named) <= set(texts)
        with pytest.raises(InfeasibleError):
            space_of("abc", *named)
        for fewer in itertools.combinations(named, len(named) - 1):
            space_of("abc", *fewer)
