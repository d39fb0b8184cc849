"""Prepares a study's corpus: finds it up to date, goes on with an interrupted build, or builds it and swaps it in.

What is built lies in a folder beside the corpus and is moved into place at the end, so that there is the old corpus, or
none, and never half of one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from mixlab.corpus.clean.cleaned import SAMPLES
from mixlab.corpus.inventory import INVENTORY_FILE, Inventory
from mixlab.corpus.parallel import WorkerLostError
from mixlab.corpus.prepare.build import build_corpus
from mixlab.corpus.prepare.passes import Progress
from mixlab.corpus.prepare.tally import Cleaning, read_cleaning
from mixlab.corpus.prepare.worker import Build
from mixlab.corpus.read.sources import Source, expand
from mixlab.corpus.tokenizer import tokenizer_path
from mixlab.errors import CorpusError, WriteError
from mixlab.files import write_json
from mixlab.shown import Shown
from mixlab.study.config import StudyConfig
from mixlab.study.folder import StudyFolder
from mixlab.units import format_quantity

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

SOURCES_FILE = "sources.json"
# Below so much text per worker the start of a process costs more than it saves.
BYTES_PER_WORKER = 8_000_000


@dataclass(frozen=True, repr=False)
class Prepared(Shown):
    """A study's corpus after a prepare.

    Attributes:
        corpus: its folder.
        inventory: what every domain holds.
        built: whether anything was built, or all was up to date.
        seconds: that the prepare took.
        max_epochs: how often the study lets a domain be repeated.
        samples: how many samples of each rule `to_dict` has at most.
    """

    corpus: Path
    inventory: Inventory
    built: bool
    seconds: float
    max_epochs: float
    samples: int = SAMPLES

    @property
    def bytes_read(self) -> int:
        """Bytes of text that the corpus was read from, before anything was dropped."""
        return sum(facts.read_bytes for facts in self.inventory.shards.values())

    @property
    def bytes_per_second(self) -> float:
        return self.bytes_read / max(self.seconds, 1e-9)

    @property
    def cleaning(self) -> Cleaning:
        """By domain, what every step dropped and changed, with at most `samples` samples a rule.

        Raises:
            ConfigError: when cleaning.json is missing or damaged.
        """
        return read_cleaning(self.corpus, self.samples)

    def __repr__(self) -> str:
        tokens = format_quantity(sum(facts.train_tokens for facts in self.inventory.shards.values()))
        return f"<Prepared: {len(self.inventory.shards)} domains, {tokens} training tokens, in {self.corpus}>"

    def parts(self) -> Iterator[RenderableType]:
        """The domains; then drops, changes, languages and skipped rows, where there are any."""
        from mixlab.corpus.prepare.tables import corpus_tables

        yield from corpus_tables(self.inventory, self.cleaning, self.max_epochs)

    def sample_lines(self) -> Iterator[str]:
        """Samples of what was dropped and changed, as plain lines, each under its domain and rule."""
        from mixlab.corpus.prepare.tables import sample_lines

        return sample_lines(self.cleaning)

    def to_frame(self) -> pd.DataFrame:
        """A row per domain: documents, bytes, tokens, and how many documents were dropped as copies or by a rule."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "domain": name,
                    "documents": facts.documents,
                    "bytes": facts.train_bytes + facts.validation_bytes,
                    "train_tokens": facts.train_tokens,
                    "validation_tokens": facts.validation_tokens,
                    "copies_dropped": facts.duplicates,
                    "other_drops": sum(facts.dropped.values()) - facts.duplicates,
                }
                for name, facts in self.inventory.shards.items()
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab prepare --json`."""
        about = {"built": self.built, "seconds": self.seconds}
        return {**about, **self.inventory.to_dict(), "cleaning": self.cleaning}


def prepare_corpus(
    folder: StudyFolder,
    *,
    force: bool = False,
    workers: int | None = None,
    on_bad_row: Literal["error", "skip"] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Build the corpus of a study, go on with one that was interrupted, or find that it is up to date.

    Args:
        force: build from the start even where nothing changed.
        workers: processes; absent: one per core, fewer where there is little to do. They change nothing in the result.
        on_bad_row: in place of what the domains say: stop at a row that cannot be used, or skip and count it.
        progress: called with (domain, bytes of text read since the last call).

    Raises:
        CorpusError: on text that cannot be read, a split with an empty side, or a damaged shard.
        WriteError: when the disk is full or the folder cannot be written.
    """
    start = time.perf_counter()
    config = _with_bad_rows(folder.config, on_bad_row)
    sources = _sources(config, folder.root)
    try:
        with FileLock(folder.prepare_lock, timeout=0):
            built = force or not _matches(folder.corpus, sources) or not (folder.corpus / INVENTORY_FILE).is_file()
            if built:
                workers = workers or _worker_count(config, sources)
                inventory = _build_and_swap(config, folder, sources, progress or _silent, workers, force)
            else:
                inventory = Inventory.load(folder.corpus)
                inventory.verify(folder.corpus)
    except Timeout:
        raise CorpusError(f"another prepare is running in {folder.root}", "wait until it has finished") from None
    except OSError as error:
        hint = "free space or permit writing there, then run the same command"
        raise WriteError(f"cannot write the corpus in {folder.root}: {error}", hint) from error
    seconds = time.perf_counter() - start
    return Prepared(folder.corpus, inventory, built, seconds, config.mixtures.max_epochs)


def _silent(domain: str, size: int) -> None:
    pass


def _with_bad_rows(config: StudyConfig, on_bad_row: str | None) -> StudyConfig:
    """The settings with one answer to bad rows for all domains."""
    if on_bad_row is None:
        return config
    domains = {name: domain.model_copy(update={"on_bad_row": on_bad_row}) for name, domain in config.domains.items()}
    return config.model_copy(update={"domains": domains})


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
    building, old = folder.corpus_building, folder.corpus_old
    shutil.rmtree(old, ignore_errors=True)
    if force or not _matches(building, sources):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        write_json(building / SOURCES_FILE, sources)
    build = Build(config, folder.root, building)
    try:
        inventory = build_corpus(build, progress, workers)
    except CorpusError as error:
        # A user has to change something first, and then nothing that was done is of use.
        if not isinstance(error, WorkerLostError):
            shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(build.blocks)
    if folder.corpus.exists():
        os.replace(folder.corpus, old)
    os.replace(building, folder.corpus)
    shutil.rmtree(old, ignore_errors=True)
    return inventory


def _sources(config: StudyConfig, base_dir: Path) -> dict[str, Any]:
    """All that decides the corpus: the settings, and path, size and time of every file it is read from."""
    files: dict[str, list[list[Any]]] = {}
    for name, domain in config.domains.items():
        files[name] = [source.stamp() for source in expand(domain.paths, base_dir)]
        cleaning = config.corpus.cleaning_of(domain)
        lists = [part.paths for part in (cleaning.urls, cleaning.words, cleaning.benchmarks) if part is not None]
        files[name] += [source.stamp() for paths in lists for source in expand(paths, base_dir)]
    settings = {
        "corpus": config.corpus.model_dump(mode="json"),
        "domains": {
            name: domain.model_dump(mode="json", exclude={"supply"}) for name, domain in config.domains.items()
        },
    }
    return {"version": 2, "settings": settings, "files": files, **_tokenizer_source(config, base_dir)}


def _tokenizer_source(config: StudyConfig, base_dir: Path) -> dict[str, Any]:
    """The tokenizer's file, where the study names one."""
    if config.corpus.tokenizer in ("byte", "bpe"):
        return {}
    path = tokenizer_path(config.corpus.tokenizer, base_dir)
    if not path.is_file():
        raise CorpusError(f"no tokenizer at {path}", "set corpus.tokenizer to `byte`, `bpe` or a tokenizer.json")
    return {"tokenizer": Source(str(path)).stamp()}


def _matches(folder: Path, sources: dict[str, Any]) -> bool:
    """Whether what lies in `folder` was made, or begun, from these sources and settings."""
    try:
        before = json.loads((folder / SOURCES_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    # Key order counts too: it is the order of the domains.
    return json.dumps(before) == json.dumps(json.loads(json.dumps(sources)))
