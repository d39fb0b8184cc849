"""A new study.yaml: a template with the study's own name, seed, domains and objective; comments explain the rest."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from mixlab.errors import ConfigError, require_kind
from mixlab.files import write_atomic
from mixlab.study.edit import flow, read_back, replace_keys
from mixlab.study.folder import StudyFolder

_PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
_TEXT_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".md")

TEMPLATE = """\
# A mixlab study. Quantities may be written 1e12, 150K, 2.5T. An unknown key is an error.
name: study
seed: 0

# One entry per domain: files, folders, globs (relative to this file) or URLs (s3://, hf://datasets/...). The long form,
# `web: {paths: web/*.parquet, ...}`, also takes
#   text_field: text         the field or column that holds the text
#   group_field: id-stem     keep documents of one group on one side of the split; `id-stem` is `id` up to its last "-"
#   on_bad_row: skip         skip and count rows that cannot be used, instead of stopping at the first
#   format: nanogpt          tokenised .bin files (or `megatron`: .bin with .idx), made with corpus.tokenizer
#   cleaning: off            cleaning for this domain alone
domains: {}

# What to minimise: weights over the domains' validation losses. By default all domains count equally.
objective: {}

corpus:
  tokenizer: byte            # byte, bpe, or the path of a tokenizer.json
  validation_fraction: 0.05  # share of the documents that is never trained on
  # vocab_size: 4096         # for bpe
  # max_bytes: 50M           # keep at most this much text per domain
  # cleaning: standard       # or single steps, as below; by default only exact duplicates within a domain are removed
  # cleaning:
  #   preset: standard       # the keys below replace those of the preset
  #   languages: {keep: [en]}
  #   quality: {preset: standard, min_words: 20}
  #   words: {paths: [blocked_words.txt]}
  #   urls: {paths: [blocked_domains.txt], field: url}
  #   benchmarks: {paths: [benchmarks/*.jsonl]}
  #   near: off

mixtures:
  prior: proportional        # the sweep draws mixtures around it: proportional, uniform or weights
  max_epochs: 4              # how often a domain may be repeated in one run

proxies:
  sizes: [50K, 100K, 200K]   # total parameters
  context: 256               # tokens per training sequence

sweep:
  budgets: [2.5e11, 5e11, 1e12]  # training FLOPs; every proxy is evaluated at each of them
  mixtures: 16               # different mixtures in the first round; with more than 8 domains take two for each
  sizes_per_mixture: 1       # sizes at which each is trained; the prior and the uniform mixture have all
  replicates: 2              # seeds for the prior and the most extreme mixture, to measure the noise
  rounds: 6                  # later rounds add runs where the answer at the target is in doubt
  proposals: 6               # what a later round may cost, in runs of the middle size
  # flops: 5e13              # what all rounds may cost

target:
  flops: 1e13                # training FLOPs of the big run
  law: auto
"""


def new_study(directory: str | Path, sources: Sequence[str | Path] = (), *, force: bool = False) -> dict[str, Path]:
    """Write directory/study.yaml to edit, with a domain per file or folder of text.

    Args:
        sources: files and folders; absent: those found in `directory`, or in its folder `texts`.
        force: replace a study.yaml that exists.

    Returns:
        The domains, by name.

    Raises:
        ConfigError: when there is a study.yaml already, or text for fewer than two domains.
    """
    require_kind("directory", directory, (str, PathLike), "a folder")
    require_kind("sources", sources, (list, tuple), "a list of files and folders")
    directory = Path(directory)
    folder = StudyFolder(directory)
    if folder.config_file.exists() and not force:
        raise ConfigError(f"{folder.config_file} already exists", "edit it, or replace it with `force`")
    for source in map(Path, sources):
        if not source.exists():
            raise ConfigError(f"there is no file or folder {source}", "name files or folders of text")
    domains = name_domains([Path(one) for one in sources] or find_sources(directory))
    if len(domains) < 2:
        where = "the sources are" if sources else f"{directory} holds text for"
        raise ConfigError(
            f"a study needs at least 2 domains, but {where} {len(domains)}",
            "name files or folders of text, as in `mixlab init DIR --from web.jsonl.gz code/`",
        )
    write_study(directory, domains)
    return domains


def find_sources(directory: Path) -> list[Path]:
    """Text files and folders in DIR/texts where it exists, else in DIR; sorted."""
    top = directory / "texts" if (directory / "texts").is_dir() else directory
    if not top.is_dir():
        return []
    outputs = StudyFolder(directory).outputs
    return [path for path in sorted(top.iterdir()) if _is_source(path) and path.name not in outputs]


def _is_source(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return True
    return path.name != "README.md" and _PACKED.sub("", path.name.lower()).endswith(_TEXT_ENDINGS)


def name_domains(paths: Sequence[Path]) -> dict[str, Path]:
    """A domain per path, named after the file without its endings; equal names get a number."""
    domains: dict[str, Path] = {}
    for path in paths:
        base = path.resolve().name
        if not path.is_dir():
            base = Path(_PACKED.sub("", base)).stem
        name, number = base, 2
        while name in domains:
            name, number = f"{base}_{number}", number + 1
        domains[name] = path
    return domains


def write_study(
    directory: Path,
    domains: Mapping[str, Path],
    *,
    template: str = TEMPLATE,
    name: str | None = None,
    seed: int = 0,
    objective: Mapping[str, float] | None = None,
) -> Path:
    """Write directory/study.yaml, which is read back and compared with what was given before it takes its place.

    Args:
        domains: where each one's text lies.
        template: a study.yaml with the keys `name`, `seed`, `domains` and `objective`, whose values are replaced.
        name: of the study (absent: the folder's).
        objective: weights over the domains; absent: a comment shows how to write one.

    Raises:
        ConfigError: when the template lacks a key, or the study does not say what was given.
    """
    path, root = StudyFolder(directory).config_file, directory.resolve()
    name = name or root.name[:100] or "study"
    paths = {domain: _relative(source.resolve(), root) for domain, source in domains.items()}
    weights = dict.fromkeys(list(domains)[:2], 0.5) if objective is None else dict(objective)
    text = replace_keys(
        template,
        {
            "name": f"name: {flow(name)}",
            "seed": f"seed: {seed}",
            "domains": "domains:" + "".join(f"\n  {flow(domain)}: {flow(file)}" for domain, file in paths.items()),
            "objective": f"{'# ' if objective is None else ''}objective: {flow(weights)}",
        },
    )
    config = read_back(path, text)
    given = (name, seed, {domain: (file,) for domain, file in paths.items()}, objective and weights)
    read = (config.name, config.seed, {name: domain.paths for name, domain in config.domains.items()}, config.objective)
    if read != given:
        raise ConfigError(f"{path} must say {given}, but would say {read}", "correct the template")
    write_atomic(path, text.encode())
    return path


def _relative(path: Path, root: Path) -> str:
    """Relative where the text lies in the study folder or beside it, so that both can be moved together."""
    relative = os.path.relpath(path, root)
    return relative if relative.count("..") <= 1 else str(path)
