"""The rounds of a sweep after the first, as they were decided: one file each, so that a resumed sweep has the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixlab.decide.decision import SHOWN
from mixlab.errors import ConfigError
from mixlab.files import read_json, write_json
from mixlab.mixture import Mixture
from mixlab.study.folder import StudyFolder


@dataclass(frozen=True)
class Ask:
    """A run that a round asks for.

    Attributes:
        mixture: h.
        size: step of the ladder.
        budgets: how many of the study's budgets it is trained at, from the smallest.
        replicate: how often this mixture was asked for at this size before.
    """

    mixture: Mixture
    size: int
    budgets: int
    replicate: int = 0


@dataclass(frozen=True)
class Round:
    """What was decided for a round.

    Attributes:
        asks: its runs; none where the sweep stops here.
        stop: why it stops, in words.
        flops: what the rounds before it cost.
        regret: what the answer was expected to lose to the best, nats, at that point; None where nobody worked it out.
        noise: standard deviation of one of the largest runs, nats; likewise.
    """

    asks: tuple[Ask, ...]
    stop: str | None = None
    flops: float | None = None
    regret: float | None = None
    noise: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the answer was expected to lose less than noise can show."""
        return self.regret is not None and self.noise is not None and self.regret <= SHOWN * self.noise

    def write(self, path: Path) -> None:
        """Keep it."""
        asks = [{**asdict(ask), "mixture": dict(ask.mixture)} for ask in self.asks]
        write_json(path, {**asdict(self), "asks": asks})


def read_round(path: Path) -> Round | tuple[Mixture, ...]:
    """A decided round; as the first versions wrote it, its mixtures alone, whose sizes follow from their places.

    Raises:
        ConfigError: when the file is damaged.
    """
    hint = "delete it: the round is then proposed anew, and runs that it had before stay in the ledger"
    data = read_json(path, hint)
    try:
        if isinstance(data, list):
            return tuple(Mixture(weights) for weights in data)
        return Round(**{**data, "asks": tuple(_ask(one) for one in data["asks"])})
    except (ConfigError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ConfigError(f"{path} is damaged: {error}", hint) from None


def _ask(data: dict[str, Any]) -> Ask:
    return Ask(Mixture(data["mixture"]), int(data["size"]), int(data["budgets"]), int(data["replicate"]))


def decided_rounds(folder: StudyFolder) -> Sequence[tuple[int, Round]]:
    """The later rounds that were decided, with their numbers; those of mixtures alone are left out."""
    found: list[tuple[int, Round]] = []
    number = 1
    while folder.round_file(number).exists():
        one = read_round(folder.round_file(number))
        if isinstance(one, Round):
            found.append((number, one))
        number += 1
    return found
