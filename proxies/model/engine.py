"""What trains a stack of runs step by step: the contract of an engine.

An engine holds the whole state of K members of one shape and nothing about text, schedules or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from proxies.model.parameters import Floats


class State(NamedTuple):
    """All that the next steps of a stack start from: parameters and AdamW's moments, each of shape (K, P)."""

    parameters: Floats
    first: Floats
    second: Floats


class Engine(Protocol):
    """Members of one shape; they share nothing, and each is trained as it would be alone.

    Attributes:
        device: what a record calls the device, "cpu" or a GPU's name.
    """

    device: str

    def train(
        self, sequences: NDArray[np.int32], sizes: Sequence[int], factors: Sequence[float], first_step: int
    ) -> Floats:
        """Do S steps.

        Args:
            sequences: token ids, shape (K, sum of sizes, T + 1), step after step.
            sizes: sequences in each step's batch, length S.
            factors: share of the peak learning rate at each step, length S.
            first_step: how many steps these parameters have seen before.

        Returns:
            Mean loss of each batch in nats per token, shape (K, S). A member that is no longer finite has NaN.
        """
        ...

    def score(self, sequences: NDArray[np.int32]) -> Floats:
        """Loss of every next token of the same `sequences`, shape (n, T + 1), in nats, under every member.

        Returns:
            Shape (K, n, T).
        """
        ...

    def state(self) -> State:
        """A copy of the state."""
        ...

    def restore(self, state: State) -> None:
        """Go on from `state`, which stays the caller's."""
        ...

    def describe(self) -> dict[str, str]:
        """What a record should say of how it went, beside device, engine and precision."""
        ...
