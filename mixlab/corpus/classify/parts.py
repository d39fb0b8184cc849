"""A domain cut into sub-domains: which document goes where, and one file of each."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mixlab.corpus.classify.tag import Tags
from mixlab.corpus.learn.base import OTHER
from mixlab.corpus.read.readers import ID_STEM
from mixlab.corpus.read.texts import DomainTexts, read_records, record_id
from mixlab.corpus.shards import slug
from mixlab.errors import ConfigError, CorpusError, SweepError

DROPPED = -1
SPLIT_FOLDER = "split"


@dataclass(frozen=True, eq=False)
class Cut:
    """One domain's documents by sub-domain.

    Attributes:
        domain: its name.
        names: of the M sub-domains.
        part: index of each of the domain's documents, or `DROPPED`; shape (n,).
        documents, bytes, tokens: by sub-domain.
        merged: topics that went to `other` as they were too small.
        dropped: documents that a filter dropped, by filter.
    """

    domain: str
    names: tuple[str, ...]
    part: NDArray[np.int32]
    documents: dict[str, int]
    bytes: dict[str, int]
    tokens: dict[str, int]
    merged: tuple[str, ...] = ()
    dropped: Mapping[str, int] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Of the domain's tokens that are left, by sub-domain."""
        total = sum(self.tokens.values())
        return {name: count / total for name, count in self.tokens.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "parts": {
                name: {"documents": self.documents[name], "bytes": self.bytes[name], "tokens": self.tokens[name]}
                for name in self.names
            },
            "merged": list(self.merged),
            "dropped": dict(self.dropped or {}),
        }


def plain_name(topic: str) -> str:
    """A topic as a part of a domain's name: letters, digits and single hyphens, at most 40 characters."""
    return re.sub(r"[\W_]+", "-", topic.lower()).strip("-")[:40].strip("-") or "topic"


def cut_domain(
    tags: Tags,
    domain: str,
    labels: Sequence[str],
    part: NDArray[np.integer],
    stays: NDArray[np.bool_],
    smallest: float,
    dropped: Mapping[str, int],
) -> Cut:
    """Cut a domain by a label per document.

    Args:
        labels: names of the parts.
        part: index of the label of each of the domain's n documents, shape (n,).
        stays: documents that the filters left, shape (n,).
        smallest: parts with less than this share of the tokens that stay are merged into `other`.
        dropped: documents that the filters dropped, for the record.

    Raises:
        CorpusError: when nothing stays.
    """
    mine = tags.domain == tags.domains.index(domain)
    sizes, tokens = tags.bytes[mine], tags.tokens[mine]
    if not stays.any():
        raise CorpusError(f"the filters leave nothing of domain `{domain}`", "loosen --keep, --drop-lowest or both")
    left = np.bincount(part[stays], weights=tokens[stays], minlength=len(labels))
    shares = left / left.sum()
    small = _small_parts(labels, shares, smallest)
    targets = [OTHER if k in small else label for k, label in enumerate(labels)]
    present = [targets[k] for k in np.flatnonzero(left > 0)]
    kept = sorted(dict.fromkeys(present), key=lambda label: label == OTHER)
    names = _part_names(domain, kept)
    index = np.array([kept.index(label) if label in kept else DROPPED for label in targets], dtype=np.int32)
    where = np.where(stays, index[part], DROPPED).astype(np.int32)

    def by_part(values: NDArray[np.integer]) -> dict[str, int]:
        return {name: int(values[where == k].sum()) for k, name in enumerate(names)}

    return Cut(
        domain=domain,
        names=names,
        part=where,
        documents=by_part(np.ones(len(where), dtype=np.int64)),
        bytes=by_part(sizes),
        tokens=by_part(tokens),
        merged=tuple(labels[k] for k in sorted(small) if left[k] > 0),
        dropped=dropped,
    )


