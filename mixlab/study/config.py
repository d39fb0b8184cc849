"""study.yaml -> frozen, strict models. An unknown key is an error that names its line and the nearest key.

The dial that a study turns is its list of FLOP budgets; sizes, mixtures and everything else have defaults that
follow. Quantities may be written as in `mixlab.units` ("1e12", "150K").
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mixlab.constraints import LinearConstraint, parse_constraint
from mixlab.errors import ConfigError, did_you_mean
from mixlab.mixture import SUM_TOLERANCE
from mixlab.study.cleaning import CleaningConfig
from mixlab.study.section import Quantity, Section, Weight, refusal
from mixlab.study.sweep import ProxyConfig, SweepConfig
from mixlab.study.target import TargetConfig
from mixlab.study.yaml import Document, load_yaml

# Keys that recommendations of earlier versions know nothing of.
SAID_LATER = {
    "mixtures": ("constraints", "max_domains"),
    "target": (
        *("kl", "no_worse", "worst_group", "tokens_per_param", "serve", "gpu", "gpu_flops", "mfu", "price", "dollars"),
        "gpu_hours",
    ),
}


class DomainConfig(Section):
    """Where one domain's text lies.

    Attributes:
        paths: files, folders or globs; relative ones are relative to the study folder.
        text_field: the field of a JSON line or parquet row that holds the text.
        group_field: documents with the same value in this field go to the same side of the train/validation split;
            `id-stem` takes the `id` field up to its last `-`.
        supply: unique tokens of this domain that the target run will have; absent: as many as there are here.
        on_bad_row: `error` stops at a row that cannot be used, `skip` leaves it out and counts it by its fault.
        format: `auto` goes by the ending of each file. `nanogpt` (a flat .bin of ids) and `megatron` (.bin with .idx)
            are text that is already tokenised, by the tokenizer.json that corpus.tokenizer names.
        dtype: type of the ids in a nanogpt .bin.
        end_of_document: the id that ends a document in a .bin; absent: the tokenizer's own. In a file without this id,
            windows of 2,048 ids are documents.
        cleaning: its keys replace those of corpus.cleaning; `off` and `standard` replace all of them.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    text_field: str = "text"
    group_field: str | None = None
    supply: Quantity | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    format: Literal["auto", "nanogpt", "megatron"] = "auto"
    dtype: Literal["uint16", "uint32"] = "uint16"
    end_of_document: int | None = Field(None, ge=0)
    cleaning: CleaningConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`domain: FILE` and `domain: [FILE, ...]` are short for `domain: {paths: [...]}`."""
        if isinstance(value, str):
            return {"paths": [value]}
        if isinstance(value, (list, tuple)):
            return {"paths": list(value)}
        if isinstance(value, Mapping) and isinstance(value.get("paths"), str):
            return {**value, "paths": [value["paths"]]}
        return value


class CorpusConfig(Section):
    """How text becomes token shards.

    Attributes:
        tokenizer: `byte`, `bpe` (trained on the study's own training text) or the path of a tokenizer.json.
        vocab_size: size of the `bpe` vocabulary.
        validation_fraction: share of documents (by hash of their group) that is never trained on.
        max_bytes: the most text to keep per domain; absent: all of it. Near-duplicates are looked for in what was kept.
        cleaning: which cleaning steps are on; `standard` turns on all that need no files of yours.
    """

    tokenizer: str = "byte"
    vocab_size: int = Field(4096, ge=300, le=1_000_000)
    validation_fraction: float = Field(0.05, gt=0, lt=0.5)
    max_bytes: Quantity | None = None
    cleaning: CleaningConfig = CleaningConfig()

    def cleaning_of(self, domain: DomainConfig) -> CleaningConfig:
        """The cleaning of one domain: its own keys before the corpus's."""
        if domain.cleaning is None:
            return self.cleaning
        own = {name: getattr(domain.cleaning, name) for name in domain.cleaning.model_fields_set}
        return self.cleaning.model_copy(update=own)


class SpaceConfig(Section):
    """The mixtures that may be trained and recommended.

    Attributes:
        prior: the mixture that the design surrounds: `proportional` to unique tokens, `uniform`, or weights.
        min: the smallest weights.
        max: the largest weights. A domain whose maximum is 0 is for evaluation alone: it has losses, and may be in the
            objective, but is in no mixture.
        max_epochs: how often a domain may be repeated in one run.
        constraints: on several weights at once: `code + math >= 0.3`, `2*web <= books`, `code == math`. Names of
            other characters than letters, digits, `_` and `.` go into quotes.
        max_domains: at most so many domains have weight in a mixture; absent: any number.
    """

    prior: Literal["proportional", "uniform"] | dict[str, Weight] = "proportional"
    min: dict[str, Weight] = Field(default_factory=dict)
    max: dict[str, Weight] = Field(default_factory=dict)
    max_epochs: float = Field(4.0, gt=0)
    constraints: tuple[str, ...] = ()
    max_domains: int | None = Field(None, ge=1)

    @field_validator("constraints", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("constraints")
    @classmethod
    def _constraints_read(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                parse_constraint(text)
            except ConfigError as error:
                raise refusal(error.message, error.hint) from None
        return texts

    @property
    def linear(self) -> tuple[LinearConstraint, ...]:
        """The constraints as they read."""
        return tuple(parse_constraint(text) for text in self.constraints)

    @model_validator(mode="after")
    def _prior_sums_to_one(self) -> SpaceConfig:
        if isinstance(self.prior, dict):
            _check_sum("prior", self.prior)
        return self

    @property
    def evaluation_only(self) -> frozenset[str]:
        """The domains that are never trained on."""
        return frozenset(name for name, highest in self.max.items() if highest == 0)

    def bounds(self, domains: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Smallest and largest weights, of those of `domains` that have any."""
        lower, upper = (
            {name: bound for name, bound in bounds.items() if name in domains} for bounds in (self.min, self.max)
        )
        return lower, upper

    @model_validator(mode="after")
    def _evaluation_only_is_not_trained(self) -> SpaceConfig:
        prior = self.prior if isinstance(self.prior, dict) else {}
        for where, weights in (("min", self.min), ("prior", prior)):
            for name in self.evaluation_only:
                if weight := weights.get(name):
                    raise refusal(
                        f"`{name}` is for evaluation alone (its maximum is 0), but has {weight:g} here",
                        f"take it out here, or raise its maximum in mixtures.max.{name}",
                        f"{where}.{name}",
                    )
        return self


class TrackingConfig(Section):
    """Where runs are logged, in addition to the ledger.

    Attributes:
        wandb: whether to log to Weights & Biases, and how.
        project: the Weights & Biases project.
    """

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "mixlab"


class StudyConfig(Section):
    """A whole study.yaml.

    Attributes:
        name: the name of the study.
        seed: of everything random.
        domains: the text, by domain. `web: web.jsonl` is short for `web: {paths: [web.jsonl]}`.
        objective: weights over the domains' validation losses; absent: all domains equally.
        corpus: how text becomes token shards.
        mixtures: the mixtures that may be trained and recommended.
        proxies: the small models and how they are trained.
        sweep: which runs to make.
        target: the big run that the study is for.
        tracking: where runs are logged, in addition to the ledger.
    """

    name: str = Field(min_length=1, max_length=100)
    seed: int = Field(0, ge=0)
    domains: dict[str, DomainConfig] = Field(min_length=2)
    objective: dict[str, Weight] | None = None
    corpus: CorpusConfig = CorpusConfig()
    mixtures: SpaceConfig = SpaceConfig()
    proxies: ProxyConfig = ProxyConfig()
    sweep: SweepConfig = SweepConfig()
    target: TargetConfig | None = None
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _names_agree(self) -> StudyConfig:
        named: dict[str, Collection[str]] = {
            "objective": self.objective or {},
            "mixtures.min": self.mixtures.min,
            "mixtures.max": self.mixtures.max,
            "mixtures.prior": self.mixtures.prior if isinstance(self.mixtures.prior, dict) else {},
            "target.no_worse": self.target.no_worse if self.target is not None else {},
        }
        for where, names in named.items():
            for name in names:
                if name not in self.domains:
                    hint = did_you_mean(name, self.domains)
                    raise refusal(f"there is no domain `{name}`", hint, f"{where}.{name}")
        for number, constraint in enumerate(self.mixtures.linear):
            try:
                constraint.require(self.domains)
            except ConfigError as error:
                raise refusal(error.message, error.hint, f"mixtures.constraints.{number}") from None
        if self.objective is not None:
            _check_sum("objective", self.objective)
        if len(self.trained) < 2:
            raise refusal(
                "a mixture needs two or more domains that may be trained on, but "
                f"{', '.join(sorted(self.mixtures.evaluation_only))} may not: their maximum is 0",
                "raise a maximum",
                "mixtures.max",
            )
        return self

    @property
    def trained(self) -> tuple[str, ...]:
        """The domains that mixtures are made of: all but those for evaluation alone."""
        return tuple(name for name in self.domains if name not in self.mixtures.evaluation_only)

    @property
    def answer_digest(self) -> str:
        """16 hex digits over what a recommendation depends on: supplies, objective, bounds, target and seed."""
        supplies = {name: domain.supply for name, domain in self.domains.items()}
        about = self.model_dump(mode="json", include={"seed", "objective", "mixtures", "target"})
        # What is not said leaves the digest as it was before it could be said.
        for section, model in (("mixtures", SpaceConfig), ("target", TargetConfig)):
            for name in SAID_LATER[section] if about[section] is not None else ():
                if getattr(getattr(self, section), name) == model.model_fields[name].get_default(
                    call_default_factory=True
                ):
                    del about[section][name]
        text = json.dumps({**about, "supplies": supplies}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def objective_weights(self) -> dict[str, float]:
        """The objective over evaluation domains, weights that sum to 1, zeros left out."""
        weights = self.objective or {name: 1 / len(self.domains) for name in self.domains}
        return {name: weight for name, weight in weights.items() if weight > 0}


def _check_sum(at: str, weights: Mapping[str, float]) -> None:
    total = math.fsum(weights.values())
    # Weights typed by hand are rounded (1/3 as .3333), so a little more is let through than between programs.
    if abs(total - 1) > max(SUM_TOLERANCE, 1e-3):
        raise refusal(
            f"the weights must sum to 1, but they sum to {total:.6g} ({total - 1:+.3g})", "correct the weights", at
        )


def load_config(path: Path) -> StudyConfig:
    """Read and check a study.yaml.

    Raises:
        ConfigError: with file, line, what was required, what was given, and the nearest known key.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path} must hold keys and values, but holds {type(document.data).__name__}")
    try:
        return StudyConfig.model_validate(document.data)
    except ValidationError as error:
        raise _explain(error, path, document) from None


def _explain(error: ValidationError, path: Path, document: Document) -> ConfigError:
    """The first validation error as one sentence with its line, and what to do."""
    first = error.errors()[0]
    kind, context, loc = first["type"], first.get("ctx", {}), first["loc"]
    if kind == "refused" and context["at"]:
        loc = (*loc, *context["at"].split("."))
    # Between the keys pydantic names members of unions, which no line of the file holds.
    at = tuple(part for i, part in enumerate(loc) if (*loc[:i], part) in document.lines)
    if kind == "missing":
        at = (*at, loc[-1])
    where = f"{path}:{line}" if (line := document.line(at)) else str(path)
    name = ".".join(map(str, at))
    if kind == "extra_forbidden":
        return ConfigError(f"{where}: unknown key `{name}`", did_you_mean(str(at[-1]), _keys_of(at[:-1])))
    if kind == "missing":
        return ConfigError(f"{where}: key `{name}` is missing", "add it; `mixlab init` shows a whole study.yaml")
    if kind == "refused":
        return ConfigError(f"{where}: `{name}`: {context['message']}", context["hint"])
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(f"{where}: `{name}`: {reason}, but got {first['input']!r}", "correct this line")


def _keys_of(at: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at path `at` accepts."""
    section: type[BaseModel] = StudyConfig
    for part in at:
        if part in section.model_fields:
            section = _model_in(section.model_fields[str(part)].annotation) or section
    return list(section.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds: itself, optional, or as the values of a mapping."""
    if get_origin(annotation) in (Union, UnionType, dict):
        return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
