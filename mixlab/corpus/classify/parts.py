"""The files of the parts that a domain is cut into."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mixlab.corpus.classify.cut import DROPPED, Cut
from mixlab.corpus.classify.tag import Tags
from mixlab.corpus.read.documents import ID_STEM
from mixlab.corpus.read.texts import DomainTexts, read_records, record_id
from mixlab.corpus.shards import slug
from mixlab.errors import ConfigError, CorpusError, WriteError
from mixlab.study.folder import StudyFolder


def part_paths(cut: Cut) -> dict[str, str]:
    """By part its file, relative to the study (or to the folder of a classification of files)."""
    folder = StudyFolder(Path()).parts / slug(cut.domain)
    files = {name: slug(name.removeprefix(f"{cut.domain}-")) for name in cut.names}
    return {name: (folder / f"{file}.jsonl.zst").as_posix() for name, file in files.items()}


def write_parts(cut: Cut, source: DomainTexts, tags: Tags, root: Path) -> list[Path]:
    """Write every sub-domain as `root/split/<domain>/<name>.jsonl.zst`; the folder appears whole or not at all.

    A row has `text`, `id`, `topic`, `probability`, and the group field where the domain has one. Existing files of an
    earlier split of the domain are replaced.

    Raises:
        CorpusError: when the text changed since it was tagged.
        WriteError: when the disk is full or the folder cannot be written.
    """
    target = StudyFolder(root).parts / slug(cut.domain)
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
        raise WriteError(f"cannot write {target}: {error.strerror}", hint) from error
    return [root / path for path in part_paths(cut).values()]


def _write(cut: Cut, source: DomainTexts, tags: Tags, folder: Path) -> None:
    mine = np.flatnonzero(tags.domain == tags.domains.index(cut.domain))
    changed = CorpusError(
        f"the text of domain `{cut.domain}` changed while it was classified", "run the same command again"
    )
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
        raise ConfigError(
            f"the split would make a second domain `{taken[0]}`", "rename that domain in study.yaml, or the topic"
        )
