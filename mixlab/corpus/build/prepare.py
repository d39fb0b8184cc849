"""Prepares a corpus: reads every domain, cleans it, drops copies, splits by group, tokenises, writes shards.

The work is done block by block in worker processes, and every block's result is a file of its own: a prepare that is
killed goes on where it was. What it builds lies in a folder beside the corpus and is moved into place at the end, so
that there is the old corpus, or none, and never half of one. The same sources and settings give the same bytes,
whatever the number of workers and of interruptions.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mixlab.study.config import CorpusConfig, StudyConfig
from mixlab.corpus.build.admission import Admission, Cleanings
from mixlab.corpus.build.blocks import CleanBlock
from mixlab.corpus.clean.steps import EMPTY, EXACT
from mixlab.corpus.inventory import DomainShards, Inventory
from mixlab.corpus.parallel import WorkerLostError, ordered_map
from mixlab.corpus.build.passes import Progress, admit, find_boilerplate, losses
from mixlab.corpus.build.report import CLEANING_FILE
from mixlab.corpus.shards import SPLITS, TOKEN_BYTES_FILE, ShardInfo, ShardWriter
from mixlab.corpus.read.sources import Source, expand
from mixlab.corpus.tokenizer import TOKENIZER_FILE, ByteTokenizer, Tokenizer, load_tokenizer, tokenizer_path, train_bpe
from mixlab.corpus.build.work import Admitted, TokenFacts, Worker, Workshop, encode, read_tokens, tokenise
from mixlab.errors import CorpusError
from mixlab.study.folder import StudyFolder
from mixlab.files import write_json

SOURCES_FILE = "sources.json"
# BPE merges are counted on at most so much training text per domain, from its start; more hardly changes them.
BPE_BYTES_PER_DOMAIN = 8_000_000
# Below so much text per worker the start of a process costs more than it saves.
BYTES_PER_WORKER = 8_000_000


def prepare_corpus(
    folder: StudyFolder,
    force: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
    config: StudyConfig | None = None,
) -> tuple[Inventory, bool]:
    """Build the corpus of a study, go on with one that was interrupted, or find that it is up to date.

    Args:
        force: build from the start even where nothing changed.
        progress: called with (domain, bytes of text read since the last call).
        workers: processes; absent: one per core, fewer where there is little to do. They change nothing in the result.
        config: in place of the folder's own.

    Returns:
        The inventory, and whether anything was built.

    Raises:
        CorpusError: on text that cannot be read, a split with an empty side, or a damaged shard.
    """
    config = config or folder.config
    sources = _sources(config, folder.root)
    lock = FileLock(folder.root / ".prepare.lock", timeout=0)
    try:
        with lock:
            if not force and _matches(folder.corpus, sources) and (folder.corpus / "inventory.json").is_file():
                inventory = Inventory.load(folder.corpus)
                inventory.verify(folder.corpus)
                return inventory, False
            workers = workers or _worker_count(config, sources)
            tell = progress or (lambda name, size: None)
            return _build_and_swap(config, folder, sources, tell, workers, force), True
    except Timeout:
        raise CorpusError(f"another prepare is at work in {folder.root}", "wait for it to end") from None
    except OSError as error:
        hint = "free space or permit writing there, then run the same command"
        raise CorpusError(f"cannot write the corpus in {folder.root}: {error}", hint) from error


def _worker_count(config: StudyConfig, sources: dict[str, Any]) -> int:
    """One per core where there is work to share: cleaning, or a tokenizer that is slower than reading."""
    cleanings = [config.corpus.cleaning_of(domain) for domain in config.domains.values()]
    if config.corpus.tokenizer == "byte" and not any(each.costly for each in cleanings):
        return 1
    size = sum(stamp[1] for stamps in sources["files"].values() for stamp in stamps)
    return max(1, min(os.cpu_count() or 1, size // BYTES_PER_WORKER))


def _build_and_swap(
    config: StudyConfig, folder: StudyFolder, sources: dict[str, Any], progress: Progress, workers: int, force: bool
) -> Inventory:
    building = folder.root / ".corpus.building"
    old = folder.root / ".corpus.old"
    shutil.rmtree(old, ignore_errors=True)
    if force or not _matches(building, sources):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        write_json(building / SOURCES_FILE, sources)
    try:
        inventory = build_corpus(Workshop(config, folder.root, building), progress, workers)
    except CorpusError as error:
        # A user has to change something first, and then nothing that was done is of use.
        if not isinstance(error, WorkerLostError):
            shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(building / "blocks")
    if folder.corpus.exists():
        os.replace(folder.corpus, old)
    os.replace(building, folder.corpus)
    shutil.rmtree(old, ignore_errors=True)
    return inventory


def build_corpus(shop: Workshop, progress: Progress, workers: int) -> Inventory:
    """Write shards, tokenizer, token_bytes.npy, cleaning.json and at last inventory.json into the workshop's folder."""
    config = shop.config
    (shop.folder / "blocks").mkdir(exist_ok=True)
    find_boilerplate(shop, workers)
    admission = admit(shop, progress, workers)
    admission.drop_near_duplicates(shop.folder / "blocks" / "signatures")
    tokenizer = make_tokenizer(config, shop.base_dir, admission.admitted)
    tokenizer.save(shop.folder / TOKENIZER_FILE)
    np.save(shop.folder / TOKEN_BYTES_FILE, tokenizer.byte_lengths())
    shards = _write_shards(shop, admission, tokenizer, workers)
    cleanings = {name: each.to_json() for name, each in admission.cleanings.items()}
    write_json(shop.folder / CLEANING_FILE, {"version": 1, "domains": cleanings})
    inventory = Inventory(shards, tokenizer.vocab_size, tokenizer.hash)
    write_json(shop.folder / "inventory.json", inventory.to_json())
    return inventory


