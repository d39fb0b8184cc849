"""Signals of a study's documents by one of its proxies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixlab.corpus.read.texts import read, study_texts
from mixlab.corpus.signals.scores import SCORES_FILE, write_scores
from mixlab.corpus.tokenizer import TOKENIZER_FILE, load_tokenizer
from mixlab.errors import CorpusError, argument
from mixlab.runs.flops import training_flops
from mixlab.shown import Shown
from mixlab.study.folder import StudyFolder
from proxies.backend.choice import choose_backend, make_engine
from proxies.model.engine import State
from proxies.training.checkpoint import load_model
from proxies.training.perplexity import MOST_TOKENS, score_documents

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class DocumentScores(Shown):
    """Signals of documents.

    Attributes:
        ids: of the documents, in the order they were read.
        columns: `perplexity` per token and `bits_per_byte`, a value per document each.
        characters: of all documents together.
        checkpoint: the model.
        path: the parquet that holds ids and columns.
        seconds: that the scoring took.
    """

    ids: list[str]
    columns: dict[str, list[float]]
    characters: int
    checkpoint: Path
    path: Path
    seconds: float

    @property
    def medians(self) -> dict[str, float]:
        """By column."""
        return {name: float(np.median(values)) for name, values in self.columns.items()}

    def __repr__(self) -> str:
        return f"<DocumentScores: {len(self.ids):,} documents, in {self.path}>"

    def parts(self) -> Iterator[RenderableType]:
        """Where they are, and their medians."""
        middle = ", ".join(f"{name} {value:.4g}" for name, value in self.medians.items())
        yield f"perplexity by {self.checkpoint.name} in {self.path} (medians: {middle})"

    def to_frame(self) -> pd.DataFrame:
        """A row per document."""
        import pandas as pd

        return pd.DataFrame({"id": self.ids, **self.columns})

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `mixlab score --json`."""
        return {
            "scores": str(self.path),
            "checkpoint": str(self.checkpoint),
            "documents": len(self.ids),
            "median": self.medians,
        }


def score_study(
    folder: StudyFolder,
    domains: Sequence[str] = (),
    checkpoint: Path | None = None,
    most_tokens: int = MOST_TOKENS,
    path: Path | None = None,
) -> DocumentScores:
    """Score documents by a model of the study, and write a parquet that `mixlab classify --scores` reads.

    Args:
        folder: a prepared study.
        domains: names of its domains; none: all.
        checkpoint: a finished model of it; absent: see `best_checkpoint`.
        most_tokens: of each document, from its beginning.
        path: what to write; absent: classify/scores.parquet in the study's folder.

    Raises:
        ConfigError: when the study has no such domain.
        CorpusError: when no model is finished, or it was trained on another tokenizer's tokens, or a file is damaged.
        WriteError: when the parquet cannot be written.
    """
    started = time.perf_counter()
    checkpoint = checkpoint or best_checkpoint(folder.checkpoints)
    path = path or folder.classification / SCORES_FILE
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
    write_scores(path, ids, columns)
    return DocumentScores(ids, columns, characters, checkpoint, path, time.perf_counter() - started)


def best_checkpoint(folder: Path) -> Path:
    """The finished model of most training FLOPs; of equals the one whose mixture is nearest to uniform.

    Raises:
        CorpusError: when the folder has none.
    """
    found = sorted(folder.glob("*.model.safetensors"))
    if not found:
        raise CorpusError(
            f"no finished model in {folder}", f"run `mixlab sweep DIR` first, or name one by {argument('checkpoint')}"
        )

    def rank(path: Path) -> tuple[float, float]:
        _, spec = load_model(path)
        return training_flops(spec.shape, spec.tokens[-1]), -max(spec.mixture.values())

    return max(found, key=rank)
