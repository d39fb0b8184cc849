"""A record as it lies in the ledger: its JSON, the format's number and a digest of all that; and what is checked on
the way back.

A record is believed when its digest is that of its content, its name the hash of its spec, and its values such as a
run can have. Records that were written before there were digests (format 1) have no `format` and no `sha256`: they
are believed as far as the other checks go.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from mixlab.errors import MixlabError
from mixlab.runs.specs import Point, RunRecord

RECORD_FORMAT = 2
STATUSES = ("done", "diverged", "failed")


class DamagedError(Exception):
    """A record that cannot be believed; the message says why."""


class ForeignError(Exception):
    """A record that another version of mixlab wrote, and that says nothing about a run of this one."""


def seal(record: RunRecord) -> dict[str, Any]:
    """The record as JSON with its format and digest."""
    content = {"format": RECORD_FORMAT, **record.to_dict()}
    return {**content, "sha256": _digest(content)}


def unseal(text: bytes, name: str) -> tuple[RunRecord, bool]:
    """Read and check what `seal` made.

    Args:
        text: the file's content.
        name: the run id that the file is named by.

    Returns:
        The record, and whether it had a digest.

    Raises:
        DamagedError: when it is torn or was changed, or holds what no run can come to.
        ForeignError: when it is of another format, or of a run that this version of mixlab would not make.
    """
    try:
        data = json.loads(text)
        sealed = _check_seal(data)
        record = RunRecord.from_dict(data)
        if record.run_id != name:
            if data["run_id"] == name:
                raise ForeignError  # what is hashed, or how, was another thing there
            raise DamagedError("its name is not the hash of its spec")
        check_values(record)
    except MixlabError as error:
        raise DamagedError(error.message) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from None
    return record, sealed


def check_values(record: RunRecord) -> None:
    """Whether a run can have come to this.

    Raises:
        DamagedError: saying what it cannot.
    """
    spec, points = record.spec, record.points
    _require(record.status in STATUSES, f"its status is `{record.status}`, which is none of {', '.join(STATUSES)}")
    _require(_is_number(record.wall_seconds) and record.attempts >= 1, "its time or its attempts are no such numbers")
    _require((record.status == "failed") == bool(record.error), "a run has an error if, and only if, it failed")
    if record.status == "done":
        _require(len(points) == len(spec.tokens), f"it is done, with {len(points)} of {len(spec.tokens)} points")
    else:
        _require(len(points) < len(spec.tokens), f"it is {record.status}, but has all points")
    # Whole batches: the counts that were asked for, rounded by the spec itself, in their order.
    expected = [spec.tokens_after(spec.steps(tokens)) for tokens in spec.tokens]
    found = [point.tokens for point in points]
    _require(found == expected[: len(found)], f"its points are at {found} tokens, and not at {expected[: len(found)]}")
    for point in points:
        _check_point(point, set(points[0].losses))


def _check_point(point: Point, domains: set[str]) -> None:
    at = f"at {point.tokens} tokens"
    for what, values in (("loss", point.losses), ("bits per byte", point.bits_per_byte), ("error", point.errors)):
        _require(set(values) == domains, f"{at} the domains of its {what} differ from those of its first losses")
        for domain, value in values.items():
            _require(_is_number(value), f"{at} its {what} of `{domain}` is {value!r}")
    _require(_is_number(point.flops) and point.flops > 0, f"{at} its FLOPs are {point.flops!r}")
    read = list(point.realised.values())
    _require(all(isinstance(count, int) and count >= 0 for count in read), f"{at} its domains' tokens are no counts")
    _require(sum(read) == point.tokens, f"{at} its domains' tokens sum to {sum(read)}")


def _check_seal(data: Mapping[str, Any]) -> bool:
    """Whether `data` has a digest, which then is right."""
    if "format" not in data and "sha256" not in data:
        return False
    if data["format"] != RECORD_FORMAT:
        raise ForeignError
    content = {name: value for name, value in data.items() if name != "sha256"}
    _require(data["sha256"] == _digest(content), "its content is not what was written: the digest differs")
    return True


def _digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no white space, numbers as Python repeats them."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DamagedError(otherwise)