def make_tokenizer(config: StudyConfig, base_dir: Path, admitted: list[Admitted]) -> Tokenizer:
    """The tokenizer that a study asks for; `bpe` is trained on the training side of what was admitted."""
    if config.corpus.tokenizer == "byte":
        return ByteTokenizer()
    if config.corpus.tokenizer == "bpe":
        return train_bpe(_training_texts(admitted), config.corpus.vocab_size)
    return load_tokenizer(tokenizer_path(config.corpus.tokenizer, base_dir))


def _training_texts(admitted: list[Admitted]) -> Iterator[str]:
    sizes: dict[str, int] = {}
    for each in admitted:
        if sizes.get(each.domain, 0) >= BPE_BYTES_PER_DOMAIN:
            continue
        block = CleanBlock(each.path)
        for number in each.chosen.tolist():
            if not block.validation[number] and sizes.get(each.domain, 0) < BPE_BYTES_PER_DOMAIN:
                data = block.data(number)
                sizes[each.domain] = sizes.get(each.domain, 0) + len(data)
                yield data.decode()


def _write_shards(shop: Workshop, admission: Admission, tokenizer: Tokenizer, workers: int) -> dict[str, DomainShards]:
    """Tokenise what was admitted and write the shards, domain after domain."""
    shards: dict[str, DomainShards] = {}
    # Bytes are their own tokens: handing them on takes longer than making them.
    if shop.config.corpus.tokenizer == "byte":
        encoded = ordered_map(encode, admission.admitted, 1, Worker, shop)
    else:
        encoded = map(read_tokens, ordered_map(tokenise, admission.admitted, workers, Worker, shop))
    for name in shop.config.domains:
        writers = {
            split: ShardWriter(shop.folder, name, split, tokenizer.vocab_size, tokenizer.hash) for split in SPLITS
        }
        facts = TokenFacts()
        try:
            for block in admission.admitted:
                if block.domain == name:
                    data, more = next(encoded)
                    facts.merge(more)
                    for split, writer in writers.items():
                        writer.append(data[split])
            _check_sides(name, facts, admission.cleanings[name], shop.config.corpus)
            infos = {split: writer.close() for split, writer in writers.items()}
        except BaseException:
            for writer in writers.values():
                writer.abort()
            raise
        shards[name] = _facts(admission.cleanings[name], facts, infos)
    return shards


def _check_sides(name: str, facts: TokenFacts, tally: Cleanings, corpus: CorpusConfig) -> None:
    documents = sum(amount.documents for amount in facts.splits.values())
    for split, amount in facts.splits.items():
        if amount.documents == 0:
            # The share at which a side stays empty once in a thousand times, if every document is its own group.
            enough = math.ceil(100 * (1 - 0.001 ** (1 / max(documents, 1)))) / 100
            grouped = "; they share few groups" if enough < corpus.validation_fraction else ""
            raise CorpusError(
                f"the {split} side of domain `{name}` is empty: {documents} documents split at "
                f"validation_fraction {corpus.validation_fraction:g} ({losses(tally)}){grouped}",
                "choose a group_field that tells more groups apart, or leave it out"
                if grouped
                else "give the domain more documents, or finer groups (group_field)"
                + (f", or set corpus.validation_fraction to {enough}" if enough < 0.5 else ""),
            )


def _facts(tally: Cleanings, facts: TokenFacts, infos: dict[str, ShardInfo]) -> DomainShards:
    train, validation = facts.splits["train"], facts.splits["validation"]
    return DomainShards(
        train_tokens=infos["train"].count,
        train_bytes=train.size,
        validation_tokens=infos["validation"].count,
        validation_bytes=validation.size,
        documents=train.documents + validation.documents,
        validation_documents=validation.documents,
        duplicates=tally.count(EXACT),
        empty=tally.count(EMPTY),
        train_sha256=infos["train"].sha256,
        validation_sha256=infos["validation"].sha256,
        read_documents=tally.documents,
        read_bytes=tally.bytes,
        dropped={rule: each.documents for rule, each in tally.dropped.items()},
        skipped_rows=dict(tally.skipped.counts),
        languages={name: amount.to_json() for name, amount in facts.languages.items()},
    )


def _sources(config: StudyConfig, base_dir: Path) -> dict[str, Any]:
    """All that decides the corpus: the settings, and path, size and time of every file it is read from."""
    files: dict[str, list[list[Any]]] = {}
    for name, domain in config.domains.items():
        files[name] = [source.stamp() for source in expand(domain.paths, base_dir)]
        cleaning = config.corpus.cleaning_of(domain)
        lists = [part.paths for part in (cleaning.urls, cleaning.words, cleaning.benchmarks) if part is not None]
        files[name] += [source.stamp() for paths in lists for source in expand(paths, base_dir)]
    if config.corpus.tokenizer not in ("byte", "bpe"):
        path = tokenizer_path(config.corpus.tokenizer, base_dir)
        if not path.is_file():
            raise CorpusError(f"no tokenizer at {path}", "corpus.tokenizer is `byte`, `bpe` or a tokenizer.json")
        files["tokenizer"] = [Source(str(path)).stamp()]
    settings = {
        "corpus": config.corpus.model_dump(mode="json"),
        "domains": {
            name: domain.model_dump(mode="json", exclude={"supply"}) for name, domain in config.domains.items()
        },
    }
    return {"version": 2, "settings": settings, "files": files}


def _matches(folder: Path, sources: dict[str, Any]) -> bool:
    """Whether what lies in `folder` was made, or begun, from these sources and settings."""
    try:
        before = json.loads((folder / SOURCES_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    # Key order counts too: it is the order of the domains.
    return json.dumps(before) == json.dumps(json.loads(json.dumps(sources)))
