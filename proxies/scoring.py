"""Signals of a study's documents by one of its proxies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixlab.corpus.read.texts import read, study_texts
from mixlab.corpus.tokenizer import TOKENIZER_FILE, load_tokenizer
from mixlab.errors import CorpusError
from mixlab.runs.flops import training_flops
from mixlab.study.folder import StudyFolder
from proxies.backend.choice import choose_backend, make_engine
from proxies.model.engine import State
from proxies.training.checkpoint import load_model
from proxies.training.perplexity import score_documents


@dataclass(frozen=True)
class DocumentScores:
    """Signals of documents.

    Attributes:
        ids: of the documents, in the order they were read.
        columns: `perplexity` per token and `bits_per_byte`, a value per document each.
        characters: of all documents together.
    """

    ids: list[str]
    columns: dict[str, list[float]]
    characters: int


def score_study(folder: StudyFolder, checkpoint: Path, domains: Sequence[str], most_tokens: int) -> DocumentScores:
    """Score the documents of `domains` (all, where none is named) by the model in `checkpoint`.

    Args:
        folder: a prepared study.
        checkpoint: a finished model of it.
        domains: names of its domains.
        most_tokens: of each document, from its beginning.

    Raises:
        ConfigError: when the study has no such domain.
        CorpusError: when the model was trained on another tokenizer's tokens, or a file is damaged.
    """
    parameters, spec = load_model(checkpoint)
    tokenizer = load_tokenizer(folder.corpus / TOKENIZER_FILE)
    if spec.shape.vocab_size != tokenizer.vocab_size:
        raise CorpusError(
            f"{checkpoint} has {spec.shape.vocab_size:,} token ids, but the study's tokenizer {tokenizer.vocab_size:,}",
            "name a checkpoint of this study, or `mixlab sweep` it again",
        )
    engine = make_engine(choose_backend(folder.config.proxies), [spec])
    unused = np.zeros_like(parameters)
    engine.restore(State(parameters[None], unused[None], unused[None]))
    ids: list[str] = []
    characters = 0

    def texts() -> Iterator[str]:
        nonlocal characters
        for doc in read(study_texts(folder, domains)):
            ids.append(doc.id)
            characters += len(doc.text)
            yield doc.text

    scores = list(score_documents(engine, spec.shape.context, tokenizer, texts(), most_tokens))
    columns = {
        "perplexity": [each.perplexity for each in scores],
        "bits_per_byte": [each.bits_per_byte for each in scores],
    }
    return DocumentScores(ids, columns, characters)


def best_checkpoint(folder: Path) -> Path:
    """The finished model of most training FLOPs; of equals the one whose mixture is nearest to uniform.

    Raises:
        CorpusError: when the folder has none.
    """
    found = sorted(folder.glob("*.model.safetensors"))
    if not found:
        raise CorpusError(
            f"no finished model in {folder}", "run `mixlab sweep DIR` first, or name one with --checkpoint"
        )

    def rank(path: Path) -> tuple[float, float]:
        _, spec = load_model(path)
        return training_flops(spec.shape, spec.tokens[-1]), -max(spec.mixture.values())

    return max(found, key=rank)
