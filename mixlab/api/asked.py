"""What may be asked of a recommendation beyond its budget: one set of keywords for every face, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypedDict

from mixlab.api import given
from mixlab.api.fit import Fit, fit_problem
from mixlab.constraints import LinearConstraint, parse_constraint
from mixlab.errors import ConfigError, did_you_mean, require_kind
from mixlab.hardware import Hardware
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.objective import PREFIX, Objective, eval_of
from mixlab.runs.cost import Cost
from mixlab.runs.serving import ServedCost
from mixlab.search.descent.limits import REFERENCES, Limit
from mixlab.search.optimum import find_optimum, pose
from mixlab.search.problem import require_domain, with_bounds
from mixlab.search.question import Question
from mixlab.units import parse_quantity


class Asking(TypedDict, total=False):
    """The keywords of `Asked.read`, as people give them."""

    params: given.Quantity | None
    tokens: given.Quantity | None
    tokens_per_param: given.Quantity | None
    mix: given.Weights | None
    min: given.Weights | None
    max: given.Weights | None
    constraints: str | Sequence[str]
    max_domains: int | None
    supply: given.Weights | None
    max_epochs: given.Quantity | None
    kl: given.Quantity | None
    prior: given.Weights | None
    no_worse: Mapping[str, given.Quantity] | None
    worst_group: str | None
    serve: given.Quantity | None
    gpu: str | None
    gpu_flops: given.Quantity | None
    mfu: given.Quantity | None
    price: given.Quantity | None


ASKING = tuple(Asking.__annotations__)


@dataclass(frozen=True)
class Asked:
    """What is asked beyond a budget. What is None is the study's, where it says anything.

    Attributes:
        params, tokens: fix N or D.
        tokens_per_param: fix D / N.
        mix: keep this mixture, and search the size alone.
        min, max: bounds on single weights.
        constraints: on several weights, beside the study's.
        max_domains: at most so many domains have weight.
        supply: unique tokens by domain at the target.
        max_epochs: how often a domain may be repeated.
        kl: weight of KL(mixture || prior).
        prior: what that pulls to.
        no_worse: by evaluation set, `proportional`, `uniform`, `prior` or a loss that must not be exceeded.
        worst_group: the mixture by whose losses the groups are measured, where the worst of them is minimised.
        serve: tokens that the model will read and write in use.
        gpu, gpu_flops, mfu, price: the accelerator, its peak, the share of it that is reached, dollars per hour.
    """

    params: float | None = None
    tokens: float | None = None
    tokens_per_param: float | None = None
    mix: Mapping[str, float] | None = None
    min: Mapping[str, float] | None = None
    max: Mapping[str, float] | None = None
    constraints: tuple[str, ...] = ()
    max_domains: int | None = None
    supply: Mapping[str, float] | None = None
    max_epochs: float | None = None
    kl: float | None = None
    prior: Mapping[str, float] | None = None
    no_worse: Mapping[str, str | float] | None = None
    worst_group: str | None = None
    serve: float | None = None
    gpu: str | None = None
    gpu_flops: float | None = None
    mfu: float | None = None
    price: float | None = None

    @classmethod
    def read(cls, asking: Asking) -> Asked:
        """Check the keywords.

        Raises:
            TypeError: on a keyword that there is not.
            ConfigError: on a value that cannot be meant.
        """
        known = [one.name for one in fields(cls)]
        for name in asking:
            if name not in known:
                raise TypeError(f"unexpected keyword argument `{name}`: {did_you_mean(name, known)}")
        found: dict[str, Any] = {}
        for name in ("params", "tokens", "tokens_per_param", "max_epochs", "serve", "gpu_flops", "mfu", "price"):
            found[name] = given.quantity(asking.get(name), name)  # type: ignore[arg-type]  # these are quantities
        for name in ("mix", "min", "max", "supply", "prior"):
            found[name] = given.weights(asking.get(name), "a mixture" if name == "mix" else name)  # type: ignore[arg-type]
        if asking.get("kl") is not None:
            found["kl"] = given.within(asking["kl"] or 0, "kl", 0)
        found["constraints"] = tuple(one.text for one in given.constraints(asking.get("constraints") or ()))
        if (most := asking.get("max_domains")) is not None:
            found["max_domains"] = given.count(most, "max_domains", 1)
        limits = asking.get("no_worse")
        require_kind("no_worse", limits or {}, Mapping, 'a dict such as {"code": "proportional"}')
        found["no_worse"] = {str(name): _reference(name, value) for name, value in limits.items()} if limits else None
        worst = found["worst_group"] = asking.get("worst_group")
        if worst is not None and worst not in REFERENCES:
            raise ConfigError(f"worst_group is measured by one of {', '.join(REFERENCES)}, but got {worst!r}")
        found["gpu"] = asking.get("gpu")
        sizes = [name for name in ("params", "tokens", "tokens_per_param") if found[name] is not None]
        if "tokens_per_param" in sizes and len(sizes) > 1:
            raise ConfigError(f"{' and '.join(sizes)} are both given: one of them follows", "leave one of them out")
        choosing = ("constraints", "max_domains", "no_worse", "worst_group")
        if found["mix"] is not None and any(found.get(name) for name in choosing):
            raise ConfigError(
                f"{', '.join(choosing[:-1])} and {choosing[-1]} choose a mixture, but mix fixes it", "leave mix out"
            )
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """What was asked, as plain data that `read` takes."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        defaults = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in plain.items()
            if found[name] != defaults[name] and value is not None
        }

    @property
    def linear(self) -> tuple[LinearConstraint, ...]:
        """The constraints as they read."""
        return tuple(parse_constraint(text) for text in self.constraints)

    def hardware(self, fit: Fit) -> Hardware | None:
        """The accelerator that is meant: as given, else as the study has it."""
        target = fit.problem.facts.target
        if target is None or self.gpu is not None or self.gpu_flops is not None:
            gpu, peak = self.gpu, self.gpu_flops
        else:
            gpu, peak = target.gpu, target.gpu_flops
        mfu = self.mfu if self.mfu is not None or target is None else target.mfu
        price = self.price if self.price is not None or target is None else target.price
        return Hardware.make(gpu, peak, mfu, price)


