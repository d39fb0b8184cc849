"""Which text comes at which step: a pure function of (mixture, seed, step).

Two independent choices. *Which domain* fills sequence j follows from the mixture alone, by error diffusion, so that
after any number of sequences each domain has its share to within one sequence. *Which window* of a domain is its n-th
follows from (seed, domain, n) alone, a fresh permutation of its windows per epoch. Two mixtures therefore see the same
windows of a domain in the same order, which takes sampling noise out of their difference (common random numbers).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from mixlab.batches import Batches
from mixlab.errors import CorpusError
from mixlab.mixture import Mixture

Tokens = Mapping[str, NDArray[np.unsignedinteger]]


def domain_order(weights: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Domain index of each of `count` sequences, shape (count,); a shorter count gives a prefix.

    The n-th sequence of a domain is due at time (n + 1/2) / weight, and all due times are merged: error diffusion
    without its loop.
    """
    due, owner = [], []
    for index in np.flatnonzero(weights > 0):
        with np.errstate(over="ignore"):  # a vanishing weight is due at infinity
            times = (np.arange(math.ceil(weights[index] * count) + 2) + 0.5) / weights[index]
        due.append(times)
        owner.append(np.full(len(times), index))
    order = np.argsort(np.concatenate(due), kind="stable")[:count]
    return np.concatenate(owner)[order]


class Windows:
    """The windows of one domain's tokens in a random order that needs no memory.

    Window i covers `context + 1` tokens from i * context: inputs and their next tokens. The n-th window drawn is
    (a n + b) mod count with a coprime to the count and (a, b) drawn anew for each epoch.
    """

    def __init__(self, name: str, tokens: NDArray[np.unsignedinteger], context: int, seed: int) -> None:
        self._tokens = tokens
        self._context = context
        self._key = (seed, zlib.crc32(name.encode()))
        self.count = (len(tokens) - 1) // context
        if self.count < 1:
            raise CorpusError(
                f"domain `{name}` must have more training tokens than one sequence of {context}, but has {len(tokens)}",
                "add text to it, drop it, or shorten proxies.context",
            )

    def __getitem__(self, draw: int) -> NDArray[np.unsignedinteger]:
        """The `draw`-th window since the start of training, shape (context + 1,)."""
        epoch, index = divmod(draw, self.count)
        rng = np.random.default_rng((*self._key, epoch))
        shift = int(rng.integers(self.count))
        step = int(rng.integers(self.count)) | 1
        while math.gcd(step, self.count) != 1:
            step += 2
        start = (step * index + shift) % self.count * self._context
        return self._tokens[start : start + self._context + 1]


@dataclass(frozen=True)
class Stretch:
    """Steps trained on one mixture: `steps` batches."""

    mixture: Mixture
    steps: int


class Sampler:
    """Batches of one run: consecutive stretches, each with its mixture.

    Args:
        tokens: training tokens by domain.
        stretches: the run's mixtures in order; draws from a domain go on counting across them.
        seed: of the order of the windows.
        context: tokens in a sequence.
        batches: sequences in a batch, by step.
    """

    def __init__(self, tokens: Tokens, stretches: Sequence[Stretch], seed: int, context: int, batches: Batches) -> None:
        self.domains = tuple(tokens)
        self._context, self._batches = context, batches
        used = {name for stretch in stretches for name, weight in stretch.mixture.items() if weight > 0}
        self._windows = {
            index: Windows(name, tokens[name], context, seed) for index, name in enumerate(tokens) if name in used
        }
        ends = [batches.sequences(steps) for steps in accumulate((stretch.steps for stretch in stretches), initial=0)]
        self._owner = np.concatenate(
            [
                domain_order(stretch.mixture.array(self.domains), end - start)
                for stretch, (start, end) in zip(stretches, pairwise(ends), strict=True)
            ]
        )
        self._draw = np.zeros(len(self._owner), dtype=np.int64)
        for index in self._windows:
            mine = self._owner == index
            self._draw[mine] = np.arange(np.count_nonzero(mine))

    def batch(self, step: int) -> NDArray[np.int64]:
        """Sequences of step `step`, shape (batch, context + 1)."""
        at = slice(self._batches.sequences(step), self._batches.sequences(step + 1))
        out = np.empty((at.stop - at.start, self._context + 1), dtype=np.int64)
        for row, owner, draw in zip(out, self._owner[at], self._draw[at], strict=True):
            row[:] = self._windows[int(owner)][int(draw)]
        return out

    def realised(self, steps: int) -> dict[str, int]:
        """Training tokens by domain after `steps` steps, exact."""
        counts = np.bincount(self._owner[: self._batches.sequences(steps)], minlength=len(self.domains))
        return {name: int(count) * self._context for name, count in zip(self.domains, counts, strict=True)}


def validation_windows(tokens: Tokens, context: int, eval_tokens: int) -> dict[str, NDArray[np.int64]]:
    """The same evenly spread validation sequences for every run: by domain, shape (n, context + 1).

    Raises:
        CorpusError: when a domain has not even one full sequence.
    """
    windows = {}
    for name, values in tokens.items():
        available = (len(values) - 1) // context
        if available < 1:
            raise CorpusError(
                f"domain `{name}` must have more validation tokens than one sequence of {context}, "
                f"but has {len(values)}",
                "add text to it, raise corpus.validation_fraction, or shorten proxies.context",
            )
        wanted = min(available, max(1, round(eval_tokens / context)))
        starts = np.linspace(0, available - 1, wanted).round().astype(np.int64) * context
        windows[name] = np.stack([values[s : s + context + 1] for s in starts]).astype(np.int64)
    return windows
