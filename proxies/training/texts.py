"""Opening a prepared corpus for training."""

from __future__ import annotations

from pathlib import Path

from mixlab.corpus.inventory import Inventory
from mixlab.corpus.shards import open_shard, token_bytes
from proxies.training.train import CorpusTokens


def open_texts(corpus: Path) -> CorpusTokens:
    """Memory-map every domain's shards.

    Raises:
        CorpusError: when the corpus is missing or damaged.
    """
    names = [domain.name for domain in Inventory.load(corpus).domains]
    return CorpusTokens(
        train={name: open_shard(corpus, name, "train") for name in names},
        validation={name: open_shard(corpus, name, "validation") for name in names},
        token_bytes=token_bytes(corpus),
    )
