"""Checkpoints as safetensors with a checksum: a trunk in progress, to resume from, and finished models.

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

from mixlab.errors import CorpusError
from mixlab.folder import write_atomic
from mixlab.shapes import ModelShape
from mixlab.specs import Point, RunSpec
from proxies.model import Stack, parameter_shapes


@dataclass(frozen=True)
class Trunk:
    """A run between two branches: enough to go on bitwise.

    Attributes:
        step: trunk steps done.
        points: branches finished.
        flat, first, second: parameters and AdamW's moments, each of shape (P,).
        seconds: time spent so far.
    """

    step: int
    points: tuple[Point, ...]
    flat: Tensor
    first: Tensor
    second: Tensor
    seconds: float


def save_trunk(path: Path, run_id: str, trunk: Trunk) -> None:
    """Replace the run's trunk checkpoint, atomically."""
    about = {"run_id": run_id, "step": trunk.step, "seconds": trunk.seconds}
    about["points"] = [asdict(point) for point in trunk.points]
    _save(path, {"flat": trunk.flat, "first": trunk.first, "second": trunk.second}, about)


def load_trunk(path: Path, run_id: str) -> Trunk | None:
    """The run's trunk checkpoint, or None where there is none or it belongs to another spec.

    Raises:
        CorpusError: when the file is damaged or not safetensors.
    """
    if not path.exists():
        return None
    tensors, about = _load(path)
    if about["run_id"] != run_id:
        return None
    points = tuple(Point(**point) for point in about["points"])
    return Trunk(about["step"], points, tensors["flat"], tensors["first"], tensors["second"], about["seconds"])


def save_model(path: Path, spec: RunSpec, stack: Stack, member: int) -> None:
    """Write one member's parameters by name, with its spec."""
    tensors = {name: values[member].detach() for name, values in stack.parameters().items()}
    _save(path, tensors, {"spec": spec.to_json()})


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
