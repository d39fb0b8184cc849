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
from mixlab.hardware import Hardware, budget_in_flops
from mixlab.mixture import SUM_TOLERANCE
from mixlab.study.cleaning import CleaningConfig
from mixlab.study.section import Quantity, Section, Weight, refusal
from mixlab.study.yaml import Document, load_yaml
from mixlab.units import parse_quantity

# Keys that recommendations of earlier versions know nothing of.
SAID_LATER = {
    "mixtures": ("constraints", "max_domains"),
    "target": (
        *("kl", "no_worse", "worst_group", "tokens_per_param", "serve", "gpu", "gpu_flops", "mfu", "price", "dollars"),
        "gpu_hours",
    ),
}
Reference = Literal["proportional", "uniform", "prior"]

DESIGN_MIXTURES, DESIGN_PER_DOMAIN = 16, 2  # of a first round, at least
TOKENS_PER_PARAM = 20.0  # D / N of a compute-optimal run (Hoffmann et al. 2022)


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


class ProxyConfig(Section):
    """The small models and how they are trained.

    Attributes:
        sizes: total parameters of each size.
        context: tokens in a training sequence.
        tied: share the embedding with the head.
        batch_tokens: tokens in a batch; absent: the batch grows with the tokens seen (`proxies.model.recipe`).
        learning_rate: peak rate at the base width; absent: the rule of `proxies.model.recipe`.
        min_tokens_per_param: a size is not trained at budgets that give it fewer tokens per parameter: such runs are
            far from compute-optimal and end before their loss follows a power law.
        decay_fraction: share of each budget in which the learning rate decays to zero.
        eval_tokens: validation tokens per domain and evaluation.
        device: `auto` takes CUDA where there is a GPU.
        engine: `native` is mixlab's own training step in C++ for a CPU core, compiled on first use; `auto` takes it on
            a CPU with a compiler, else `torch`.
        precision: of the operands of matrix products; `auto` takes bf16 where the hardware has it.
        compile: whether PyTorch compiles its steps (`torch.compile`, on CUDA with CUDA graphs), which takes up to a
            minute per size; `auto` compiles on CUDA. Where compiling fails, steps run uncompiled.
    """

    sizes: tuple[Quantity, ...] = Field(("50K", "100K", "200K"), min_length=1, max_length=40, validate_default=True)
    context: int = Field(256, ge=8, le=131072)
    tied: bool = False
    batch_tokens: Quantity | None = None
    learning_rate: float | None = Field(None, gt=0)
    min_tokens_per_param: float = Field(2.0, ge=0)
    decay_fraction: float = Field(0.2, gt=0, lt=1)
    eval_tokens: Quantity = Field("16K", validate_default=True)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Literal["auto", "native", "torch"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"


class SweepConfig(Section):
    """Which runs to make.

    Attributes:
        budgets: training FLOPs. Every run is evaluated at each of them, with its learning rate decayed to zero.
        mixtures: distinct mixtures in the first round; absent: 16, or two for each domain where that is more.
        design: `dirichlet` surrounds the prior, `sobol` covers the whole space; both include the corners, the prior and
            the uniform mixture.
        sizes_per_mixture: the number of sizes at which a mixture is trained, in rotation; the prior and the uniform
            mixture are trained at all sizes.
        replicates: seeds of the prior and of the most extreme mixture, the measure of noise.
        rounds: rounds in total at most; from the second on, runs are proposed from those so far.
        proposals: how many of the reference size's runs each later round may cost.
        overlap: whether a round is proposed while the last runs of the one before it are still made, so that no worker
            waits for them: with many workers. It is then proposed from what the rounds before that told.
        flops: training FLOPs of all rounds together, beyond which no run of a later round is made.
        sampler: what proposes them: `regret` (the runs that take most off the doubt about the best mixture at the
            target, per FLOP; the sweep stops when that doubt is below the noise), `law` (optima of the fitted law under
            bootstrap draws), or Optuna's `tpe`, `gp`, `qmc` or `random`.
        workers: worker processes; absent: one per core.
    """

    budgets: tuple[Quantity, ...] = Field(("2.5e11", "5e11", "1e12"), min_length=1, validate_default=True)
    mixtures: int | None = Field(None, ge=2)
    design: Literal["dirichlet", "sobol"] = "dirichlet"
    sizes_per_mixture: int = Field(1, ge=1)
    replicates: int = Field(2, ge=1, le=100)
    rounds: int = Field(6, ge=1)
    proposals: int = Field(6, ge=1)
    overlap: bool = False
    flops: Quantity | None = None
    sampler: Literal["regret", "law", "tpe", "gp", "qmc", "random"] = "regret"
    workers: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _only_regret_overlaps(self) -> SweepConfig:
        if self.overlap and self.sampler != "regret":
            raise refusal(
                f"rounds overlap where sweep.sampler is regret, but it is {self.sampler}",
                "set sweep.overlap to false, or sweep.sampler to regret",
            )
        return self


class TargetConfig(Section):
    """The big run that the study is for.

    Attributes:
        flops: its training FLOPs; or state `dollars` or `gpu_hours`.
        tokens: its training tokens, from which the proxies' share of scarce text follows; absent: what `flops` buys at
            20 tokens per parameter.
        simulate_epochs: proxies repeat a scarce domain as often as the target run would, by drawing from less of its
            text (simulated epoching).
        law: the name of a law, or `auto`.
        kl: weight of KL(mixture || prior) beside the loss.
        no_worse: losses that must not be above those of another mixture at the same N and D (`proportional`,
            `uniform` or `prior`), or above a number, by evaluation domain.
        worst_group: minimise the largest of the objective's losses, each relative to that of this mixture at its own
            best size, in place of their mean.
        tokens_per_param: fix D / N.
        serve: tokens that the model will read and write in use: `flops` is then for training and serving.
        gpu: an accelerator by name, in whose hours the budget is also told.
        gpu_flops: its peak in dense bf16 FLOP/s, where mixlab does not know the name.
        mfu: the share of the peak that training reaches; absent: 0.4.
        price: dollars per GPU hour.
        dollars: the budget in dollars, in place of `flops`.
        gpu_hours: the budget in GPU hours, in place of `flops`.
    """

    flops: Quantity
    tokens: Quantity | None = None
    simulate_epochs: bool = True
    law: str = "auto"
    kl: float = Field(0.0, ge=0)
    no_worse: dict[str, Reference | Quantity] = Field(default_factory=dict)
    worst_group: Reference | None = None
    tokens_per_param: Quantity | None = None
    serve: Quantity | None = None
    gpu: str | None = None
    gpu_flops: Quantity | None = None
    mfu: float | None = Field(None, gt=0, le=1)
    price: Quantity | None = None
    dollars: Quantity | None = None
    gpu_hours: Quantity | None = None

    @model_validator(mode="before")
    @classmethod
    def _budget_in_flops(cls, value: Any) -> Any:
        """A budget in dollars or hours says the FLOPs too."""
        if not isinstance(value, Mapping) or not ("dollars" in value or "gpu_hours" in value):
            return value
        if "flops" in value:
            raise refusal("a budget is stated once, but there are flops and dollars or gpu_hours", "keep one of them")
        names = ("gpu_flops", "mfu", "price", "dollars", "gpu_hours")
        try:
            numbers = {name: parse_quantity(value[name]) for name in names if value.get(name) is not None}
            budgets = {name: numbers.pop(name, None) for name in ("dollars", "gpu_hours")}
            flops = budget_in_flops(Hardware.make(value.get("gpu"), **numbers), None, **budgets)
        except ConfigError as error:
            raise refusal(error.message, error.hint) from None
        return {**value, "flops": flops}

    @model_validator(mode="after")
    def _hardware_is_known(self) -> TargetConfig:
        try:
            _ = self.hardware
        except ConfigError as error:
            raise refusal(error.message, error.hint) from None
        return self

    @property
    def hardware(self) -> Hardware | None:
        """The accelerator, where one is named."""
        return Hardware.make(self.gpu, self.gpu_flops, self.mfu, self.price)

    @property
    def expected_tokens(self) -> float:
        """`tokens`, or D of C = 6 N D at D = 20 N, or at `tokens_per_param`."""
        return self.tokens or math.sqrt((self.tokens_per_param or TOKENS_PER_PARAM) * self.flops / 6)


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
    def first_mixtures(self) -> int:
        """Distinct mixtures of the sweep's first round."""
        return self.sweep.mixtures or max(DESIGN_MIXTURES, DESIGN_PER_DOMAIN * len(self.trained))

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
