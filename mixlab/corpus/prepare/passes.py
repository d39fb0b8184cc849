"""The passes over the text: lines are counted where boilerplate is looked for, then all is cleaned and admitted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mixlab.corpus.clean.hashes import SeenHashes
from mixlab.corpus.clean.lines import frequent
from mixlab.corpus.clean.words import U64
from mixlab.corpus.parallel import ordered_map
from mixlab.corpus.prepare.admission import Admission
from mixlab.corpus.prepare.blocks import RawBlock, raw_blocks
from mixlab.corpus.prepare.worker import Build, Worker, clean, count_lines, read_lines
from mixlab.corpus.read.tokenized import IdsFormat
from mixlab.corpus.tokenizer import load_tokenizer, tokenizer_path
from mixlab.errors import CorpusError
from mixlab.files import write_atomic
from mixlab.study.config import DomainConfig, StudyConfig

Progress = Callable[[str, int], None]


def _domain_blocks(build: Build, name: str) -> Iterator[RawBlock]:
    domain = build.config.domains[name]
    urls = build.config.corpus.cleaning_of(domain).urls
    form = _ids_format(build.config, domain, build.base_dir)
    return raw_blocks(name, domain, urls.field if urls else None, form, build.base_dir)


def find_boilerplate(build: Build, workers: int) -> None:
    """Count the lines of the domains that ask for it, and leave the frequent ones for the workers."""
    limits: dict[str, int] = {}
    for name, domain in build.config.domains.items():
        cleaning = build.config.corpus.cleaning_of(domain)
        if cleaning.lines is not None and domain.format == "auto" and not build.boilerplate(name).exists():
            limits[name] = cleaning.lines.max_documents
    counted: dict[str, list[Path]] = {name: [] for name in limits}
    for name, path in ordered_map(count_lines, _first_blocks(build, limits), workers, Worker, build):
        counted[name].append(path)
    for name, paths in counted.items():
        found = frequent(partial(_unique_lines, paths), limits[name])
        with io.BytesIO() as buffer:
            np.save(buffer, found)
            write_atomic(build.boilerplate(name), buffer.getvalue())


def _first_blocks(build: Build, names: Iterable[str]) -> Iterator[RawBlock]:
    """The blocks in which lines are counted: all, or with `max_bytes` so much text as could be kept."""
    for name in names:
        size = 0
        for block in _domain_blocks(build, name):
            yield block
            size += block.size
            if build.config.corpus.max_bytes is not None and size >= build.config.corpus.max_bytes:
                break


def _unique_lines(paths: list[Path]) -> Iterator[U64]:
    """The lines of every block, without those of documents that are copies."""
    seen = SeenHashes()
    for path in paths:
        keys, hashes, owners = read_lines(path)
        old = seen.known(keys)
        for at, key in enumerate(keys.tolist()):
            old[at] |= key in seen
            seen.add(key)
        seen.settle()
        yield hashes[~old[owners]]


def admit(build: Build, progress: Progress, workers: int) -> Admission:
    """Read and clean every domain, and take in what is part of the corpus; near-duplicates are still in it.

    Raises:
        CorpusError: when nothing is left of a domain.
    """
    admission = Admission(build.config)

    def blocks() -> Iterator[RawBlock]:
        for name in build.config.domains:
            for block in _domain_blocks(build, name):
                if admission.tallies[name].full:
                    break
                yield block

    for name, path in ordered_map(clean, blocks(), workers, Worker, build):
        progress(name, admission.admit(name, path))
    for name, tally in admission.tallies.items():
        if tally.kept_bytes == 0:
            hint = "loosen the cleaning that dropped its documents" if tally.documents else "check its paths and fields"
            raise CorpusError(f"domain `{name}` holds no text ({tally.losses})", hint)
    return admission


def _ids_format(config: StudyConfig, domain: DomainConfig, base_dir: Path) -> IdsFormat | None:
    """How a domain's ids are stored, or None where it is text.

    Raises:
        CorpusError: when the study does not name the tokenizer that they were made with.
    """
    if domain.format == "auto":
        return None
    if config.corpus.tokenizer in ("byte", "bpe"):
        raise CorpusError(
            f"a {domain.format} domain needs the tokenizer that it was made with, but corpus.tokenizer is "
            f"`{config.corpus.tokenizer}`",
            "set corpus.tokenizer to the path of its tokenizer.json",
        )
    tokenizer = load_tokenizer(tokenizer_path(config.corpus.tokenizer, base_dir))
    end = tokenizer.end_of_document if domain.end_of_document is None else domain.end_of_document
    return IdsFormat(domain.format, domain.dtype, end, tokenizer.vocab_size)
