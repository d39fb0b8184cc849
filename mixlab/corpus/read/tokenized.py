"""Text that is tokenised already: flat .bin files of ids (nanoGPT, llm.c) and Megatron's .bin with its .idx.

The ids of both are taken as they are, so the study's tokenizer must be the one they were made with; that their ids fit
its vocabulary is checked. A document ends with the end-of-document id, which is not part of it; Megatron's index also
says where documents begin. Where a flat file has no such id, windows of `WINDOW_TOKENS` ids are documents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.read.sources import Source
from mixlab.errors import CorpusError

WINDOW_TOKENS = 2048
_PART = 1 << 20
_LLMC_MAGIC, _LLMC_HEADER = 20240520, 1024
_MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
_MEGATRON_DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}

Ids = NDArray[np.integer]


@dataclass(frozen=True)
class IdsFormat:
    """How the ids of a domain are stored.

    Attributes:
        kind: `nanogpt` or `megatron`.
        dtype: of a flat file.
        end: the id that ends a document.
        vocab_size: ids are smaller.
    """

    kind: str
    dtype: str
    end: int
    vocab_size: int


def id_rows(source: Source, form: IdsFormat) -> Iterator[tuple[int, Ids]]:
    """Yield (document from 1, its ids, shape (n,)) of one .bin file.

    Raises:
        CorpusError: when the file is remote, empty or truncated, or holds an id outside the vocabulary.
    """
    if source.is_url:
        raise CorpusError(f"{source}: tokenised files must be on disk, but this is a URL", "download it first")
    path = Path(source.name)
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty", "remove it from the paths, or download it again")
    documents = _megatron(path, form) if form.kind == "megatron" else _flat(path, form)
    row = 0
    for row, ids in enumerate(documents, 1):
        if len(ids) and int(ids.max()) >= form.vocab_size:
            raise CorpusError(
                f"{path}, document {row}: id {int(ids.max())} is outside the tokenizer's vocabulary of "
                f"{form.vocab_size}",
                "set corpus.tokenizer to the tokenizer that made the file, and dtype to the type of its ids",
            )
        yield row, ids.astype(np.uint32)
    if row == 0:
        raise CorpusError(f"{path} holds no document", "remove it from the paths")


def _flat(path: Path, form: IdsFormat) -> Iterator[Ids]:
    """Documents of a flat file: up to the ends where it has any, else windows."""
    ids = _map_flat(path, form.dtype)
    ended, start = False, 0
    for at in range(0, len(ids), _PART):
        part = ids[at : at + _PART]
        for end in np.flatnonzero(part == form.end) + at:
            ended = True
            if end > start:
                yield from _windows(ids[start:end], _PART)
            start = int(end) + 1
    if start < len(ids):
        yield from _windows(ids[start:], _PART if ended else WINDOW_TOKENS)


def _windows(ids: Ids, size: int) -> Iterator[Ids]:
    for at in range(0, len(ids), size):
        yield np.asarray(ids[at : at + size])


def _map_flat(path: Path, dtype: str) -> Ids:
    """The ids of a flat file, mapped; llm.c's header of 256 words, which says their number, is passed over."""
    item = np.dtype(dtype).newbyteorder("<")
    size, offset = path.stat().st_size, 0
    with open(path, "rb") as file:
        head = file.read(12)
    if len(head) == 12 and struct.unpack("<i", head[:4])[0] == _LLMC_MAGIC:
        offset, count = _LLMC_HEADER, struct.unpack("<i", head[8:])[0]
        if size != offset + count * item.itemsize:
            raise CorpusError(
                f"{path} must have {offset + count * item.itemsize:,} bytes by its header, but has {size:,}",
                "download the file again, or correct the domain's dtype",
            )
    if (size - offset) % item.itemsize or size == offset:
        raise CorpusError(
            f"{path} has {size - offset:,} bytes of ids, which is no positive multiple of {item.itemsize}",
            "download the file again, or correct the domain's dtype",
        )
    return np.memmap(path, dtype=item, mode="r", offset=offset)


def _megatron(path: Path, form: IdsFormat) -> Iterator[Ids]:
    """Documents by the index; a document's sequences are joined, and its closing end of document is cut off."""
    lengths, pointers, bounds, dtype = _read_index(path.with_suffix(".idx"))
    required = int(np.max(pointers + lengths * dtype.itemsize, initial=0))
    size = path.stat().st_size
    if size < required:
        raise CorpusError(f"{path} must have {required:,} bytes by its index, but has {size:,}", "download it again")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    for first, last in pairwise(bounds):
        parts = [
            data[pointers[at] : pointers[at] + lengths[at] * dtype.itemsize].view(dtype) for at in range(first, last)
        ]
        ids = np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
        if len(ids) and ids[-1] == form.end:
            ids = ids[:-1]
        if len(ids) and int(ids.min()) < 0:
            raise CorpusError(f"{path} holds a negative id", "the index does not match the file; download both again")
        if len(ids):
            yield ids


def _read_index(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], np.dtype]:
    """(ids by sequence, byte offsets of sequences, document bounds in sequences, dtype) of a Megatron index."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}", "put the .idx beside its .bin") from None
    head = len(_MEGATRON_MAGIC)
    try:
        if data[:head] != _MEGATRON_MAGIC:
            raise ValueError("it starts with other bytes")
        version, code, sequences, bounds = struct.unpack_from("<QBQQ", data, head)
        if version != 1 or code not in _MEGATRON_DTYPES:
            raise ValueError(f"version {version} or dtype {code} is not known")
        at = head + struct.calcsize("<QBQQ")
        lengths = np.frombuffer(data, "<i4", sequences, at).astype(np.int64)
        pointers = np.frombuffer(data, "<i8", sequences, at + 4 * sequences)
        documents = np.frombuffer(data, "<i8", bounds, at + 12 * sequences)
    except (ValueError, struct.error) as error:
        raise CorpusError(f"{path} is not a whole Megatron index: {error}", "download the file again") from None
    return lengths, pointers, documents, np.dtype(_MEGATRON_DTYPES[code])
