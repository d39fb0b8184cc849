"""How fast a process of this machine trains: the ground of time estimates."""

from __future__ import annotations

import numpy as np

from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunSpec
from proxies.compute.clock import seconds_of
from proxies.compute.compute import Compute, make_engine, use_one_thread
from proxies.compute.stacking import mean_batch, stack_limit


def measure_rate(spec: RunSpec, compute: Compute, seconds: float = 0.5, members: int | None = None) -> float:
    """Training FLOP/s of one process with one thread, on random tokens, in stacks of `members` runs like `spec`.

    Without `members`, in stacks as a sweep makes them.
    """
    members, batch = members or stack_limit(spec, compute), mean_batch(spec)
    engine = make_engine(compute, [spec] * members)
    tokens = np.random.default_rng(0).integers(spec.shape.vocab_size, size=(members, batch, spec.shape.context + 1))
    sequences, steps = tokens.astype(np.int32), 1

    def chunk() -> None:
        engine.train(np.tile(sequences, (1, steps, 1)), [batch] * steps, [1.0] * steps, 0)

    use_one_thread(compute)
    chunk()
    # As many steps at a time as training takes: what a call costs besides them must not count.
    steps = max(1, round(0.1 * seconds / seconds_of(chunk, 0.0)))
    taken = seconds_of(chunk, seconds)
    return training_flops(spec.shape, steps * members * batch * spec.shape.context) / taken
