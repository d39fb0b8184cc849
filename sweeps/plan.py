"""From mixtures to runs: which sizes and token counts each mixture is trained at, and what that costs.

Budgets are FLOPs, so the runs of one budget form an isoFLOP profile: at each size the tokens follow. Every mixture is
trained at the ladder's reference size, where mixtures are compared, and at further sizes in rotation; the anchors at
all sizes; the prior and one extreme mixture once more with other seeds, the measure of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixlab.corpus.inventory import Inventory
from mixlab.errors import ConfigError
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.runs.flops import forward_flops_per_token, training_flops
from mixlab.runs.shapes import ModelShape, ladder
from mixlab.runs.specs import RunSpec
from mixlab.search.question import BEYOND
from mixlab.study.config import StudyConfig
from mixlab.study.facts import Facts, as_domains
from mixlab.study.folder import StudyFolder
from mixlab.study.target import TOKENS_PER_PARAM
from proxies.model.recipe import make_recipe
from sweeps.rounds import Ask

MIN_STEPS = 20  # of the shortest branch
MAX_REPLICATES = 100  # of one mixture at one size
STREAMS = 10_000  # seeds that a study may use


@dataclass(frozen=True)
class Plan:
    """A study's fixed facts, worked out once from its config and inventory.

    Attributes:
        config: the study file.
        inventory: the prepared corpus.
        shapes: the ladder, smallest first.
        tokens: by shape, the token counts of the budgets it is trained at, ascending.
        facts: objective, supply and bounds of the target, law, seed.
        space: the mixtures that may be trained, by the text that is here.
        prior: the mixture that the design surrounds.
    """

    config: StudyConfig
    inventory: Inventory
    shapes: tuple[ModelShape, ...]
    tokens: tuple[tuple[int, ...], ...]
    facts: Facts
    space: MixtureSpace
    prior: Mixture

    @classmethod
    def make(cls, config: StudyConfig, inventory: Inventory) -> Plan:
        """Work the facts out.

        Raises:
            ConfigError: when a budget is too small for a size, or two sizes are the same shape.
            InfeasibleError: when the supply of text cannot feed the longest run.
        """
        proxies = config.proxies
        shapes = ladder(list(proxies.sizes), inventory.vocab_size, proxies.context, proxies.tied)
        budgets = sorted(config.sweep.budgets)
        tokens = tuple(_affordable(shape, budgets, proxies.min_tokens_per_param) for shape in shapes)
        unique = {domain.name: domain.unique_tokens for domain in inventory.domains if domain.name in config.trained}
        facts = Facts.of_study(config, unique)
        assert facts.space is not None
        # The proxies read what is here, whatever more the target will have.
        space = replace(facts.space, domains=as_domains(unique))
        longest = max(counts[-1] for counts in tokens)
        space.bounds(longest)
        prior = facts.prior_in(space, longest)
        assert prior is not None
        study = cls(config, inventory, tuple(shapes), tokens, facts, space, prior)
        study._check_lengths()
        return study

    @property
    def longest(self) -> int:
        """Tokens of the longest run of the sweep."""
        return max(counts[-1] for counts in self.tokens)

    @property
    def reference(self) -> int:
        """Index of the size at which mixtures are compared: the middle of the ladder."""
        return (len(self.shapes) - 1) // 2

    @property
    def asked(self) -> tuple[float, float]:
        """N and D that rounds decide for: the target's, else of `BEYOND` times the largest budget at D = 20 N."""
        target = self.config.target
        flops = target.flops if target is not None else BEYOND * max(self.config.sweep.budgets)
        tokens = target.expected_tokens if target is not None else math.sqrt(TOKENS_PER_PARAM * flops / 6)
        return flops / (6 * tokens), tokens

    def spec(self, mixture: Mixture, size: int, replicate: int = 0, budgets: int | None = None) -> RunSpec:
        """The run of `mixture` at step `size` of the ladder, with branches at all budgets or its smallest `budgets`."""
        # Sizes have seeds of their own, so that one lucky order of the text does not move the whole surface.
        return self.spec_at(mixture, self.shapes[size], self.tokens[size][:budgets], size * MAX_REPLICATES + replicate)

    def cost(self, size: int, budgets: int) -> float:
        """FLOPs of a run at step `size` of the ladder at its `budgets` smallest budgets."""
        return self.spec(self.prior, size, budgets=budgets).flops

    def spec_at(self, mixture: Mixture, shape: ModelShape, tokens: Sequence[int], stream: int) -> RunSpec:
        """A run of any shape and token counts with the study's recipe; `stream` tells the study's seeds apart."""
        recipe = make_recipe(self.config.proxies, shape, tokens)
        sequences = tokens[-1] / shape.context
        kept = _without_crumbs(mixture, sequences)
        return RunSpec(
            mixture=kept,
            shape=shape,
            tokens=tuple(tokens),
            # Mixtures share their seeds: initial weights and the order of each domain's text are common.
            seed=self.config.seed * STREAMS + stream,
            recipe=recipe,
            corpus=self.inventory.fingerprint,
            eval_tokens=round(self.config.proxies.eval_tokens),
            pools=self.pools(kept, tokens[-1]),
        )

    def pools(self, mixture: Mixture, tokens: int) -> tuple[tuple[str, int], ...]:
        """What a run of `tokens` may read of each domain that it repeats, so that it does as often as the target would.

        A domain with S unique tokens at the target's D is cut to S tokens / D (simulated epoching), but not so far that
        it is read more often than `mixtures.max_epochs`, which no recommendation does.
        """
        target = self.config.target
        if target is None or not target.simulate_epochs:
            return ()
        longest = min(target.expected_tokens, self.space.most_tokens())
        pools = []
        for domain in self.space.domains:
            read = mixture.get(domain.name, 0.0) * tokens
            supply = self.facts.supply[domain.name]
            pool = math.ceil(max(supply * tokens / longest, read / self.config.mixtures.max_epochs))
            if pool < min(read, domain.unique_tokens):
                pools.append((domain.name, pool))
        return tuple(pools)

    def _check_lengths(self) -> None:
        for shape, counts in zip(self.shapes, self.tokens, strict=True):
            spec = self.spec_at(self.prior, shape, counts, 0)
            steps = spec.steps(counts[0])
            if steps < MIN_STEPS:
                raise ConfigError(
                    f"every run needs at least {MIN_STEPS} steps, but at {shape.params:,} parameters the shortest "
                    f"has {steps} of {spec.tokens_after(steps) // steps} tokens",
                    "raise the smallest budget, drop the largest size, or set a smaller proxies.batch_tokens",
                )


