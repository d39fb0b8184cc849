"""Checkpoints as safetensors with a checksum: trunks, to resume or extend runs from, and finished models.

Never pickle. A damaged or foreign file is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mixlab.batches import Batches
from mixlab.errors import CorpusError
from mixlab.folder import write_atomic
from mixlab.shapes import ModelShape
from mixlab.specs import Point, RunSpec
from proxies.model import Stack, named, parameter_shapes


@dataclass(frozen=True)
class Trunk:
    """A run's trunk where a branch leaves it: enough to go on bitwise, to later branches too.

    Attributes:
        step: trunk steps done.
        points: branches finished, by the token count that was asked for.
        flat, first, second: parameters and AdamW's moments, each of shape (P,).
        seconds: time spent so far.
    """

    step: int
    points: dict[int, Point]
    flat: Tensor
    first: Tensor
    second: Tensor
    seconds: float


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
        "points": {str(tokens): asdict(point) for tokens, point in trunk.points.items()},
    }
    _save(trunk_path(folder, spec), {"flat": trunk.flat, "first": trunk.first, "second": trunk.second}, about)


def load_trunk(folder: Path, spec: RunSpec) -> Trunk | None:
    """A trunk that `spec` can go on from, with the points of its first branches; None where there is none.

    The trunk of a run with fewer token counts serves one with more, as far as their batches agree.

    Raises:
        CorpusError: when the file is damaged or not safetensors.
    """
    path = trunk_path(folder, spec)
    if not path.exists():
        return None
    tensors, about = _load(path)
    batches = Batches(tuple((first, size) for first, size in about["stages"]))
    points: dict[int, Point] = {}
    for tokens in spec.tokens:
        point = about["points"].get(str(tokens))
        if point is None or not spec.recipe.batches.agrees(batches, spec.steps(tokens)):
            break
        points[tokens] = Point(**point)
    if len(points) == len(spec.tokens):
        del points[spec.tokens[-1]]  # the last branch leaves the finished model behind
    following = spec.tokens[len(points)]
    step = about["step"]
    if step > spec.trunk_steps(following) or not spec.recipe.batches.agrees(batches, step):
        return None
    return Trunk(step, points, tensors["flat"], tensors["first"], tensors["second"], about["seconds"])


def save_model(folder: Path, spec: RunSpec, flat: Tensor) -> None:
    """Write a finished model's parameters, shape (P,), by name, with its spec."""
    tensors = {name: values[0] for name, values in named(flat.detach().unsqueeze(0), spec.shape).items()}
    _save(folder / f"{spec.run_id}.model.safetensors", tensors, {"spec": spec.to_json()})


def load_model(path: Path) -> tuple[Stack, RunSpec]:
    """A finished model as a stack of one, on the CPU, and the spec that made it."""
    tensors, about = _load(path)
    spec = RunSpec.from_json(about["spec"])
    stack = Stack(spec.shape, [spec.seed], torch.device("cpu"))
    _check_names(path, spec.shape, tensors)
    with torch.no_grad():
        for name, values in stack.parameters().items():
            values.copy_(tensors[name].unsqueeze(0))
    return stack, spec


def _check_names(path: Path, shape: ModelShape, tensors: dict[str, Tensor]) -> None:
    wanted = {name: tuple(size) for name, size in parameter_shapes(shape).items()}
    given = {name: tuple(values.shape) for name, values in tensors.items()}
    if wanted != given:
        raise CorpusError(f"{path} does not hold a model of shape {shape.label}", "train the run again")


def _save(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    tensors = {name: values.detach().cpu().contiguous() for name, values in tensors.items()}
    metadata = {"about": json.dumps(about), "sha256": _digest(tensors)}
    write_atomic(path, safetensors.torch.save(tensors, metadata))


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    hint = "delete it and run the same command: the run starts anew"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, struct.error) as error:
        raise CorpusError(f"{path} is not a whole safetensors file: {error}", hint) from None
    if metadata.get("sha256") != _digest(tensors):
        raise CorpusError(f"checksum mismatch in {path}: its content changed after it was written", hint)
    return tensors, json.loads(metadata["about"])


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
