"""Training a stack of runs: one trunk, and at each token count a decay branch that is evaluated.

All members share shape, token counts, batch and schedule; each has its own mixture, seed and learning rate. What a
member does depends on its spec alone, never on its neighbours or on whether the run was stopped or killed.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import ConfigError
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import Point, RunRecord, RunSpec
from proxies.backend.choice import Backend, make_engine
from proxies.backend.speed import peak_flops
from proxies.model.engine import State
from proxies.model.schedule import branch_factor, trunk_factor
from proxies.training.checkpoint import Trunk, load_trunk, save_model, save_trunk
from proxies.training.evaluate import Evaluation, Evaluator
from proxies.training.sampler import Sampler, Tokens, validation_windows

Progress = Callable[[int], None]
ShouldStop = Callable[[], bool]

CHUNK_FLOPS = 2e10  # handed to the engine at a time: a fraction of a second, so that progress is seen
CHUNK_STEPS = 256  # at most, so that divergence is seen
DIVERGED = 2.0  # nats above the trunk's own lowest loss: far more than batches differ by, and there is no way back


class StoppedError(Exception):
    """`should_stop` said so; where there is a folder for checkpoints, the runs go on from there when trained again."""


@dataclass(frozen=True)
class CorpusTokens:
    """The tokens a run reads: by domain, and the bytes each token stands for (shape (V,))."""

    train: Tokens
    validation: Tokens
    token_bytes: NDArray[np.integer]


def train_run(
    spec: RunSpec,
    texts: CorpusTokens,
    backend: Backend | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> RunRecord:
    """Train one run; see `train_stack`."""
    return train_stack([spec], texts, backend, checkpoints, progress, should_stop)[0]


def train_stack(
    specs: Sequence[RunSpec],
    texts: CorpusTokens,
    backend: Backend | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> list[RunRecord]:
    """Train runs of one shape together.

    Args:
        specs: equal in shape, token counts, batch and schedule.
        texts: the prepared corpus.
        backend: device, engine and precision (default: PyTorch on the CPU).
        checkpoints: folder for the trunk of every run, to resume and to extend it, and for the finished models.
        progress: called with the number of tokens that each member has just processed.
        should_stop: asked before every chunk of steps, which takes a fraction of a second; an evaluation is finished
            first.

    Returns:
        One record per spec, in order: `done`, or `diverged` with the points finished before.

    Raises:
        StoppedError: when `should_stop` says so. The trunks are kept where they are, in the middle of a decay where it
            began: trained again, the runs come to the same records as if they had not been stopped.
        ConfigError: when the specs cannot be stacked.
        SweepError: when one of them does not fit into memory.
    """
    _check_stackable(specs)
    backend = backend or Backend()
    started = time.perf_counter()
    session = _Session(specs, texts, backend, checkpoints, progress, should_stop)
    session.run()
    seconds = time.perf_counter() - started + session.earlier_seconds
    environment = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "engine": backend.engine,
        "precision": backend.precision,
        **session.engine.describe(),
    }
    return [
        RunRecord(
            spec=spec,
            status="diverged" if session.diverged[member] else "done",
            points=tuple(session.points[member].values()),
            wall_seconds=seconds / len(specs),
            device=session.engine.device,
            peak_flops=peak_flops(backend),
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
        backend: Backend,
        checkpoints: Path | None,
        progress: Progress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self.specs, self.texts = specs, texts
        self.lead = specs[0]
        self.recipe = self.lead.recipe
        self.checkpoints, self.progress, self.should_stop = checkpoints, progress, should_stop
        self.engine = make_engine(backend, specs)
        windows = validation_windows(texts.validation, self.lead.shape.context, self.lead.eval_tokens)
        self.evaluate = Evaluator(windows, texts.token_bytes)
        self.points: list[dict[int, Point]] = [{} for _ in specs]
        self.diverged = np.zeros(len(specs), dtype=bool)
        self.lowest = np.full(len(specs), np.inf)  # loss of the trunk so far, nats
        self.step, self.kept_step = 0, 0  # of the trunk; as it is in the checkpoints
        self.trunk: State | None = None  # while a branch that has left it is trained
        self.earlier_seconds = 0.0
        self.started = time.perf_counter()

    def run(self) -> None:
        """Trunk up to each branch, the branch, back to the trunk."""
        self._resume()
        finished = len(self.points[0])
        for tokens in self.lead.tokens[finished:]:
            self._train_trunk(self.lead.trunk_steps(tokens))
            self.trunk = self.engine.state()
            if not self.diverged.all():
                self._train_branch(tokens)
            if self.diverged.all():
                return
            if tokens == self.lead.tokens[-1]:
                self._save_models()
            self._save_trunks(self.trunk)
            self.engine.restore(self.trunk)
            self.trunk = None

    def _train_trunk(self, end: int) -> None:
        """Go on from where the trunk is to step `end`."""
        samplers = self._samplers(end)
        factors = [trunk_factor(step, self.recipe.warmup_steps) for step in range(self.step, end)]
        for step, means in self._train(samplers, self.step, factors):
            self.step = step
            self.diverged |= means > self.lowest + DIVERGED
            self.lowest = np.fmin(self.lowest, means)

    def _train_branch(self, tokens: int) -> None:
        """Decay to zero, evaluate, append a point to every member that is still finite."""
        start, steps = self.step, self.lead.steps(tokens)
        samplers = self._samplers(steps)
        factors = [branch_factor(step, self.recipe.warmup_steps, steps, steps - start) for step in range(start, steps)]
        for _ in self._train(samplers, start, factors):
            pass
        for member, evaluation in enumerate(self.evaluate(self.engine)):
            self.diverged[member] |= not np.isfinite(list(evaluation.losses.values())).all()
            if not self.diverged[member]:
                self.points[member][tokens] = self._point(evaluation, samplers[member], steps)

    def _train(
        self, samplers: Sequence[Sampler], start: int, factors: Sequence[float]
    ) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Train in chunks from step `start` at these shares of the peak rate.

        Yields:
            After each chunk the steps done, counted from the beginning of the run, and its mean loss, shape (K,).
        """
        end = start + len(factors)
        per_step = training_flops(self.lead.shape, self.lead.batch_tokens(end - 1))
        chunk = int(np.clip(CHUNK_FLOPS / per_step, 1, CHUNK_STEPS))
        for first in range(start, end, chunk):
            if self.diverged.all():
                return
            self._stop_if_told()
            last = min(first + chunk, end)
            sequences = np.stack([sampler.sequences(first, last) for sampler in samplers])
            sizes = [self.recipe.batches.size(step) for step in range(first, last)]
            losses = self.engine.train(sequences, sizes, factors[first - start : last - start], first)
            self.diverged |= ~np.isfinite(losses).all(axis=1)
            if self.progress is not None:
                self.progress(self.lead.tokens_after(last) - self.lead.tokens_after(first))
            yield last, losses.mean(axis=1)

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

    def _stop_if_told(self) -> None:
        """Raise `StoppedError` if `should_stop` says so, with the trunk kept where it is."""
        if self.should_stop is None or not self.should_stop():
            return
        if self.step > self.kept_step:
            self._save_trunks(self.engine.state() if self.trunk is None else self.trunk)
        raise StoppedError(f"stopped by its caller after {self.step} steps of the trunk")

    def _samplers(self, steps: int) -> list[Sampler]:
        """One sampler per member for the first `steps` steps."""
        context, batches = self.lead.shape.context, self.recipe.batches
        return [
            Sampler(self.texts.train, spec.mixture, spec.seed, context, batches, steps, dict(spec.pools))
            for spec in self.specs
        ]

    def _remaining(self) -> list[int]:
        """The members that did not diverge."""
        return [member for member, diverged in enumerate(self.diverged) if not diverged]

    def _save_models(self) -> None:
        """Keep the model of every member that did not diverge."""
        if self.checkpoints is None:
            return
        parameters = self.engine.state().parameters
        for member in self._remaining():
            save_model(self.checkpoints, self.specs[member], parameters[member])

    def _save_trunks(self, trunk: State) -> None:
        """Keep the trunk of every member that did not diverge."""
        if self.checkpoints is None:
            return
        seconds = self.earlier_seconds + time.perf_counter() - self.started
        for member in self._remaining():
            state = State(*(values[member] for values in trunk))
            kept = Trunk(self.step, self.points[member], state, seconds, float(self.lowest[member]))
            save_trunk(self.checkpoints, self.specs[member], kept)
        self.kept_step = self.step

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
        self.lowest = np.array([trunk.lowest for trunk in found])
        self.step = self.kept_step = found[0].step
        self.earlier_seconds = found[0].seconds


def _check_stackable(specs: Sequence[RunSpec]) -> None:
    kinds = len({spec.stack_key for spec in specs})
    if kinds != 1:
        raise ConfigError(
            f"a stack needs one or more runs equal in shape, tokens and recipe (but for the learning rate), "
            f"but got {len(specs)} runs of {kinds} kinds",
            "train them in groups of one `stack_key`",
        )
