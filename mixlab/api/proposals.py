"""What `mixlab.propose` answers: the runs to make next, or why to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixlab.shown import Shown, table
from mixlab.units import format_flops, format_quantity

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ProposedRun:
    """A run that is worth making.

    Attributes:
        mixture: weights by domain.
        params, tokens: N and D.
        flops: what it costs.
        share: of the doubt about the best mixture, what it takes off once those before it are told.
    """

    mixture: dict[str, float]
    params: float
    tokens: float
    flops: float
    share: float


@dataclass(frozen=True, repr=False)
class Proposals(Shown, Sequence[ProposedRun]):
    """The runs to make next, each chosen as if those before it had been told.

    One that comes twice, or was made before, is to be made with another seed.

    Attributes:
        runs: what to make.
        domains: of their mixtures.
        flops, params, tokens: the C, N and D that are asked about.
        regret: what the answer of today is expected to lose to the best there, nats.
        noise: standard deviation of one run at the largest scale, nats.
        stop: whether to stop here.
        why: to stop or to go on, a sentence.
        warnings: in words.
    """

    runs: tuple[ProposedRun, ...]
    domains: tuple[str, ...]
    flops: float
    params: float
    tokens: float
    regret: float
    noise: float
    stop: bool
    why: str
    warnings: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def notes(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings

    def __repr__(self) -> str:
        said = "stop" if self.stop else "go on"
        cost = format_flops(sum(one.flops for one in self.runs))
        return f"<Proposals: {said}; {len(self)} runs of {cost} FLOPs, expected regret {self.regret:.4f}>"

    def parts(self) -> Iterator[RenderableType]:
        """Whether to go on, and a row per run."""
        n, d = format_quantity(self.params), format_quantity(self.tokens)
        yield f"{self.why}\nasked about: {format_flops(self.flops)} FLOPs, {n} parameters on {d} tokens"
        if not self.runs:
            return
        heads = ["run", *self.domains, "parameters", "tokens", "FLOPs", "doubt taken off"]
        found = table("if you go on, the runs that tell most" if self.stop else "the runs to make next", heads)
        for number, one in enumerate(self.runs, 1):
            found.add_row(
                str(number),
                *(f"{one.mixture[name]:.3f}" for name in self.domains),
                format_quantity(one.params),
                format_quantity(one.tokens),
                format_flops(one.flops),
                f"{one.share:.1%}",
            )
        yield found

    def to_frame(self) -> pd.DataFrame:
        """A row per run: `mix.<domain>`, params, tokens, flops, share."""
        rows = []
        for one in self.runs:
            row = {f"mix.{name}": weight for name, weight in one.mixture.items()}
            rows.append(row | {"params": one.params, "tokens": one.tokens, "flops": one.flops, "share": one.share})
        names = [*(f"mix.{name}" for name in self.domains), "params", "tokens", "flops", "share"]
        return pd.DataFrame(rows, columns=names)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab propose --json`."""
        return {
            "flops": self.flops,
            "params": self.params,
            "tokens": self.tokens,
            "stop": self.stop,
            "why": self.why,
            "expected_regret": self.regret,
            "noise": self.noise,
            "runs": [asdict(one) for one in self.runs],
            "warnings": list(self.warnings),
        }
