"""Tokenizers: bytes, BPE trained on the study's own text, or somebody's tokenizer.json.

All of them are byte-level, so that every text has tokens, and every token a known number of bytes: a loss in nats per
token can always be given in bits per byte. One id ends a document and stands for no byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixlab.errors import CorpusError, MixlabError
from mixlab.files import write_atomic

TOKENIZER_FILE = "tokenizer.json"
END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")

Ids = NDArray[np.integer]


class Tokenizer(Protocol):
    """What the corpus needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Ids are 0 <= id < vocab_size."""

    @property
    def end_of_document(self) -> int:
        """The id that is put after every document."""

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of all that decides the ids."""

    def encode(self, text: str) -> Ids:
        """The ids of `text`, shape (n,), without the end of the document."""

    def byte_lengths(self) -> NDArray[np.int32]:
        """UTF-8 bytes that each id stands for, shape (vocab_size,)."""

    def save(self, path: Path) -> None:
        """Write the file that `load_tokenizer` reads."""


class ByteTokenizer:
    """A token is a byte; 256 ends a document."""

    vocab_size = 257
    end_of_document = 256

    @property
    def hash(self) -> str:
        return hashlib.sha256(b"byte-257").hexdigest()

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode(), dtype=np.uint8)

    def byte_lengths(self) -> NDArray[np.int32]:
        lengths = np.ones(257, dtype=np.int32)
        lengths[256] = 0
        return lengths

    def save(self, path: Path) -> None:
        write_atomic(path, b'{"mixlab": "byte"}\n')


class BpeTokenizer:
    """A byte-level tokenizer of the `tokenizers` library.

    The end of a document is the tokenizer's own special token (one of `END_TOKENS`) or, without one, an id after the
    last.
    """

    def __init__(self, source: str) -> None:
        """Args:
        source: the text of a tokenizer.json.

        Raises:
            CorpusError: when it is no tokenizer, or not a byte-level one.
            MixlabError: when `tokenizers` is not installed.
        """
        self._source = source
        try:
            self._inner: Any = _library().Tokenizer.from_str(source)
        except MixlabError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise CorpusError(f"not a tokenizer.json: {error}", "give a file written by `tokenizers`") from None
        if '"ByteLevel"' not in source:
            raise CorpusError(
                "the tokenizer must be byte-level, but its tokenizer.json has no ByteLevel step",
                "use `bpe` or `byte`, or a byte-level tokenizer (GPT-2's and Llama 3's are)",
            )
        # Text that spells a special token stays text.
        self._inner.encode_special_tokens = True
        added = {token.content: int(ident) for ident, token in self._inner.get_added_tokens_decoder().items()}
        self._added = added
        ids = self._inner.get_vocab().values()
        size = 1 + max([*ids, *added.values()], default=-1)
        end = next((added[name] for name in END_TOKENS if name in added), None)
        self.end_of_document: int = size if end is None else end
        self.vocab_size: int = size + 1 if end is None else size

    @property
    def hash(self) -> str:
        return hashlib.sha256(self._source.encode()).hexdigest()

    def encode(self, text: str) -> Ids:
        return np.array(self._inner.encode(text, add_special_tokens=False).ids, dtype=np.uint32)

    def byte_lengths(self) -> NDArray[np.int32]:
        lengths = np.zeros(self.vocab_size, dtype=np.int32)
        for token, ident in self._inner.get_vocab().items():
            # A byte-level vocabulary spells each byte as one character; an added token is spelled as it is.
            lengths[ident] = len(token.encode()) if token in self._added else len(token)
        lengths[self.end_of_document] = 0
        return lengths

    def save(self, path: Path) -> None:
        write_atomic(path, self._source.encode())


def train_bpe(texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Train a byte-level BPE on `texts`; its ids and the end of a document are at most `vocab_size`.

    Source: Sennrich et al. 2016, section 3.2; over bytes as in Radford et al. 2019, section 2.2.
    """
    library = _library()
    inner = library.Tokenizer(library.models.BPE())
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        show_progress=False,
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
    )
    inner.train_from_iterator(texts, trainer)
    return BpeTokenizer(inner.to_str())


def tokenizer_path(name: str, base_dir: Path) -> Path:
    """The file that a study's `corpus.tokenizer` names where it is neither `byte` nor `bpe`."""
    return base_dir / Path(name).expanduser()


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json, ours or the `tokenizers` library's.

    Raises:
        CorpusError: when it is missing or is not a byte-level tokenizer.
    """
    try:
        source = path.read_text(encoding="utf-8")
        data = json.loads(source)
    except OSError as error:
        raise CorpusError(
            f"cannot read tokenizer {path}: {error.strerror}", "set corpus.tokenizer to byte, bpe or a tokenizer.json"
        ) from None
    except ValueError as error:
        raise CorpusError(f"{path} is not a tokenizer.json: {error}", "give a file written by `tokenizers`") from None
    if data == {"mixlab": "byte"}:
        return ByteTokenizer()
    return BpeTokenizer(source)


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise MixlabError("this tokenizer needs the package `tokenizers`", "pip install mixlab[data]") from None
    return tokenizers
