"""The batch over the course of a run: constant stages that grow with the tokens seen.

It depends on how far training has come and never on where it will end. So one trunk serves every token count: a short
run is not starved of steps by the batch of a long one, nor a long one slowed by that of a short one.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from mixlab.errors import ConfigError


@dataclass(frozen=True)
class Batches:
    """Batch sizes by step.

    Attributes:
        stages: (first step, sequences per batch), the first at step 0, steps ascending.
    """

    stages: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.stages]
        if not steps or steps[0] != 0 or steps != sorted(set(steps)) or min(size for _, size in self.stages) < 1:
            raise ConfigError(f"batch stages must begin at step 0, ascend and be positive, but got {self.stages}")

    @classmethod
    def constant(cls, size: int) -> Batches:
        return cls(((0, size),))

    @classmethod
    def of_stages(cls, stages: Iterable[Sequence[int]]) -> Batches:
        """The batches whose `stages` were written as JSON."""
        return cls(tuple((first, size) for first, size in stages))

    @classmethod
    def growing(cls, stages: Sequence[tuple[float, int]]) -> Batches:
        """Stages given by (first sequence, sequences per batch), the first at 0."""
        found = [(0, stages[0][1])]
        for (start, size), (end, following) in pairwise(stages):
            steps = round((end - start) / size)
            if steps:
                found.append((found[-1][0] + steps, following))
            else:
                found[-1] = (found[-1][0], following)
        return cls(tuple(found))

    def size(self, step: int) -> int:
        """Sequences in the batch of `step` (from 0)."""
        return self.stages[bisect.bisect_right(self._firsts, step) - 1][1]

    def sequences(self, steps: int) -> int:
        """Sequences in the first `steps` batches."""
        index = bisect.bisect_right(self._firsts, steps) - 1
        return self._done[index] + (steps - self._firsts[index]) * self.stages[index][1]

    def steps(self, sequences: float) -> int:
        """The number of steps, at least 1, whose batches come nearest to `sequences`."""
        index = bisect.bisect_right(self._done, sequences) - 1
        return max(1, self._firsts[index] + round((sequences - self._done[index]) / self.stages[index][1]))

    def agrees(self, other: Batches, steps: int) -> bool:
        """Whether the first `steps` batches of both are of the same sizes."""
        ours, theirs = ([stage for stage in each.stages if stage[0] < steps] for each in (self, other))
        return ours == theirs

    @cached_property
    def _firsts(self) -> list[int]:
        return [step for step, _ in self.stages]

    @cached_property
    def _done(self) -> list[int]:
        """Sequences before each stage."""
        done = [0]
        for (first, size), (end, _) in pairwise(self.stages):
            done.append(done[-1] + (end - first) * size)
        return done