def _small_parts(labels: Sequence[str], shares: NDArray[np.floating], smallest: float) -> set[int]:
    """Labels to merge into `other`: those below `smallest`, and then the next ones until `other` itself is not below.

    One part beside `other` always stays.
    """
    pot = sum(float(shares[k]) for k, label in enumerate(labels) if label == OTHER)
    rest = [int(k) for k in np.argsort(shares, kind="stable") if labels[k] != OTHER and shares[k] > 0]
    merged: set[int] = set()
    for k in rest[:-1]:
        if shares[k] >= smallest and (pot == 0 or pot >= smallest):
            break
        merged.add(k)
        pot += float(shares[k])
    return merged


def _part_names(domain: str, kept: Sequence[str]) -> tuple[str, ...]:
    if len(kept) == 1:
        return (domain,)
    names: list[str] = []
    for label in kept:
        base = f"{domain}-{plain_name(label)}"
        name, number = base, 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return tuple(names)


def part_paths(cut: Cut) -> dict[str, str]:
    """Where the sub-domains' files lie, relative to the folder that holds `split`."""
    folder = f"{SPLIT_FOLDER}/{slug(cut.domain)}"
    return {name: f"{folder}/{slug(name.removeprefix(f'{cut.domain}-'))}.jsonl.zst" for name in cut.names}


def write_parts(cut: Cut, source: DomainTexts, tags: Tags, root: Path) -> list[Path]:
    """Write every sub-domain as `root/split/<domain>/<name>.jsonl.zst`; the folder appears whole or not at all.

    A row has `text`, `id`, `topic`, `probability`, and the group field where the domain has one. Existing files of an
    earlier split of the domain are replaced.

    Raises:
        CorpusError: when the text changed since it was tagged.
        SweepError: when the disk is full or the folder cannot be written.
    """
    target = root / SPLIT_FOLDER / slug(cut.domain)
    building, old = target.with_name(f".{target.name}.building"), target.with_name(f".{target.name}.old")
    try:
        for leftover in (building, old):
            shutil.rmtree(leftover, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            _write(cut, source, tags, building)
            if target.exists():
                os.replace(target, old)
            os.replace(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        hint = "free space or permit writing there, then run the same command"
        raise SweepError(f"cannot write {target}: {error.strerror}", hint) from error
    return [root / path for path in part_paths(cut).values()]


def _write(cut: Cut, source: DomainTexts, tags: Tags, folder: Path) -> None:
    mine = np.flatnonzero(tags.domain == tags.domains.index(cut.domain))
    changed = CorpusError(f"the text of domain `{cut.domain}` changed while it was classified", "run it again")
    count = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context(pa.CompressedOutputStream(str(folder / Path(path).name), "zstd"))
            for path in part_paths(cut).values()
        ]
        for line, size in _rows(cut, source, tags, mine):
            if count >= len(mine) or size != tags.bytes[mine[count]]:
                raise changed
            if cut.part[count] != DROPPED:
                files[cut.part[count]].write(line)
            count += 1
    if count != len(mine):
        raise changed


def _rows(cut: Cut, source: DomainTexts, tags: Tags, mine: NDArray[np.integer]) -> Iterator[tuple[bytes, int]]:
    """(JSON line, bytes of the text) of every document of the domain."""
    extra = source.group_field if source.group_field not in (None, ID_STEM, "id") else None
    for count, (record, text) in enumerate(read_records(source)):
        row: dict[str, Any] = {"text": text, "id": record_id(record, text)}
        if count < len(mine):
            row["topic"] = tags.labels[tags.topic[mine[count]]]
            row["probability"] = round(float(tags.probability[mine[count]]), 4)
        if extra is not None:
            row[extra] = record[extra]
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode(), len(text.encode())


def check_new_names(cut: Cut, domains: Sequence[str]) -> None:
    """Refuse a split whose sub-domains have names that the study has.

    Raises:
        ConfigError: naming the first.
    """
    taken = [name for name in cut.names if name in domains and name != cut.domain]
    if taken:
        raise ConfigError(f"the study has a domain `{taken[0]}` already", "rename it in study.yaml, or the topic")
