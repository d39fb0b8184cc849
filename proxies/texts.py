"""Opening a prepared corpus for training, and which device a study means."""

from __future__ import annotations

from pathlib import Path

import torch

from mixlab.corpus.inventory import Inventory
from mixlab.corpus.shards import open_shard, token_bytes
from mixlab.errors import ConfigError
from proxies.train import Texts


def open_texts(corpus: Path) -> Texts:
    """Memory-map every domain's shards.

    Raises:
        CorpusError: when the corpus is missing or damaged.
    """
    names = [domain.name for domain in Inventory.load(corpus).domains]
    return Texts(
        train={name: open_shard(corpus, name, "train") for name in names},
        validation={name: open_shard(corpus, name, "validation") for name in names},
        token_bytes=token_bytes(corpus),
    )


def resolve_device(wanted: str) -> str:
    """`auto` -> "cuda" where there is one, else "cpu".

    Raises:
        ConfigError: when CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError("proxies.device is cuda, but torch finds no CUDA device", "set it to auto or cpu")
    return "cuda" if available and wanted != "cpu" else "cpu"
