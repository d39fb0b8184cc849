"""Training a stack of runs: one trunk, and at each token count a decay branch that is evaluated.

All members share shape, token counts, batch and schedule; each has its own mixture, seed and learning rate. What a
member does depends on its spec alone, never on its neighbours or on whether the run was interrupted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import SweepError
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import Point, RunRecord, RunSpec
from proxies.compute.compute import Compute, make_engine
from proxies.compute.peak import peak_flops
from proxies.model.engine import State
from proxies.model.schedule import branch_factor, trunk_factor
from proxies.training.checkpoint import Trunk, load_trunk, save_model, save_trunk
from proxies.training.evaluate import Evaluation, Evaluator
from proxies.training.sampler import Sampler, Stretch, Tokens, validation_windows

Progress = Callable[[int], None]

CHUNK_FLOPS = 2e10  # handed to the engine at a time: a fraction of a second, so that progress is seen
CHUNK_STEPS = 256  # at most, so that divergence is seen
DIVERGED = 2.0  # nats above the trunk's own lowest loss


@dataclass(frozen=True)
class CorpusTokens:
    """The tokens a run reads: by domain, and the bytes each token stands for (shape (V,))."""

    train: Tokens
    validation: Tokens
    token_bytes: NDArray[np.integer]


def train_run(
    spec: RunSpec,
    texts: CorpusTokens,
    compute: Compute | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
) -> RunRecord:
    """Train one run; see `train_stack`."""
    return train_stack([spec], texts, compute, checkpoints, progress)[0]


def train_stack(
    specs: Sequence[RunSpec],
    texts: CorpusTokens,
    compute: Compute | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
) -> list[RunRecord]:
    """Train runs of one shape together.

    Args:
        specs: equal in shape, token counts, batch and schedule.
        texts: the prepared corpus.
        compute: device, engine and precision (default: PyTorch on the CPU).
        checkpoints: folder for the trunk of every run, to resume and to extend it, and for the finished models.
        progress: called with the number of tokens that each member has just processed.

    Returns:
        One record per spec, in order: `done`, or `diverged` with the points finished before.

    Raises:
        SweepError: when the specs cannot be stacked, or do not fit into memory.
    """
    _check_stackable(specs)
    compute = compute or Compute()
    started = time.perf_counter()
    session = _Session(specs, texts, compute, checkpoints, progress)
    session.run()
    seconds = time.perf_counter() - started + session.earlier_seconds
    environment = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "engine": compute.engine,
        "precision": compute.precision,
        **session.engine.describe(),
    }
    return [
        RunRecord(
            spec=spec,
            status="diverged" if session.diverged[member] else "done",
            points=tuple(session.points[member].values()),
            wall_seconds=seconds / len(specs),
            device=session.engine.device,
            peak_flops=peak_flops(compute),
            environment=environment,
        )
        for member, spec in enumerate(specs)
    ]


class _Session:
    """The state of one stack while it trains."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        texts: CorpusTokens,
        compute: Compute,
        checkpoints: Path | None,
        progress: Progress | None,
    ) -> None:
        self.specs, self.texts = specs, texts
        self.lead = specs[0]
        self.recipe = self.lead.recipe
        self.checkpoints, self.progress = checkpoints, progress
        self.engine = make_engine(compute, specs)
        windows = validation_windows(texts.validation, self.lead.shape.context, self.lead.eval_tokens)
        self.evaluate = Evaluator(windows, texts.token_bytes)
        self.points: list[dict[int, Point]] = [{} for _ in specs]
        self.diverged = np.zeros(len(specs), dtype=bool)
        self.lowest = np.full(len(specs), np.inf)  # loss of the trunk so far, nats
        self.step = 0
        self.earlier_seconds = 0.0
        self.started = time.perf_counter()

    def run(self) -> None:
        """Trunk up to each branch, the branch, back to the trunk."""
        self._resume()
        finished = len(self.points[0])
        for tokens in self.lead.tokens[finished:]:
            start = self.lead.trunk_steps(tokens)
            self._trunk(start)
            trunk = self.engine.state()
            if not self.diverged.all():
                self._branch(tokens, start)
            if self.diverged.all():
                return
            self._save(trunk, model=tokens == self.lead.tokens[-1])
            self.engine.restore(trunk)

    def _trunk(self, end: int) -> None:
        """Go on from where the trunk is to step `end`."""
        samplers = self._samplers(end, 0)
        factors = [trunk_factor(step, self.recipe.warmup_steps) for step in range(self.step, end)]
        for means in self._train(samplers, self.step, factors):
            self.diverged |= means > self.lowest + DIVERGED
            self.lowest = np.fmin(self.lowest, means)
        self.step = end

    def _branch(self, tokens: int, start: int) -> None:
        """Decay to zero, evaluate, append a point to every member that is still finite."""
        steps = self.lead.steps(tokens)
        samplers = self._samplers(start, steps - start)
        factors = [branch_factor(step, self.recipe.warmup_steps, steps, steps - start) for step in range(start, steps)]
        for _ in self._train(samplers, start, factors):
            pass
        for member, evaluation in enumerate(self.evaluate(self.engine)):
            self.diverged[member] |= not np.isfinite(list(evaluation.losses.values())).all()
            if not self.diverged[member]:
                self.points[member][tokens] = self._point(evaluation, samplers[member], steps)

    def _train(
        self, samplers: Sequence[Sampler], start: int, factors: Sequence[float]
    ) -> Iterator[NDArray[np.floating]]:
        """Train in chunks from step `start` at these shares of the peak rate; yields each chunk's mean loss, (K,)."""
        end = start + len(factors)
        per_step = training_flops(self.lead.shape, self.lead.batch_tokens(end - 1))
        chunk = int(np.clip(CHUNK_FLOPS / per_step, 1, CHUNK_STEPS))
        for first in range(start, end, chunk):
            if self.diverged.all():
                return
            last = min(first + chunk, end)
            sequences = np.stack([sampler.sequences(first, last) for sampler in samplers])
            sizes = [self.recipe.batches.size(step) for step in range(first, last)]
            losses = self.engine.train(sequences, sizes, factors[first - start : last - start], first)
            self.diverged |= ~np.isfinite(losses).all(axis=1)
            if self.progress is not None:
                self.progress(self.lead.tokens_after(last) - self.lead.tokens_after(first))
            yield losses.mean(axis=1)

    def _point(self, evaluation: Evaluation, sampler: Sampler, steps: int) -> Point:
        trained = self.lead.tokens_after(steps)
        return Point(
            tokens=trained,
            flops=training_flops(self.lead.shape, trained),
            losses=evaluation.losses,
            bits_per_byte=evaluation.bits_per_byte,
            errors=evaluation.errors,
            realised=sampler.realised(steps),
        )

    def _samplers(self, trunk_steps: int, decay_steps: int) -> list[Sampler]:
        """One sampler per member for `trunk_steps` of trunk and `decay_steps` of decay."""
        context, batches = self.lead.shape.context, self.recipe.batches
        samplers = []
        for spec in self.specs:
            if spec.anneal is None:
                stretches = [Stretch(spec.mixture, trunk_steps + decay_steps)]
            else:
                stretches = [Stretch(spec.mixture, trunk_steps), Stretch(spec.anneal, decay_steps)]
            samplers.append(Sampler(self.texts.train, stretches, spec.seed, context, batches, dict(spec.pools)))
        return samplers

    def _save(self, trunk: State, model: bool) -> None:
        """Keep the trunk of every sound member, and its finished model if `model`."""
        if self.checkpoints is None:
            return
        seconds = self.earlier_seconds + time.perf_counter() - self.started
        finished = self.engine.state().parameters if model else None
        for member, spec in enumerate(self.specs):
            if self.diverged[member]:
                continue
            if finished is not None:
                save_model(self.checkpoints, spec, finished[member])
            state = State(*(values[member] for values in trunk))
            save_trunk(self.checkpoints, spec, Trunk(self.step, self.points[member], state, seconds))

    def _resume(self) -> None:
        """Go on from the trunk checkpoints when every member has one at the same step."""
        if self.checkpoints is None:
            return
        trunks = [load_trunk(self.checkpoints, spec) for spec in self.specs]
        found = [trunk for trunk in trunks if trunk is not None]
        if len(found) < len(self.specs) or len({(trunk.step, len(trunk.points)) for trunk in found}) != 1:
            return
        self.engine.restore(State(*(np.stack(values) for values in zip(*(t.state for t in found), strict=True))))
        self.points = [trunk.points for trunk in found]
        self.step, self.earlier_seconds = found[0].step, found[0].seconds


def _check_stackable(specs: Sequence[RunSpec]) -> None:
    def common(spec: RunSpec) -> tuple[object, ...]:
        return spec.shape, spec.tokens, spec.eval_tokens, replace(spec.recipe, learning_rate=1.0)

    if not specs or any(common(spec) != common(specs[0]) for spec in specs):
        raise SweepError(
            f"a stack needs one or more runs equal in shape, tokens and recipe (but for the learning rate), "
            f"but got {len(specs)} that differ",
            "group the runs with sweeps.plan before training them together",
        )
