"""Builds a corpus: cleans every domain, drops copies, splits by group, tokenises, writes shards.

The work is done block by block in worker processes, and every block's result is a file of its own: a build that was
killed goes on where it was. The same sources and settings give the same bytes, whatever the number of workers and of
interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mixlab.corpus.clean.cleaned import EMPTY, EXACT
from mixlab.corpus.inventory import INVENTORY_FILE, DomainShards, Inventory
from mixlab.corpus.parallel import ordered_map
from mixlab.corpus.prepare.admission import Admission
from mixlab.corpus.prepare.blocks import CleanBlock
from mixlab.corpus.prepare.passes import Progress, admit, find_boilerplate
from mixlab.corpus.prepare.tally import Tally, write_cleaning
from mixlab.corpus.prepare.worker import Admitted, Build, TokenFacts, Worker, encode, read_tokens, tokenise
from mixlab.corpus.shards import SPLITS, TOKEN_BYTES_FILE, ShardInfo, ShardWriter
from mixlab.corpus.tokenizer import TOKENIZER_FILE, ByteTokenizer, Tokenizer, load_tokenizer, tokenizer_path, train_bpe
from mixlab.errors import CorpusError
from mixlab.files import write_json
from mixlab.study.config import DomainConfig, StudyConfig

# BPE merges are counted on at most so much training text per domain, from its start; more hardly changes them.
BPE_BYTES_PER_DOMAIN = 8_000_000
# A chance that is no explanation.
RARE = 0.001


def build_corpus(build: Build, progress: Progress, workers: int) -> Inventory:
    """Write shards, tokenizer, token_bytes.npy, cleaning.json and at last inventory.json.

    Raises:
        CorpusError: on text that cannot be read, or a split with an empty side.
    """
    config = build.config
    build.blocks.mkdir(exist_ok=True)
    find_boilerplate(build, workers)
    admission = admit(build, progress, workers)
    admission.drop_near_duplicates(build.blocks / "signatures")
    tokenizer = make_tokenizer(config, build.base_dir, admission.admitted)
    tokenizer.save(build.folder / TOKENIZER_FILE)
    np.save(build.folder / TOKEN_BYTES_FILE, tokenizer.byte_lengths())
    shards = _write_shards(build, admission, tokenizer, workers)
    write_cleaning(build.folder, admission.tallies)
    inventory = Inventory(shards, tokenizer.vocab_size, tokenizer.hash)
    write_json(build.folder / INVENTORY_FILE, inventory.to_dict())
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


def _write_shards(build: Build, admission: Admission, tokenizer: Tokenizer, workers: int) -> dict[str, DomainShards]:
    """Tokenise what was admitted and write the shards, domain after domain."""
    shards: dict[str, DomainShards] = {}
    # Bytes are their own tokens: handing them on takes longer than making them.
    if build.config.corpus.tokenizer == "byte":
        encoded = ordered_map(encode, admission.admitted, 1, Worker, build)
    else:
        encoded = map(read_tokens, ordered_map(tokenise, admission.admitted, workers, Worker, build))
    for name in build.config.domains:
        writers = {
            split: ShardWriter(build.folder, name, split, tokenizer.vocab_size, tokenizer.hash) for split in SPLITS
        }
        facts = TokenFacts()
        try:
            for block in admission.admitted:
                if block.domain == name:
                    data, more = next(encoded)
                    facts.merge(more)
                    for split, writer in writers.items():
                        writer.append(data[split])
            fraction = build.config.corpus.validation_fraction
            _check_sides(name, build.config.domains[name], facts, admission.tallies[name], fraction)
            infos = {split: writer.close() for split, writer in writers.items()}
        except BaseException:
            for writer in writers.values():
                writer.abort()
            raise
        shards[name] = _facts(admission.tallies[name], facts, infos)
    return shards


def _check_sides(name: str, domain: DomainConfig, facts: TokenFacts, tally: Tally, fraction: float) -> None:
    """Refuse a domain that has nothing to train on, or to validate with."""
    documents = sum(amount.documents for amount in facts.splits.values())
    for split, share in (("validation", fraction), ("train", 1 - fraction)):
        if facts.splits[split].documents:
            continue
        # If every document were its own group, a side of this share would be empty less than once in a thousand times.
        few_groups = domain.group_field is not None and (1 - share) ** documents < RARE
        reason = f"its {documents} documents share few groups" if few_groups else f"documents to split: {documents}"
        where = f"the {split} side of domain `{name}` is empty at validation_fraction {fraction:g}"
        raise CorpusError(
            f"{where}: {reason} ({tally.losses})",
            ", or ".join(_ways_to_fill(domain, split, documents, fraction, few_groups)),
        )


def _ways_to_fill(domain: DomainConfig, split: str, documents: int, fraction: float, few_groups: bool) -> list[str]:
    """What would give an empty side of the split documents."""
    ways = [] if few_groups else ["give the domain more documents"]
    ways += ["choose a group_field with more values, or leave it out"] if domain.group_field else []
    enough = math.ceil(100 * (1 - RARE ** (1 / max(documents, 1)))) / 100
    if split == "validation" and fraction < enough < 0.5:
        ways.append(f"set corpus.validation_fraction to {enough}")
    return ways


def _facts(tally: Tally, facts: TokenFacts, infos: dict[str, ShardInfo]) -> DomainShards:
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
        languages={name: amount.to_dict() for name, amount in facts.languages.items()},
    )
