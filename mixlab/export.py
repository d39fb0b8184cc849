"""`mixlab export`: a recommended mixture in a trainer's own syntax.

Weights are fractions of tokens. Most trainers sample token sequences and take them as they are; the one that samples
documents (`hf`) gets probabilities of documents, in proportion to weight over mean tokens per document.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from mixlab.errors import ConfigError, did_you_mean
from mixlab.folder import StudyFolder, read_json, write_atomic
from mixlab.options import json_option, parse_pairs, print_json, say

DIGITS = 6


@dataclass(frozen=True)
class Source:
    """One domain as a trainer sees it: its name, where its data lies, and its weight."""

    name: str
    path: str
    weight: float


@dataclass(frozen=True)
class Mix:
    """What is exported.

    Attributes:
        sources: domains of positive weight; weights have `DIGITS` decimals and sum to 1.
        tokens_per_document: mean by domain, where known.
        max_repetition: how often a source's tokens may be seen (1 where the answer repeats nothing).
        seed: of the trainer's own sampling.
    """

    sources: tuple[Source, ...]
    tokens_per_document: Mapping[str, float]
    max_repetition: float
    seed: int


def _megatron(mix: Mix) -> str:
    return "--data-path " + " ".join(f"{source.weight:g} {shlex.quote(source.path)}" for source in mix.sources)


def _neox(mix: Mix) -> str:
    data = {"train-data-paths": _paths(mix), "train-data-weights": _weights(mix)}
    return json.dumps(data, indent=2, ensure_ascii=False)


def _olmo_core(mix: Mix) -> str:
    sources = [
        {
            "source_name": source.name,
            "target_ratio": source.weight,
            "paths": [source.path],
            "max_repetition_ratio": mix.max_repetition,
            "max_source_fraction": 1.0,
        }
        for source in mix.sources
    ]
    return _yaml({"sources": sources})


def _mosaic(mix: Mix) -> str:
    streams = {
        source.name: {"local": source.path, "split": "train", "proportion": source.weight} for source in mix.sources
    }
    return _yaml({"train_loader": {"dataset": {"streams": streams}}})


def _hf(mix: Mix) -> str:
    missing = [source.name for source in mix.sources if source.name not in mix.tokens_per_document]
    if missing:
        raise ConfigError(
            f"interleave_datasets samples documents, so the tokens per document of {', '.join(missing)} are needed",
            f"give --tokens-per-document {missing[0]}=MEAN, or export from a study folder, whose inventory knows them",
        )
    documents = _rounded({s.name: s.weight / mix.tokens_per_document[s.name] for s in mix.sources})
    datasets = ",\n".join(f'        load_dataset({s.path!r}, split="train", streaming=True)' for s in mix.sources)
    return (
        "from datasets import interleave_datasets, load_dataset\n\n"
        "# Probabilities of documents: weight over mean tokens per document.\n"
        f"dataset = interleave_datasets(\n    [\n{datasets},\n    ],\n"
        f"    probabilities={[documents[source.name] for source in mix.sources]},\n"
        f'    seed={mix.seed},\n    stopping_strategy="all_exhausted",\n)'
    )


def _torchtitan(mix: Mix) -> str:
    datasets = "".join(f"        WeightedDataset(dataset={s.path!r}, weight={s.weight:g}),\n" for s in mix.sources)
    return f"DatasetMixConfig(\n    datasets=(\n{datasets}    ),\n)"


def _nanotron(mix: Mix) -> str:
    return _yaml({"dataset_folder": _paths(mix), "dataset_weights": _weights(mix)})


def _litgpt(mix: Mix) -> str:
    datasets = "".join(f"        StreamingDataset({source.path!r}),\n" for source in mix.sources)
    return (
        "from litdata import CombinedStreamingDataset, StreamingDataset\n\n"
        f"dataset = CombinedStreamingDataset(\n    datasets=[\n{datasets}    ],\n    seed={mix.seed},\n"
        f"    weights={tuple(_weights(mix))},\n    iterate_over_all=False,\n)"
    )


def _lingua(mix: Mix) -> str:
    parents = {str(Path(source.path).parent) for source in mix.sources}
    if len(parents) > 1:
        raise ConfigError(
            f"lingua reads all sources from one root_dir, but got {', '.join(sorted(parents))}",
            "link them into one folder, and give paths in it with --data",
        )
    sources = {Path(source.path).name: round(100 * source.weight, DIGITS - 2) for source in mix.sources}
    return _yaml({"data": {"root_dir": parents.pop(), "sources": sources}})


def _levanter(mix: Mix) -> str:
    configs = {source.name: {"train_urls": [source.path]} for source in mix.sources}
    return _yaml({"data": {"configs": configs, "train_weights": {s.name: s.weight for s in mix.sources}}})


TRAINERS: dict[str, Callable[[Mix], str]] = {
    "megatron": _megatron,
    "olmo-core": _olmo_core,
    "mosaic": _mosaic,
    "hf": _hf,
    "torchtitan": _torchtitan,
    "nanotron": _nanotron,
    "litgpt": _litgpt,
    "lingua": _lingua,
    "levanter": _levanter,
    "neox": _neox,
}


def make_mix(
    recommendation: Mapping[str, object],
    paths: Mapping[str, str],
    tokens_per_document: Mapping[str, float],
    seed: int = 0,
) -> Mix:
    """What to export.

    Args:
        recommendation: the JSON of `mixlab recommend`.
        paths: by domain; a domain that is absent is found under its own name.
        tokens_per_document: mean by domain, for trainers that sample documents.
        seed: of the trainer's sampling.

    Raises:
        ConfigError: a recommendation without a mixture, or a path for a domain that it does not have.
    """
    mixture = recommendation.get("mixture")
    if not isinstance(mixture, dict) or not mixture:
        raise ConfigError(
            "the recommendation holds no mixture", "make one with `mixlab recommend` on runs with mixtures"
        )
    for name in (*paths, *tokens_per_document):
        if name not in mixture:
            raise ConfigError(f"the mixture has no domain `{name}`", did_you_mean(name, mixture))
    weights = _rounded(mixture)
    epochs = recommendation.get("epochs")
    seen = max((float(value) for value in epochs.values()), default=1.0) if isinstance(epochs, dict) else 1.0
    sources = tuple(Source(name, paths.get(name, name), weight) for name, weight in weights.items())
    return Mix(sources, tokens_per_document, max(1.0, math.ceil(seen * 100) / 100), seed)


@click.command()
@click.argument("recommendation", type=click.Path(path_type=Path))
@click.option("--to", "trainer", type=click.Choice(tuple(TRAINERS)), required=True, help="Whose syntax.")
@click.option("--data", multiple=True, metavar="D=PATH", help="Where a domain's data lies for the trainer.")
@click.option("--tokens-per-document", multiple=True, metavar="D=MEAN,...", help="For those that sample documents.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the trainer's own sampling.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it here (default: stdout).")
@json_option
def export(
    recommendation: Path,
    trainer: str,
    data: tuple[str, ...],
    tokens_per_document: tuple[str, ...],
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print the mixture of RECOMMENDATION (a recommendation.json, or a study's folder) for a trainer."""
    known: dict[str, float] = {}
    if recommendation.is_dir():
        folder = StudyFolder.open(recommendation)
        known = _document_lengths(folder)
        recommendation = folder.recommendation
    answer = read_json(recommendation, "make one with `mixlab recommend`")
    lengths = known | parse_pairs(tokens_per_document, "--tokens-per-document")
    mix = make_mix(answer, _parse_paths(data), lengths, seed)
    text = TRAINERS[trainer](mix)
    if output is not None:
        write_atomic(output, (text + "\n").encode())
        say(f"wrote {output}")
    if as_json:
        print_json({"trainer": trainer, "weights": {s.name: s.weight for s in mix.sources}, "text": text})
    elif output is None:
        click.echo(text)


