"""`mixlab score`: a signal per document by a proxy of the study, as a parquet that `mixlab classify --scores` reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from mixlab.commands.options import json_option, print_json, say
from mixlab.corpus.read.texts import DomainTexts, domain_texts, read
from mixlab.corpus.signals.scores import write_scores
from mixlab.corpus.tokenizer import TOKENIZER_FILE, load_tokenizer
from mixlab.errors import ConfigError, CorpusError, did_you_mean
from mixlab.runs.flops import training_flops
from mixlab.study.folder import StudyFolder
from mixlab.units import format_quantity, format_seconds
from proxies.compute.compute import make_engine, resolve_compute
from proxies.model.engine import State
from proxies.training.checkpoint import load_model
from proxies.training.perplexity import score_documents


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--signal", type=click.Choice(["perplexity"]), default="perplexity", show_default=True, help="Which.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Score this domain (default: all).")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A model of the study's checkpoints/ (default: the one of most training FLOPs).",
)
@click.option("--max-tokens", type=click.IntRange(min=1), default=4096, show_default=True, help="Of each document.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: DIR/classify/scores.parquet"
)
@json_option
def score(
    directory: Path,
    signal: str,
    domains: tuple[str, ...],
    checkpoint: Path | None,
    max_tokens: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Perplexity of every document under a proxy that the study in DIR trained.

    Writes a parquet with columns id, perplexity (per token) and bits_per_byte; `mixlab classify DIR --scores FILE`
    then splits by it (--by perplexity) or filters (--keep 'perplexity < 40').
    """
    folder = StudyFolder.open(directory)
    path = checkpoint or best_checkpoint(folder.checkpoints)
    parameters, spec = load_model(path)
    tokenizer = load_tokenizer(folder.corpus / TOKENIZER_FILE)
    if spec.shape.vocab_size != tokenizer.vocab_size:
        raise CorpusError(
            f"{path} has {spec.shape.vocab_size:,} token ids, but the study's tokenizer {tokenizer.vocab_size:,}",
            "name a checkpoint of this study, or `mixlab sweep` it again",
        )
    engine = make_engine(resolve_compute(folder.config.proxies), [spec])
    unused = np.zeros_like(parameters)
    engine.restore(State(parameters[None], unused[None], unused[None]))
    start = time.perf_counter()
    ids: list[str] = []
    size = 0

    def texts() -> Iterator[str]:
        nonlocal size
        for doc in read(_sources(folder, domains)):
            ids.append(doc.id)
            size += len(doc.text)
            yield doc.text

    scores = list(score_documents(engine, spec.shape.context, tokenizer, texts(), max_tokens))
    target = out or folder.root / "classify" / "scores.parquet"
    columns = {
        "perplexity": [each.perplexity for each in scores],
        "bits_per_byte": [each.bits_per_byte for each in scores],
    }
    write_scores(target, ids, columns)
    say(f"scored {len(ids):,} documents, {format_quantity(size)}B, in {format_seconds(time.perf_counter() - start)}")
    medians = {name: float(np.median(values)) for name, values in columns.items()}
    if as_json:
        print_json({"scores": str(target), "checkpoint": str(path), "documents": len(ids), "median": medians})
    else:
        middle = ", ".join(f"{name} {value:.4g}" for name, value in medians.items())
        click.echo(f"{signal} by {path.name} in {target} (medians: {middle})")


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


def _sources(folder: StudyFolder, domains: Sequence[str]) -> list[DomainTexts]:
    known = folder.config.domains
    for name in domains:
        if name not in known:
            raise ConfigError(f"there is no domain `{name}` in {folder.config_file}", did_you_mean(name, known))
    return [domain_texts(name, known[name], folder.root) for name in domains or known]
