"""`mixlab.export`: a recommended mixture in a trainer's own syntax."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from mixlab.api import given
from mixlab.corpus.inventory import Inventory
from mixlab.errors import ConfigError, did_you_mean, require_kind
from mixlab.exports.mix import Mix, make_mix
from mixlab.exports.trainers import TRAINERS
from mixlab.files import read_json
from mixlab.runs.read import study_of
from mixlab.search.recommendation import Recommendation
from mixlab.study.folder import StudyFolder

TABLES = (".csv", ".parquet")


def export(
    recommendation: Recommendation | Mapping[str, Any] | str | Path,
    to: str,
    *,
    data: Mapping[str, str] | None = None,
    tokens_per_document: given.Weights | None = None,
    seed: int = 0,
) -> str:
    """The mixture as a trainer reads it.

    Args:
        recommendation: what `recommend` gave, a recommendation.json, a study's folder, or just `{"mixture": {...}}`.
        to: the trainer: megatron, olmo-core, mosaic, hf, torchtitan, nanotron, litgpt, lingua, levanter or neox.
        data: where each domain's data lies for the trainer; absent: under its own name.
        tokens_per_document: mean by domain, for trainers that sample documents; a study's folder knows them.
        seed: of the trainer's own sampling.

    Raises:
        ConfigError: on an unknown trainer, a recommendation without a mixture, or a domain that it does not have.
    """
    if to not in TRAINERS:
        raise ConfigError(f"no trainer is called `{to}`", did_you_mean(to, TRAINERS))
    return TRAINERS[to](mix_of(recommendation, data, tokens_per_document, seed))


def mix_of(
    recommendation: Recommendation | Mapping[str, Any] | str | Path,
    data: Mapping[str, str] | None = None,
    tokens_per_document: given.Weights | None = None,
    seed: int = 0,
) -> Mix:
    """What is exported, before it is written in anybody's syntax."""
    wanted = "a recommendation, its file or a study's folder"
    require_kind("recommendation", recommendation, (Recommendation, Mapping, str, PathLike), wanted)
    require_kind("data", data or {}, Mapping, "a dict of places by domain", 'such as {"code": "/data/code"}')
    stated = given.weights(tokens_per_document, "tokens_per_document") or {}
    for name, tokens in stated.items():
        given.quantity(tokens, f"tokens_per_document, `{name}`,")
    known: dict[str, float] = {}
    if isinstance(recommendation, Recommendation):
        answer: Mapping[str, Any] = recommendation.to_dict()
    elif isinstance(recommendation, Mapping):
        answer = recommendation
    else:
        study = study_of(recommendation)
        if study is not None:
            known = _document_lengths(study)
        path = study.recommendation if study is not None else Path(recommendation)
        if path.suffix in TABLES:
            raise ConfigError(f"{path} is a table, but an export takes {wanted}", "make one with `mixlab recommend`")
        answer = read_json(path, "make one with `mixlab recommend`")
        if not isinstance(answer, Mapping):
            raise ConfigError(f"{path} is no recommendation: it holds {type(answer).__name__}", f"give {wanted}")
    return make_mix(answer, data or {}, known | stated, seed)


def _document_lengths(study: StudyFolder) -> dict[str, float]:
    """Mean tokens per document of every domain that is trained on, from the study's inventory."""
    shards = Inventory.load(study.corpus).shards
    return {
        name: (facts.train_tokens + facts.validation_tokens) / facts.documents
        for name, facts in shards.items()
        if name in study.config.trained
    }
