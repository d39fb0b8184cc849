"""A fitted law as it is printed and stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mixlab.laws.forms.solution import Status


@dataclass(frozen=True)
class Member:
    """A member of a blend, as it is printed and stored.

    Attributes:
        law, emphasis, early: its recipe.
        weight: in the blend.
        transfer_error: on runs that its fits had not seen, a mean log-error; NaN where none could be kept out.
        params: the papers' parameters.
    """

    law: str
    emphasis: float
    early: float
    weight: float
    transfer_error: float
    params: dict[str, float]


@dataclass(frozen=True)
class FitResult:
    """A fitted law as it is printed and stored.

    Attributes:
        law, target: names.
        rows: how many were fitted.
        params: the papers' parameters.
        interval: 90% bootstrap confidence interval by parameter.
        objective: what was minimised.
        status: how the fit ended; `status.message` says what that means and what may help.
        warnings: in words.
        draws: the parameters of every bootstrap draw, behind the interval; not stored.
        members: of a blend, each with its recipe, weight, error on unseen runs and parameters; the first is that
            of `params`. A law alone is one member.
    """

    law: str
    target: str
    rows: int
    params: dict[str, float]
    interval: dict[str, tuple[float, float]]
    objective: float
    status: Status
    warnings: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    draws: list[dict[str, float]] = field(default_factory=list, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The keys of `mixlab fit --json`; a number that is not finite becomes null."""
        data = asdict(replace(self, draws=[]))
        del data["draws"]
        for one in (data, *data["members"]):
            one["params"] = {name: _finite(value) for name, value in one["params"].items()}
        for one in data["members"]:
            one["transfer_error"] = _finite(one["transfer_error"])
        data["interval"] = {name: [_finite(low), _finite(high)] for name, (low, high) in self.interval.items()}
        data["objective"] = _finite(self.objective)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitResult:
        def number(value: float | None) -> float:
            return math.nan if value is None else float(value)

        return cls(
            law=data["law"],
            target=data["target"],
            rows=data["rows"],
            params={name: number(value) for name, value in data["params"].items()},
            interval={name: (number(low), number(high)) for name, (low, high) in data["interval"].items()},
            objective=number(data["objective"]),
            status=Status(data["status"]),
            warnings=list(data["warnings"]),
            members=[
                Member(
                    **{
                        **one,
                        "transfer_error": number(one["transfer_error"]),
                        "params": {name: number(value) for name, value in one["params"].items()},
                    }
                )
                for one in data.get("members", ())
            ],
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
