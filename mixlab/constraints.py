"""Linear constraints on a mixture, as people write them: `code + math >= 0.3`, `2*web <= books`, `code == math`.

    constraint = side relation side [relation side]        0.2 <= code + math <= 0.5
    relation   = "<=" | ">=" | "=="
    side       = ["+" | "-"] term { ("+" | "-") term }
    term       = number | name | number ["*"] name | name "*" number

A name of letters, digits, `_` and `.` stands bare; any other goes into quotes: `"pile-cc" <= 0.3`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import ConfigError, InfeasibleError, did_you_mean

EXAMPLE = "write it as `code + math >= 0.3`, `2*web <= books` or `code == math`"
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d][\w.]*)
      | "(?P<double>[^"]+)" | '(?P<single>[^']+)'
      | (?P<sign><=|>=|==|[-+*])
    )""",
    re.VERBOSE,
)
_RELATIONS = ("<=", ">=", "==")


@dataclass(frozen=True)
class LinearConstraint:
    """`lower <= sum of coefficient * weight <= upper`.

    Attributes:
        text: as it was written, which is its name in messages.
        terms: (domain, coefficient), each domain once, no coefficient 0.
        lower, upper: infinite where there is no such end; equal in an equation.
    """

    text: str
    terms: tuple[tuple[str, float], ...]
    lower: float
    upper: float

    @property
    def names(self) -> tuple[str, ...]:
        """The domains that it is about."""
        return tuple(name for name, _ in self.terms)

    def row(self, names: Sequence[str]) -> Array:
        """Coefficients in the order of `names`, shape (K,); a domain that is not among them has weight 0."""
        found = dict(self.terms)
        return np.array([found.get(name, 0.0) for name in names])

    def among(self, names: Collection[str]) -> LinearConstraint | None:
        """The same where only `names` have weight; None where that keeps it always.

        Raises:
            InfeasibleError: where that can never keep it.
        """
        terms = tuple((name, value) for name, value in self.terms if name in names)
        if terms:
            return replace(self, terms=terms)
        if not self.lower <= 0 <= self.upper:
            raise InfeasibleError(
                f"the constraint `{self.text}` is about domains that have no weight: {', '.join(self.names)}",
                "take it out, or raise their maxima",
            )
        return None

    def require(self, names: Collection[str]) -> None:
        """Refuse a domain that there is not.

        Raises:
            ConfigError: with the nearest name.
        """
        for name in self.names:
            if name not in names:
                # `pile-cc` without quotes reads as `pile` less `cc`.
                dashed = [one for one in names if not re.fullmatch(r"[^\W\d][\w.]*", one) and name in one]
                hint = f'put "{dashed[0]}" into quotes' if dashed else did_you_mean(name, names)
                raise ConfigError(f"the constraint `{self.text}` names a domain `{name}`", hint)

    def __str__(self) -> str:
        return self.text


def parse_constraint(text: str) -> LinearConstraint:
    """Read one constraint.

    Raises:
        ConfigError: when it is none, saying what was expected where.
    """
    said = " ".join(str(text).split())
    sides: list[tuple[dict[str, float], float]] = []
    relations: list[str] = []
    part: list[tuple[str, str]] = []
    for kind, token in [*_tokens(said), ("sign", "")]:
        if kind == "sign" and (token in _RELATIONS or not token):
            sides.append(_side(part, said))
            relations.append(token)
            part = []
        else:
            part.append((kind, token))
    relations.pop()
    if not 1 <= len(relations) <= 2:
        raise ConfigError(f"a constraint has <=, >= or == between two sides, but got `{said}`", EXAMPLE)
    lower, upper = -math.inf, math.inf
    if len(relations) == 1:
        (left, before), (right, after) = sides
        terms = {name: left.get(name, 0.0) - right.get(name, 0.0) for name in {**left, **right}}
        lower = after - before if relations[0] in (">=", "==") else lower
        upper = after - before if relations[0] in ("<=", "==") else upper
    else:
        (left, first), (terms, middle), (right, last) = sides
        if left or right or relations[0] != relations[1] or relations[0] == "==":
            raise ConfigError(
                f"three sides are two numbers around domains, but got `{said}`",
                "write it as `0.2 <= code + math <= 0.5`",
            )
        lower, upper = (first - middle, last - middle) if relations[0] == "<=" else (last - middle, first - middle)
    terms = {name: value for name, value in terms.items() if value != 0}
    if not terms:
        raise ConfigError(f"a constraint is about the weights of domains, but `{said}` is about none", EXAMPLE)
    return LinearConstraint(said, tuple(terms.items()), lower, upper)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].strip()
            hint = "write <= or >=" if rest[0] in "<>" else "write ==" if rest[0] == "=" else EXAMPLE
            raise ConfigError(f"the constraint `{text}` has `{rest[:12]}` where a name or a number belongs", hint)
        kind = match.lastgroup or ""
        yield ("name" if kind in ("double", "single") else kind), match[kind]
        position = match.end()


def _side(tokens: Sequence[tuple[str, str]], text: str) -> tuple[dict[str, float], float]:
    """Coefficients by domain, and what is added to them."""
    terms: dict[str, float] = {}
    constant, place = 0.0, 0
    while place < len(tokens) or not place:
        sign = 1.0
        if place < len(tokens) and tokens[place][1] in ("+", "-") and tokens[place][0] == "sign":
            sign, place = (-1.0 if tokens[place][1] == "-" else 1.0), place + 1
        elif place:
            raise ConfigError(f"the constraint `{text}` has `{tokens[place][1]}` where + or - belongs", EXAMPLE)
        factors: dict[str, str] = {}
        while place < len(tokens) and tokens[place][0] in ("number", "name") and tokens[place][0] not in factors:
            factors[tokens[place][0]] = tokens[place][1]
            place += 1
            if place + 1 < len(tokens) and tokens[place][1] == "*":
                if tokens[place + 1][0] in factors or tokens[place + 1][0] == "sign":
                    raise ConfigError(f"the constraint `{text}` must be linear: a number times a domain", EXAMPLE)
                place += 1
            elif "name" in factors:
                break
        if not factors:
            raise ConfigError(f"the constraint `{text}` lacks a domain or a number on one side", EXAMPLE)
        value = sign * float(factors.get("number", 1))
        if "name" in factors:
            terms[factors["name"]] = terms.get(factors["name"], 0.0) + value
        else:
            constant += value
    return terms, constant
