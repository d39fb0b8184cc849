"""Checkpoints as safetensors with a checksum: trunks, to resume or extend runs from, and finished models.

Never pickle. A damaged or foreign file is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from mixlab.errors import CorpusError
from mixlab.files import write_atomic
from mixlab.runs.batches import Batches
from mixlab.runs.specs import Point, RunSpec
from proxies.model.engine import State
from proxies.model.parameters import Floats, packed, parameter_shapes, unpacked

AGAIN = "delete it and run the same command: the run starts over"


@dataclass(frozen=True)
class Trunk:
    """A run's trunk between two steps: enough to go on bitwise, to later branches too.

    Attributes:
        step: trunk steps done.
        points: branches finished, by the token count that was asked for.
        state: of one member, each array of shape (P,).
        seconds: time spent so far.
        lowest: the lowest mean loss of a chunk of steps so far, nats per token, which divergence is judged by; infinite
            before the first.
    """

    step: int
    points: dict[int, Point]
    state: State
    seconds: float
    lowest: float = math.inf


def trunk_path(folder: Path, spec: RunSpec) -> Path:
    """Where the trunk of `spec` is kept, which runs that differ in their token counts alone share."""
    return folder / f"{spec.trunk_id}.trunk.safetensors"


def save_trunk(folder: Path, spec: RunSpec, trunk: Trunk) -> None:
    """Replace the trunk checkpoint of `spec`, atomically."""
    about = {
        "trunk_id": spec.trunk_id,
        "stages": spec.recipe.batches.stages,
        "step": trunk.step,
        "seconds": trunk.seconds,
        "lowest": trunk.lowest if math.isfinite(trunk.lowest) else None,
        "points": {str(tokens): asdict(point) for tokens, point in trunk.points.items()},
    }
    _save(trunk_path(folder, spec), trunk.state._asdict(), about)


def load_trunk(folder: Path, spec: RunSpec) -> Trunk | None:
    """A trunk that `spec` can go on from, with the points of its first branches; None where there is none.

    The trunk of a run with fewer token counts serves one with more, as far as their batches agree.

    Raises:
        CorpusError: when the file is damaged or not safetensors.
    """
    path = trunk_path(folder, spec)
    if not path.exists():
        return None
    arrays, about = _load(path)
    points = _usable(spec, about)
    if points is None:
        return None
    lowest = about.get("lowest")  # earlier releases did not keep it
    return Trunk(about["step"], points, State(**arrays), about["seconds"], math.inf if lowest is None else lowest)


def tokens_left(folder: Path, spec: RunSpec) -> int:
    """Tokens that `spec` still has to process, given the trunk that is kept in `folder`.

    A damaged one counts as none: it is an estimate, and `load_trunk` names the file when the run comes to it.
    """
    path = trunk_path(folder, spec)
    if not path.exists():
        return spec.trained_tokens
    try:
        about = _about(path)
    except CorpusError:
        return spec.trained_tokens
    points = _usable(spec, about)
    return spec.trained_tokens if points is None else spec.tokens_left(about["step"], len(points))


def kept_bytes(spec: RunSpec) -> int:
    """Size on disk of what `spec` leaves behind: its trunk, with AdamW's two moments, and its finished model."""
    return (3 + 1) * 4 * spec.shape.params


def _usable(spec: RunSpec, about: dict[str, Any]) -> dict[int, Point] | None:
    """The points of the first branches of `spec` that a trunk has; None where `spec` cannot go on from it."""
    batches = Batches.of_stages(about["stages"])
    points: dict[int, Point] = {}
    for tokens in spec.tokens:
        point = about["points"].get(str(tokens))
        if point is None or not spec.recipe.batches.agrees(batches, spec.steps(tokens)):
            break
        points[tokens] = Point(**point)
    if len(points) == len(spec.tokens):
        del points[spec.tokens[-1]]  # the last branch leaves the finished model behind
    step, following = about["step"], spec.tokens[len(points)]
    reached = step <= spec.trunk_steps(following) and spec.recipe.batches.agrees(batches, step)
    return points if reached else None


def save_model(folder: Path, spec: RunSpec, parameters: Floats) -> None:
    """Write a finished model's parameters, shape (P,), by name, with its spec."""
    _save(folder / f"{spec.run_id}.model.safetensors", unpacked(parameters, spec.shape), {"spec": spec.to_dict()})


def load_model(path: Path) -> tuple[Floats, RunSpec]:
    """A finished model's parameters, shape (P,), and the spec that made it.

    Raises:
        CorpusError: when the file is damaged, or holds something else.
    """
    arrays, about = _load(path)
    spec = RunSpec.from_dict(about["spec"])
    wanted = {name: tuple(size) for name, size in parameter_shapes(spec.shape).items()}
    if wanted != {name: values.shape for name, values in arrays.items()}:
        raise CorpusError(f"{path} does not hold a model of shape {spec.shape.label}", "train the run again")
    return packed(arrays, spec.shape), spec


def _save(path: Path, arrays: dict[str, Floats], about: dict[str, Any]) -> None:
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    metadata = {"about": json.dumps(about), "sha256": _digest(arrays)}
    write_atomic(path, safetensors.numpy.save(arrays, metadata))


def _load(path: Path) -> tuple[dict[str, Floats], dict[str, Any]]:
    with _opened(path) as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if metadata.get("sha256") != _digest(arrays):
        raise CorpusError(f"checksum mismatch in {path}: its content changed after it was written", AGAIN)
    return arrays, json.loads(metadata["about"])


def _about(path: Path) -> dict[str, Any]:
    """What a file says of itself; its arrays are not read."""
    with _opened(path) as file:
        return dict(json.loads((file.metadata() or {})["about"]))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, struct.error, KeyError) as error:
        raise CorpusError(f"{path} is not a whole safetensors file: {error}", AGAIN) from None


def _digest(arrays: dict[str, Floats]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
