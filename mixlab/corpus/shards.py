"""Token shards: one flat file of token ids per domain and split, memory-mapped, with a JSON sidecar.

`<slug>.<split>.bin` holds little-endian ids, documents one after another, each closed by the end-of-document id;
`<slug>.<split>.json` its dtype, count, SHA-256 and tokenizer.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import CorpusError
from mixlab.files import read_json, write_json

SPLITS = ("train", "validation")
TOKEN_BYTES_FILE = "token_bytes.npy"
MAX_SLUG = 48
REBUILD = "run `mixlab prepare DIR --force` to build the shards again"


@dataclass(frozen=True)
class ShardInfo:
    """A shard's sidecar: ids' dtype, number of ids, SHA-256 of the file, hash of the tokenizer."""

    domain: str
    split: str
    dtype: str
    count: int
    sha256: str
    tokenizer: str


def slug(name: str) -> str:
    """A file name for a domain: itself where it is short, plain and lower-case, else made plain plus a hash."""
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:MAX_SLUG]
    if plain == name:
        return name
    return f"{plain or 'domain'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds ids below `vocab_size`."""
    for name in ("uint8", "uint16", "uint32"):
        if vocab_size <= np.iinfo(name).max + 1:
            return np.dtype(name).newbyteorder("<")
    raise CorpusError(f"a vocabulary has at most 2**32 ids, but got {vocab_size}", "use a smaller tokenizer")


def closed_ids(ids: NDArray[np.integer], vocab_size: int, end: int) -> bytes:
    """One document's ids, shape (n,), and the end of the document, as a shard holds them."""
    closed = np.empty(len(ids) + 1, dtype=token_dtype(vocab_size))
    closed[:-1] = ids
    closed[-1] = end
    return closed.tobytes()


class ShardWriter:
    """Appends documents to one shard; the sidecar is written by `close`, so half a shard has none."""

    def __init__(self, folder: Path, domain: str, split: str, vocab_size: int, tokenizer: str) -> None:
        self._path = folder / f"{slug(domain)}.{split}.bin"
        self._file = open(self._path, "wb")  # noqa: SIM115 - lives until close()
        self._dtype = token_dtype(vocab_size)
        self._digest = hashlib.sha256()
        self._facts = (domain, split, tokenizer)
        self.count = 0

    def append(self, data: bytes) -> None:
        """Write documents that `closed_ids` made."""
        self._file.write(data)
        self._digest.update(data)
        self.count += len(data) // self._dtype.itemsize

    def close(self) -> ShardInfo:
        """Flush to disk and write the sidecar."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        domain, split, tokenizer = self._facts
        info = ShardInfo(domain, split, self._dtype.name, self.count, self._digest.hexdigest(), tokenizer)
        write_json(self._path.with_suffix(".json"), asdict(info))
        return info

    def abort(self) -> None:
        """Give up: the file is closed and stays without a sidecar."""
        self._file.close()


def shard_info(corpus_dir: Path | str, domain: str, split: str) -> ShardInfo:
    """The sidecar of a shard.

    Raises:
        CorpusError: when there is none, or it is not one.
    """
    if split not in SPLITS:
        raise CorpusError(f"a split is one of {', '.join(SPLITS)}, but got `{split}`", "name one of them")
    path = Path(corpus_dir) / f"{slug(domain)}.{split}.json"
    if not path.is_file():
        raise CorpusError(f"domain `{domain}` has no {split} shard in {corpus_dir}", "run `mixlab prepare DIR`")
    try:
        return ShardInfo(**read_json(path, REBUILD))
    except TypeError:
        raise CorpusError(f"{path} does not describe a shard", REBUILD) from None


def open_shard(corpus_dir: Path | str, domain: str, split: str) -> np.memmap:
    """Map a shard's ids read-only, shape (count,), dtype uint8, uint16 or uint32.

    Raises:
        CorpusError: when it is missing or its length is not what the sidecar says.
    """
    info = shard_info(corpus_dir, domain, split)
    path = _shard_path(corpus_dir, info)
    dtype = np.dtype(info.dtype).newbyteorder("<")
    required = info.count * dtype.itemsize
    given = path.stat().st_size if path.is_file() else 0
    if given != required:
        raise CorpusError(f"shard {path} must have {required:,} bytes, but has {given:,}", REBUILD)
    return np.memmap(path, dtype=dtype, mode="r", shape=(info.count,))


def verify_shard(corpus_dir: Path | str, domain: str, split: str) -> ShardInfo:
    """Read a shard whole and compare it with its sidecar.

    Raises:
        CorpusError: naming the file whose checksum differs.
    """
    info = shard_info(corpus_dir, domain, split)
    open_shard(corpus_dir, domain, split)
    path = _shard_path(corpus_dir, info)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != info.sha256:
        raise CorpusError(
            f"checksum mismatch in shard {path}: expected {info.sha256[:12]}, but found {found[:12]}", REBUILD
        )
    return info


def token_bytes(corpus_dir: Path | str) -> NDArray[np.int32]:
    """UTF-8 bytes that each token id stands for, shape (V,); the end of a document stands for none.

    Raises:
        CorpusError: when the corpus is not prepared or the file is damaged.
    """
    path = Path(corpus_dir) / TOKEN_BYTES_FILE
    try:
        lengths: NDArray[np.int32] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"no prepared corpus in {corpus_dir}", "run `mixlab prepare DIR` first") from None
    except (ValueError, EOFError, OSError) as error:
        raise CorpusError(f"{path} is damaged: {error}", REBUILD) from None
    return lengths


def _shard_path(corpus_dir: Path | str, info: ShardInfo) -> Path:
    return Path(corpus_dir) / f"{slug(info.domain)}.{info.split}.bin"
