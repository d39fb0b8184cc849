"""The files that blocks are kept in while a corpus is built: named arrays and a few facts, written whole or not at all.

They are numpy's .npz, whose checksums tell a damaged file. They are not forced to disk as shards are: what a power cut
damages is noticed, and built again with --force.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.shards import REBUILD
from mixlab.errors import CorpusError

_FACTS = "facts"


def write_block(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Any = None) -> None:
    """Write arrays by name, and `facts` that JSON can hold."""
    part = path.with_name(f"{path.name}.part")
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    with open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **{**arrays, _FACTS: text})
    os.replace(part, path)


def read_block(path: Path) -> tuple[dict[str, NDArray[Any]], Any]:
    """(arrays, facts).

    Raises:
        CorpusError: when the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(arrays.pop(_FACTS).tobytes())
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{path} is damaged: {error}", REBUILD) from None
