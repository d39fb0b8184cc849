"""Which text comes at which step: a pure function of (mixture, seed, step).

Two independent choices. *Which domain* fills sequence j follows from the mixture alone, by error diffusion, so that
after any number of sequences each domain has its share to within one sequence. *Which window* of a domain is its n-th
follows from (seed, domain, n) alone, a fresh permutation of its windows per epoch. Two mixtures therefore see the same
windows of a domain in the same order, which takes sampling noise out of their difference (common random numbers).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import CorpusError
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches

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

    Args:
        name: of the domain.
        tokens: its training tokens.
        context: tokens in a sequence.
        seed: of the order.
        pool: read so many tokens alone, windows from all over the text, the same for every seed; a smaller pool is
            part of a larger one.
    """

    def __init__(
        self, name: str, tokens: NDArray[np.unsignedinteger], context: int, seed: int, pool: int | None = None
    ) -> None:
        self._tokens = np.asarray(tokens)  # a slice of a memmap costs more than reading it
        self._context = context
        self._key = (seed, zlib.crc32(name.encode()))
        self._whole = (len(tokens) - 1) // context
        self.count = self._whole if pool is None else max(1, min(self._whole, pool // context))
        if self._whole < 1:
            raise CorpusError(
                f"domain `{name}` must have more training tokens than one sequence of {context}, but has {len(tokens)}",
                "add text to it, drop it, or shorten proxies.context",
            )

    def starts(self, draws: int) -> NDArray[np.int64]:
        """Where each of the first `draws` windows since the start of training begins, shape (draws,)."""
        parts = [np.empty(0, dtype=np.int64)]
        for epoch in range(-(-draws // self.count)):
            count = min(self.count, draws - epoch * self.count)
            parts.append(_shuffled(np.arange(count), self.count, (*self._key, epoch)))
        drawn = np.concatenate(parts)
        if self.count < self._whole:
            drawn = _shuffled(drawn, self._whole, (self._key[1],))
        return drawn * self._context

    def read(self, starts: NDArray[np.int64]) -> NDArray[np.int32]:
        """The windows that begin at `starts`, shape (len(starts), context + 1)."""
        out = np.empty((len(starts), self._context + 1), dtype=np.int32)
        for row, start in zip(out, starts.tolist(), strict=True):
            row[:] = self._tokens[start : start + self._context + 1]
        return out


def _shuffled(places: NDArray[np.int64], count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """The numbers at `places` of a random order of 0 to `count` - 1."""
    rng = np.random.default_rng(key)
    shift = int(rng.integers(count))
    step = int(rng.integers(count)) | 1
    while math.gcd(step, count) != 1:
        step += 2
    # Below 2^63: a window is far longer than 8 bytes, so counts stay below 2^31 up to 500 GB of a domain.
    return (places * step + shift) % count


class Sampler:
    """Batches of one run.

    Args:
        tokens: training tokens by domain.
        mixture: target weights.
        seed: of the order of the windows.
        context: tokens in a sequence.
        batches: sequences in a batch, by step.
        steps: how many there are; fewer give a prefix.
        pools: by domain, the tokens that may be read where that is not all.
    """

    def __init__(
        self,
        tokens: Tokens,
        mixture: Mixture,
        seed: int,
        context: int,
        batches: Batches,
        steps: int,
        pools: Mapping[str, int] | None = None,
    ) -> None:
        self.domains = tuple(tokens)
        self._context, self._batches = context, batches
        self._windows = {
            index: Windows(name, tokens[name], context, seed, (pools or {}).get(name))
            for index, name in enumerate(tokens)
            if mixture.get(name, 0.0) > 0
        }
        self._owner = domain_order(mixture.array(self.domains), batches.sequences(steps))
        self._starts = np.zeros(len(self._owner), dtype=np.int64)
        for index, windows in self._windows.items():
            mine = self._owner == index
            self._starts[mine] = windows.starts(int(np.count_nonzero(mine)))

    def sequences(self, first: int, last: int) -> NDArray[np.int32]:
        """The sequences of steps `first` to `last` - 1, one batch after the other, shape (n, context + 1)."""
        at = slice(self._batches.sequences(first), self._batches.sequences(last))
        owner, starts = self._owner[at], self._starts[at]
        out = np.empty((len(owner), self._context + 1), dtype=np.int32)
        for index, windows in self._windows.items():
            mine = owner == index
            out[mine] = windows.read(starts[mine])
        return out

    def realised(self, steps: int) -> dict[str, int]:
        """Training tokens by domain after `steps` steps, exact."""
        counts = np.bincount(self._owner[: self._batches.sequences(steps)], minlength=len(self.domains))
        return {name: int(count) * self._context for name, count in zip(self.domains, counts, strict=True)}


def validation_windows(tokens: Tokens, context: int, eval_tokens: int) -> dict[str, NDArray[np.int32]]:
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
        windows[name] = np.stack([values[s : s + context + 1] for s in starts]).astype(np.int32)
    return windows