def _affordable(shape: ModelShape, budgets: Sequence[float], min_tokens_per_param: float) -> tuple[int, ...]:
    """Token counts of the budgets that buy enough tokens for this size.

    Raises:
        ConfigError: when none does.
    """
    counts = [round(budget / training_flops(shape, 1)) for budget in budgets]
    kept = tuple(count for count in counts if count >= min_tokens_per_param * shape.params)
    if not kept:
        raise ConfigError(
            f"a size must get at least {min_tokens_per_param:g} tokens per parameter at some budget, but "
            f"{shape.params:,} parameters get {counts[-1] / shape.params:.2g} at {max(budgets):.3g} FLOPs",
            "drop this size, raise the largest budget, or lower proxies.min_tokens_per_param",
        )
    return kept


def open_plan(folder: StudyFolder) -> Plan:
    """The facts of a study that is prepared.

    Raises:
        CorpusError: when `mixlab prepare` has not run.
    """
    return Plan.make(folder.config, Inventory.load(folder.corpus))


def design_specs(study: Plan, mixtures: Sequence[Mixture], anchors: int) -> list[RunSpec]:
    """The runs of a first round: `mixtures` with the `anchors` first."""
    specs = [
        study.spec(mixture, size) for index, mixture in enumerate(mixtures) for size in _sizes(study, index, anchors)
    ]
    if mixtures:
        extreme = max(mixtures, key=lambda mixture: float(np.max(mixture.array(study.space.names))))
        for replicate in range(1, study.config.sweep.replicates):
            specs += [study.spec(mixture, study.reference, replicate) for mixture in (mixtures[0], extreme)]
    return _unique(specs)


