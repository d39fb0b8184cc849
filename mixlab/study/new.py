"""A new study.yaml to edit: the domains found, and comments for everything else."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from mixlab.files import write_atomic
from mixlab.study.config import load_config

_PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
_TEXT_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".md")
_OURS = {"corpus", "ledger", "checkpoints", "wandb"}

TEMPLATE = """\
# A mixlab study. Quantities may be written 1e12, 150K, 2.5T. Unknown keys are refused.
name: {name}
seed: 0

# One entry per domain: files, folders, globs (relative to this file) or URLs (s3://, hf://datasets/...). The long form,
# `web: {{paths: web/*.parquet, ...}}`, also takes
#   text_field: text         the field or column that holds the text
#   group_field: id-stem     documents of one group stay on one side of the split; `id-stem` is `id` up to its last "-"
#   on_bad_row: skip         leave out and count rows that cannot be used, instead of stopping
#   format: nanogpt          .bin files of ids (or `megatron`: .bin with .idx), made with corpus.tokenizer
#   cleaning: off            its own cleaning
domains:
{domains}

# Weights over the domains' validation losses; without it all domains count equally.
# objective: {{{objective}}}

corpus:
  tokenizer: byte            # byte, bpe, or the path of a tokenizer.json
  validation_fraction: 0.05  # share of the documents that is never trained on
  # vocab_size: 4096         # for bpe
  # max_bytes: 50M           # keep at most so much text per domain
  # cleaning: standard       # or single steps; without it exact copies are dropped and nothing else is touched
  # cleaning:
  #   preset: standard       # the keys below replace those of the preset
  #   languages: {{keep: [en]}}
  #   quality: {{preset: standard, min_words: 20}}
  #   words: {{paths: [blocked_words.txt]}}
  #   urls: {{paths: [blocked_domains.txt], field: url}}
  #   benchmarks: {{paths: [benchmarks/*.jsonl]}}
  #   near: off

mixtures:
  prior: proportional        # the mixture the design is drawn around: proportional, uniform or weights
  max_epochs: 4              # how often a domain may be repeated in one run

proxies:
  sizes: [50K, 100K, 200K]   # total parameters
  context: 256

sweep:
  budgets: [2.5e11, 5e11, 1e12]  # training FLOPs of every proxy
  mixtures: 24               # distinct mixtures of the first round
  replicates: 2              # seeds of the anchors: the measure of noise

target:
  flops: 1e13                # the big run's training FLOPs
  law: auto
"""


def find_sources(directory: Path) -> list[Path]:
    """Text files and folders in DIR/texts where it exists, else in DIR; sorted."""
    top = directory / "texts" if (directory / "texts").is_dir() else directory
    if not top.is_dir():
        return []
    return [path for path in sorted(top.iterdir()) if _is_source(path)]


def _is_source(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return path.name not in _OURS
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


def write_study(directory: Path, domains: dict[str, Path]) -> Path:
    """Write a commented study.yaml, checked by reading it back before it takes its place."""
    root = directory.resolve()
    lines = [f"  {_quote(name)}: {_quote(_relative(path.resolve(), root))}" for name, path in domains.items()]
    first, second = list(domains)[:2]
    objective = f"{_quote(first)}: 0.5, {_quote(second)}: 0.5"
    text = TEMPLATE.format(name=_quote(root.name[:100] or "study"), domains="\n".join(lines), objective=objective)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, "study.yaml")
        draft.write_bytes(text.encode())
        load_config(draft)
    write_atomic(directory / "study.yaml", text.encode())
    return directory / "study.yaml"


def _relative(path: Path, root: Path) -> str:
    """Relative where the text lies in the study folder or beside it, so that both can be moved together."""
    relative = os.path.relpath(path, root)
    return relative if relative.count("..") <= 1 else str(path)


def _quote(text: str) -> str:
    """`text` as a YAML scalar that reads back as the same text."""
    if re.fullmatch(r"[A-Za-z][\w./-]*", text, re.ASCII) and text not in ("true", "false", "null"):
        return text
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000)).strip()