def pose_asked(fit: Fit, asked: Asked, flops: float, cost: Cost | None = None) -> tuple[Fit, Question]:
    """The fit at what is asked of the space, and the question at a budget.

    Raises:
        ConfigError: when something that is asked cannot be meant of these runs.
        InfeasibleError: when no mixture keeps bounds, caps and constraints.
        FitError: when the runs cannot carry the law of a loss that is limited.
    """
    fit = _changed(fit, asked)
    problem, target = fit.problem, fit.problem.facts.target
    own = cost or problem.cost
    serve = asked.serve if asked.serve is not None or target is None else target.serve
    ratio = asked.tokens_per_param
    if ratio is None and asked.params is None and asked.tokens is None and target is not None:
        ratio = target.tokens_per_param
    kl = asked.kl if asked.kl is not None else target.kl if target is not None else 0.0
    fixed: dict[str, Any] = {
        "cost": ServedCost(own, serve) if serve is not None else own,
        "params": asked.params,
        "tokens": asked.tokens,
        "tokens_per_param": ratio,
        "mixture": given.mixture(asked.mix, fit.surface.domains),
        "kl": kl,
    }
    if asked.prior is not None:
        fixed["prior"] = given.mixture(asked.prior, fit.surface.domains)
    question = problem.question(flops, **fixed)
    if asked.mix is not None:
        return fit, question
    limits = {**(target.no_worse if target is not None else {}), **(asked.no_worse or {})}
    question = replace(question, limits=tuple(_limit(fit, question, name, most) for name, most in limits.items()))
    return fit, at_budget(fit, asked, question, flops)


def at_budget(fit: Fit, asked: Asked, question: Question, flops: float) -> Question:
    """The same question at another budget: the losses that groups are measured by are those at that budget."""
    target = fit.problem.facts.target
    question = replace(question, flops=flops)
    worst = asked.worst_group or (target.worst_group if target is not None else None)
    if worst is None or question.mixture is not None:
        return question
    return replace(question, measures=_measures(fit, question, worst))


def _reference(name: str, value: object) -> str | float:
    if isinstance(value, str) and value in REFERENCES:
        return value
    try:
        return parse_quantity(value)
    except ConfigError:
        raise ConfigError(
            f"no_worse, `{name}`: a loss is compared with {', '.join(REFERENCES)} or a number, but got {value!r}"
        ) from None


def _changed(fit: Fit, asked: Asked) -> Fit:
    """The fit asked at other bounds, constraints and another supply of text."""
    facts = fit.problem.facts
    for name in asked.supply or {}:
        require_domain(name, tuple(facts.supply))
    there = {**facts.supply, **(asked.supply or {})}
    for constraint in asked.linear:
        if facts.space is not None:
            constraint.require(facts.space.names)
    space = with_bounds(facts, there, asked.min, asked.max, asked.max_epochs, asked.linear, asked.max_domains)
    problem = replace(fit.problem, facts=replace(facts, supply=there, space=space))
    return Fit(problem, fit.surface.with_supply(problem.supply))


def _space_of(fit: Fit, what: str) -> MixtureSpace:
    space = fit.problem.facts.space
    if space is None:
        raise ConfigError(f"the table has no mix.<domain> columns, so {what} has no meaning here")
    return space


def _mixture_called(fit: Fit, question: Question, name: str) -> Mixture:
    space = _space_of(fit, f"the {name} mixture")
    if name == "uniform":
        return space.uniform()
    if name == "proportional":
        return space.proportional()
    if question.prior is None:
        raise ConfigError("`prior` is the mixture of a study, but there is none", "give prior, or compare with uniform")
    return question.prior


def _limit(fit: Fit, question: Question, name: str, most: str | float) -> Limit:
    """One loss that must not be worse; a column that the objective does not have is fitted."""
    _space_of(fit, "no_worse")
    column = given.column(fit.runs, name if fit.runs.has(name) else PREFIX + name.removeprefix(PREFIX))
    own = None
    if column not in fit.surface.point.blends:
        facts = replace(fit.problem.facts, objective=Objective.column(column))
        own = fit_problem(replace(fit.problem, facts=facts)).surface.point
    said = f"{column} <= {most if isinstance(most, str) else format(most, 'g')}"
    if isinstance(most, str):
        return Limit(column, said, reference=_mixture_called(fit, question, most), own=own)
    return Limit(column, said, most=most, own=own)


def _measures(fit: Fit, question: Question, reference: str) -> tuple[tuple[str, float], ...]:
    """The losses of a mixture at its own best size, by column."""
    surface, mixture = fit.surface, _mixture_called(fit, question, reference)
    columns = list(surface.objective)
    if len(columns) < 2:
        raise ConfigError(
            f"worst_group is the worst of several losses, but the objective is {eval_of(columns[0])} alone",
            "give several targets",
        )
    best = find_optimum(surface.point, pose(surface, question).with_mixture(mixture), [], 0)
    losses = surface.predict_targets(mixture.array(surface.domains), best.params, best.tokens)
    return tuple((column, float(losses[column][0])) for column in columns)
