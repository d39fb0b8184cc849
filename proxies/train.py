"""Training a stack of runs: one trunk, and at each token count a decay branch that is evaluated.

All members share shape, token counts, batch and schedule; each has its own mixture, seed and learning rate. What a
member does depends on its spec alone, never on its neighbours or on whether the run was interrupted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mixlab.errors import SweepError
from mixlab.flops import training_flops
from mixlab.specs import Point, RunRecord, RunSpec
from proxies.checkpoint import Trunk, load_trunk, save_model, save_trunk
from proxies.evaluate import Evaluation, Evaluator
from proxies.model import Stack
from proxies.optim import AdamW
from proxies.sampler import Sampler, Stretch, Tokens, validation_windows
from proxies.schedule import branch_factor, trunk_factor

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Texts:
    """The tokens a run reads: by domain, and the bytes each token stands for (shape (V,))."""

    train: Tokens
    validation: Tokens
    token_bytes: NDArray[np.integer]


def train_run(
    spec: RunSpec, texts: Texts, device: str = "cpu", checkpoints: Path | None = None, progress: Progress | None = None
) -> RunRecord:
    """Train one run; see `train_stack`."""
    return train_stack([spec], texts, device, checkpoints, progress)[0]


def train_stack(
    specs: Sequence[RunSpec],
    texts: Texts,
    device: str = "cpu",
    checkpoints: Path | None = None,
    progress: Progress | None = None,
) -> list[RunRecord]:
    """Train runs of one shape together.

    Args:
        specs: equal in shape, token counts, batch and schedule.
        texts: the prepared corpus.
        device: "cpu" or "cuda".
        checkpoints: folder for a trunk checkpoint per unfinished run and a model per finished one.
        progress: called with the number of tokens that each member has just processed.

    Returns:
        One record per spec, in order: `done`, or `diverged` with the points finished before.

    Raises:
        SweepError: when the specs cannot be stacked.
    """
    _check_stackable(specs)
    started = time.perf_counter()
    session = _Session(specs, texts, torch.device(device), checkpoints, progress)
    session.run()
    seconds = time.perf_counter() - started + session.earlier_seconds
    return [
        RunRecord(
            spec=spec,
            status="diverged" if session.diverged[member] else "done",
            points=tuple(session.points[member]),
            wall_seconds=seconds / len(specs),
            device=_device_name(session.device),
            environment={"torch": torch.__version__, "python": platform.python_version()},
        )
        for member, spec in enumerate(specs)
    ]


class _Session:
    """The state of one stack while it trains."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        texts: Texts,
        device: torch.device,
        checkpoints: Path | None,
        progress: Progress | None,
    ) -> None:
        self.specs, self.device = specs, device
        self.lead = specs[0]
        self.recipe = self.lead.recipe
        self.checkpoints, self.progress = checkpoints, progress
        self.stack = Stack(self.lead.shape, [spec.seed for spec in specs], device)
        self.optimizer = AdamW(self.stack.flat, self.lead.shape, [spec.recipe for spec in specs])
        self.texts = texts
        windows = validation_windows(texts.validation, self.lead.shape.context, self.lead.eval_tokens)
        self.evaluate = Evaluator(windows, texts.token_bytes, device)
        self.points: list[list[Point]] = [[] for _ in specs]
        self.diverged = [False] * len(specs)
        self.step = 0
        self.earlier_seconds = 0.0
        self.started = time.perf_counter()

    def run(self) -> None:
        """Trunk up to each branch, the branch, back to the trunk."""
        self._resume()
        lead = self.lead
        for index, tokens in enumerate(lead.tokens):
            if index < len(self.points[0]):
                continue
            start = lead.trunk_steps(tokens)
            if self.step < start:
                samplers = self._samplers(start, 0)
                for step in range(self.step, start):
                    self._train_step(samplers, step, trunk_factor(step, self.recipe.warmup_steps))
                self.step = start
            last = index == len(lead.tokens) - 1
            trunk = None if last else self._snapshot()
            self._branch(tokens, start)
            if trunk is not None:
                self._restore(trunk)
                self._save_trunk()
            if all(self.diverged):
                return
        if self.checkpoints is not None:
            for member, spec in enumerate(self.specs):
                save_model(self._path(spec, "model"), spec, self.stack, member)
                self._path(spec, "trunk").unlink(missing_ok=True)

    def _branch(self, tokens: int, start: int) -> None:
        """Decay to zero, evaluate, append a point to every member that is still finite."""
        steps = self.lead.steps(tokens)
        samplers = self._samplers(start, steps - start)
        for step in range(start, steps):
            factor = branch_factor(step, self.recipe.warmup_steps, steps, steps - start)
            self._train_step(samplers, step, factor)
        for member, evaluation in enumerate(self.evaluate(self.stack)):
            if not all(np.isfinite(loss) for loss in evaluation.losses.values()):
                self.diverged[member] = True
            if not self.diverged[member]:
                self.points[member].append(self._point(evaluation, samplers[member], steps))

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
            samplers.append(Sampler(self.texts.train, stretches, spec.seed, context, batches))
        return samplers

    def _train_step(self, samplers: Sequence[Sampler], step: int, factor: float) -> None:
        sequences = torch.from_numpy(np.stack([sampler.batch(step) for sampler in samplers])).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            losses = self.stack.losses(sequences)
        # Members share no parameter, so the sum of their mean losses has each member's own gradient.
        losses.mean(dim=(1, 2)).sum().backward()
        self.optimizer.step(step, factor)
        if self.progress is not None:
            self.progress(self.lead.batch_tokens(step))

    def _snapshot(self) -> tuple[torch.Tensor, ...]:
        return tuple(state.detach().clone() for state in self._state())

    def _restore(self, saved: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for state, values in zip(self._state(), saved, strict=True):
                state.copy_(values)

    def _state(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.stack.flat, self.optimizer.first, self.optimizer.second

    def _path(self, spec: RunSpec, kind: str) -> Path:
        assert self.checkpoints is not None
        return self.checkpoints / f"{spec.run_id}.{kind}.safetensors"

    def _save_trunk(self) -> None:
        if self.checkpoints is None:
            return
        seconds = self.earlier_seconds + time.perf_counter() - self.started
        for member, spec in enumerate(self.specs):
            flat, first, second = (state[member].detach() for state in self._state())
            trunk = Trunk(self.step, tuple(self.points[member]), flat, first, second, seconds)
            save_trunk(self._path(spec, "trunk"), spec.run_id, trunk)

    def _resume(self) -> None:
        """Go on from the trunk checkpoints when every member has one at the same step."""
        if self.checkpoints is None:
            return
        trunks = [load_trunk(self._path(spec, "trunk"), spec.run_id) for spec in self.specs]
        found = [trunk for trunk in trunks if trunk is not None]
        if len(found) < len(self.specs) or len({trunk.step for trunk in found}) != 1:
            return
        for member, trunk in enumerate(found):
            with torch.no_grad():
                for state, values in zip(self._state(), (trunk.flat, trunk.first, trunk.second), strict=True):
                    state[member] = values.to(self.device)
            self.points[member] = list(trunk.points)
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


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
