"""Prepares a corpus: reads every domain, drops exact copies, splits by group, tokenises, writes shards.

All is built in a folder beside the corpus and moved into place at the end: a prepare that is killed leaves the old
corpus, or none, and never half of one. The same sources and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mixlab.config import CorpusConfig, DomainConfig, StudyConfig
from mixlab.corpus.inventory import DomainShards, Inventory
from mixlab.corpus.readers import documents, utf8
from mixlab.corpus.shards import TOKEN_BYTES_FILE, ShardInfo, ShardWriter
from mixlab.corpus.sources import expand
from mixlab.corpus.tokenizer import TOKENIZER_FILE, ByteTokenizer, Tokenizer, load_tokenizer, train_bpe
from mixlab.errors import CorpusError
from mixlab.folder import StudyFolder, write_json

SOURCES_FILE = "sources.json"
# BPE merges are counted on at most so much training text per domain, from its start; more hardly changes them.
BPE_BYTES_PER_DOMAIN = 8_000_000

Progress = Callable[[str, int], None]


@dataclass
class Tally:
    """What reading one domain met."""

    documents: int = 0
    duplicates: int = 0
    empty: int = 0
    sizes: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    validation_documents: int = 0


def prepare_corpus(
    folder: StudyFolder, force: bool = False, progress: Progress | None = None
) -> tuple[Inventory, bool]:
    """Build the corpus of a study, or find that it is up to date.

    Args:
        force: build even where nothing changed.
        progress: called with (domain, bytes of text read since the last call).

    Returns:
        The inventory, and whether anything was built.

    Raises:
        CorpusError: on text that cannot be read, a split with an empty side, or a damaged shard.
    """
    config = folder.config
    sources = _sources(config, folder.root)
    lock = FileLock(folder.root / ".prepare.lock", timeout=0)
    try:
        with lock:
            if not force and _up_to_date(folder.corpus, sources):
                inventory = Inventory.load(folder.corpus)
                inventory.verify(folder.corpus)
                return inventory, False
            return _build_and_swap(config, folder, sources, progress or (lambda name, size: None)), True
    except Timeout:
        raise CorpusError(f"another prepare is at work in {folder.root}", "wait for it to end") from None
    except OSError as error:
        hint = "free space or permit writing there, then run the same command"
        raise CorpusError(f"cannot write the corpus in {folder.root}: {error}", hint) from error


def _build_and_swap(config: StudyConfig, folder: StudyFolder, sources: dict[str, Any], progress: Progress) -> Inventory:
    building = folder.root / ".corpus.building"
    old = folder.root / ".corpus.old"
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        inventory = build_corpus(config, folder.root, building, progress)
        write_json(building / SOURCES_FILE, sources)
        if folder.corpus.exists():
            os.replace(folder.corpus, old)
        os.replace(building, folder.corpus)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return inventory


def build_corpus(config: StudyConfig, base_dir: Path, out: Path, progress: Progress) -> Inventory:
    """Write shards, tokenizer, token_bytes.npy and at last inventory.json into the folder `out`."""
    tokenizer = make_tokenizer(config, base_dir)
    tokenizer.save(out / TOKENIZER_FILE)
    np.save(out / TOKEN_BYTES_FILE, tokenizer.byte_lengths())
    shards = {
        name: _build_domain(name, domain, config.corpus, base_dir, out, tokenizer, progress)
        for name, domain in config.domains.items()
    }
    inventory = Inventory(shards, tokenizer.vocab_size, tokenizer.hash)
    write_json(out / "inventory.json", inventory.to_json())
    return inventory


def make_tokenizer(config: StudyConfig, base_dir: Path) -> Tokenizer:
    """The tokenizer that a study asks for; `bpe` is trained on the training side of every domain."""
    if config.corpus.tokenizer == "byte":
        return ByteTokenizer()
    if config.corpus.tokenizer == "bpe":
        return train_bpe(_training_texts(config, base_dir), config.corpus.vocab_size)
    return load_tokenizer(base_dir / Path(config.corpus.tokenizer).expanduser())


def _training_texts(config: StudyConfig, base_dir: Path) -> Iterator[str]:
    for name, domain in config.domains.items():
        size = 0
        for text, split in split_documents(name, domain, config.corpus, base_dir, Tally()):
            if split == "train":
                size += len(text.encode())
                yield text
            if size >= BPE_BYTES_PER_DOMAIN:
                break


def side(group: str, validation_fraction: float) -> str:
    """The split of a group: `validation` for a share `validation_fraction` of the hashes of all groups."""
    number = int.from_bytes(hashlib.sha256(utf8(group, "a group's name")).digest()[:8], "big")
    return "validation" if number < validation_fraction * 2**64 else "train"


def split_documents(
    name: str, domain: DomainConfig, corpus: CorpusConfig, base_dir: Path, tally: Tally
) -> Iterator[tuple[str, str]]:
    """Yield (text, split) of a domain's documents in their order, without empty ones and exact copies.

    A copy is dropped before the split, as it could otherwise stand on both sides. Reading stops before the document
    that would exceed `max_bytes`, so a smaller `max_bytes` gives a prefix. Memory: 16 bytes and a set entry a document.
    """
    seen: set[bytes] = set()
    for text, group in documents(domain.paths, domain.text_field, domain.group_field, base_dir):
        if not text or text.isspace():
            tally.empty += 1
            continue
        data = utf8(text, f"domain `{name}`, document {tally.documents + 1}")
        key = hashlib.sha256(data).digest()[:16]
        if key in seen:
            tally.duplicates += 1
            continue
        if corpus.max_bytes is not None and sum(tally.sizes.values()) + len(data) > corpus.max_bytes:
            return
        seen.add(key)
        split = side(group, corpus.validation_fraction)
        tally.documents += 1
        tally.validation_documents += split == "validation"
        tally.sizes[split] += len(data)
        yield text, split


def _build_domain(
    name: str,
    domain: DomainConfig,
    corpus: CorpusConfig,
    base_dir: Path,
    out: Path,
    tokenizer: Tokenizer,
    progress: Progress,
) -> DomainShards:
    def writer(split: str) -> ShardWriter:
        return ShardWriter(out, name, split, tokenizer.vocab_size, tokenizer.end_of_document, tokenizer.hash)

    writers = {split: writer(split) for split in ("train", "validation")}
    tally, told = Tally(), 0
    try:
        for text, split in split_documents(name, domain, corpus, base_dir, tally):
            writers[split].append(tokenizer.encode(text))
            read = sum(tally.sizes.values())
            if read - told >= 1 << 20:
                progress(name, read - told)
                told = read
        progress(name, sum(tally.sizes.values()) - told)
        _check_sides(name, tally, corpus)
        infos = {split: each.close() for split, each in writers.items()}
    except BaseException:
        for each in writers.values():
            each.abort()
        raise
    return _facts(tally, infos)


def _check_sides(name: str, tally: Tally, corpus: CorpusConfig) -> None:
    if tally.documents == 0:
        raise CorpusError(f"domain `{name}` holds no text ({tally.empty} empty documents)", "check its paths")
    for split, size in tally.sizes.items():
        if size == 0:
            # The share at which a side stays empty once in a thousand times.
            enough = math.ceil(100 * (1 - 0.001 ** (1 / tally.documents))) / 100
            raise CorpusError(
                f"the {split} side of domain `{name}` is empty: {tally.documents} documents split at "
                f"validation_fraction {corpus.validation_fraction:g}",
                "give the domain more documents, or finer groups (group_field)"
                + (f", or set corpus.validation_fraction to {enough}" if enough < 0.5 else ""),
            )


def _facts(tally: Tally, infos: dict[str, ShardInfo]) -> DomainShards:
    return DomainShards(
        train_tokens=infos["train"].count,
        train_bytes=tally.sizes["train"],
        validation_tokens=infos["validation"].count,
        validation_bytes=tally.sizes["validation"],
        documents=tally.documents,
        validation_documents=tally.validation_documents,
        duplicates=tally.duplicates,
        empty=tally.empty,
        train_sha256=infos["train"].sha256,
        validation_sha256=infos["validation"].sha256,
    )


def _sources(config: StudyConfig, base_dir: Path) -> dict[str, Any]:
    """All that decides the corpus: the settings, and path, size and time of every file it is read from."""
    files: dict[str, list[list[Any]]] = {}
    for name, domain in config.domains.items():
        files[name] = [source.stamp() for source in expand(domain.paths, base_dir)]
    if config.corpus.tokenizer not in ("byte", "bpe"):
        path = base_dir / Path(config.corpus.tokenizer).expanduser()
        if not path.is_file():
            raise CorpusError(f"no tokenizer at {path}", "corpus.tokenizer is `byte`, `bpe` or a tokenizer.json")
        files["tokenizer"] = [_stamp(path)]
    settings = {
        "corpus": config.corpus.model_dump(mode="json"),
        "domains": {name: domain.model_dump(mode="json") for name, domain in config.domains.items()},
    }
    return {"version": 1, "settings": settings, "files": files}


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _up_to_date(corpus: Path, sources: dict[str, Any]) -> bool:
    if not (corpus / "inventory.json").is_file():
        return False
    try:
        before = json.loads((corpus / SOURCES_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    # Key order counts too: it is the order of the domains.
    return json.dumps(before) == json.dumps(sources)