def _document_lengths(folder: StudyFolder) -> dict[str, float]:
    """Mean tokens per document of every domain that is trained on, from the study's inventory."""
    from mixlab.corpus.inventory import Inventory

    shards = Inventory.load(folder.corpus).shards
    return {
        name: (facts.train_tokens + facts.validation_tokens) / facts.documents
        for name, facts in shards.items()
        if name in folder.config.trained
    }


def _parse_paths(values: tuple[str, ...]) -> dict[str, str]:
    paths = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise ConfigError(
                f"--data takes DOMAIN=PATH, but got `{value}`", "write --data web=/data/web_text_document"
            )
        paths[name] = path
    return paths


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    """Positive weights with `DIGITS` decimals that sum to exactly 1, by largest remainders; the others are left out."""
    total, unit = math.fsum(weights.values()), 10**DIGITS
    exact = {name: weight / total * unit for name, weight in weights.items()}
    whole = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: unit - sum(whole.values())]:
        whole[name] += 1
    return {name: count / unit for name, count in whole.items() if count}


def _paths(mix: Mix) -> list[str]:
    return [source.path for source in mix.sources]


def _weights(mix: Mix) -> list[float]:
    return [source.weight for source in mix.sources]


def _yaml(data: object) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)).rstrip("\n")