def rotation(study: Plan, mixtures: Sequence[Mixture], first: int) -> tuple[Ask, ...]:
    """The runs of mixtures that somebody proposes without sizes; `first` is how many mixtures there were before."""
    return tuple(
        Ask(mixture, size, len(study.tokens[size]))
        for index, mixture in enumerate(mixtures)
        for size in _sizes(study, first + index, anchors=0)
    )


def round_specs(study: Plan, asks: Sequence[Ask]) -> list[RunSpec]:
    """The runs of a later round."""
    return _unique([spec_of(study, ask) for ask in asks])


def spec_of(study: Plan, ask: Ask) -> RunSpec:
    """The run that is asked for."""
    return study.spec(ask.mixture, ask.size, ask.replicate, ask.budgets)


def _sizes(study: Plan, index: int, anchors: int) -> list[int]:
    """The sizes of mixture number `index`: the reference, and others in rotation; an anchor has all."""
    others = [size for size in range(len(study.shapes)) if size != study.reference]
    extra = min(len(others), study.config.sweep.sizes_per_mixture - 1)
    chosen = others if index < anchors else [others[(index * extra + k) % len(others)] for k in range(extra)]
    return sorted({study.reference, *chosen})


def _without_crumbs(mixture: Mixture, sequences: float) -> Mixture:
    """`mixture` without weights too small for half a sequence: they would be trained on nothing."""
    kept = {name: weight for name, weight in mixture.items() if weight * sequences >= 0.5}
    return Mixture.normalized({name: kept.get(name, 0.0) for name in mixture})


def _unique(specs: Sequence[RunSpec]) -> list[RunSpec]:
    return list({spec.run_id: spec for spec in specs}.values())


def without_parts(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """`specs` without those that a later one goes on from: what they told it tells too."""
    kept: dict[str, RunSpec] = {}
    for spec in _unique(specs):
        before = [run_id for run_id, one in kept.items() if _goes_on(spec, one)]
        for run_id in before:
            del kept[run_id]
        kept[spec.run_id] = spec
    return list(kept.values())


def flops_beyond(spec: RunSpec, planned: Sequence[RunSpec]) -> float:
    """What a run costs, given what `planned` runs have trained of it."""
    return spec.flops - max((one.flops for one in planned if _goes_on(spec, one)), default=0.0)


def _goes_on(spec: RunSpec, other: RunSpec) -> bool:
    """Whether `spec` is `other` and further branches of the same trunk."""
    return spec.trunk_id == other.trunk_id and spec.tokens[: len(other.tokens)] == other.tokens


def evaluation_flops(spec: RunSpec, domains: int) -> float:
    """FLOPs of a run's evaluations (forward passes only)."""
    return len(spec.tokens) * domains * spec.eval_tokens * forward_flops_per_token(spec.shape)


def stacks(specs: Sequence[RunSpec], limit: Callable[[RunSpec], int]) -> list[tuple[RunSpec, ...]]:
    """Group runs that can be trained together, at most `limit(spec)` of a kind, costliest group first.

    In the order of `specs`, so that runs appended to a plan leave the stacks before them as they were.
    """
    groups: dict[object, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.stack_key, []).append(spec)
    jobs: list[tuple[RunSpec, ...]] = []
    for group in groups.values():
        size = limit(group[0])
        jobs += [tuple(group[start : start + size]) for start in range(0, len(group), size)]
    return sorted(jobs, key=lambda job: -sum(spec.flops for spec in job))
