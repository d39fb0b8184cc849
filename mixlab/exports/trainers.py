"""Each trainer's own syntax for a mixture of weighted sources."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import yaml

from mixlab.errors import ConfigError
from mixlab.exports.mix import DIGITS, Mix, rounded


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
            "give `tokens_per_document`, or export from a study folder, whose inventory knows them",
        )
    documents = rounded({s.name: s.weight / mix.tokens_per_document[s.name] for s in mix.sources})
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
            "link them into one folder, and give paths in it as `data`",
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


def _paths(mix: Mix) -> list[str]:
    return [source.path for source in mix.sources]


def _weights(mix: Mix) -> list[float]:
    return [source.weight for source in mix.sources]


def _yaml(data: object) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)).rstrip("\n")
