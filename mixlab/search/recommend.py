"""The recommendation: the mixture, N and D that a surface calls best at a budget, beside the obvious baselines.

Mixture and size are searched in turn until both stand still. Intervals of the answer come from the optima under
bootstrap draws, intervals of losses are prediction intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mixlab.errors import ConfigError, FitError
from mixlab.laws.surface import Draw, Surface
from mixlab.mixture import Mixture, MixtureSpace
from mixlab.runs import RunTable
from mixlab.search.baselines import baseline_mixtures, best_observed
from mixlab.search.mix import minimise_mixture
from mixlab.search.size import Cost, bracket, minimise_size
from mixlab.units import format_quantity

TURNS = 8
STILL = 1e-3  # in log N, between turns
OPTIMUM_DRAWS = 60
FAR = 10.0  # times the largest run's FLOPs
ANOTHER_SCALE = 1.5  # times the largest run
CORNER = 0.9
LEVEL = 0.9


@dataclass(frozen=True)
class Recommendation:
    """What to train, and what to expect of it; the JSON of `mixlab recommend --json`.

    Attributes:
        flops: C.
        mixture, mixture_interval: weights and their 90% intervals by domain (empty without mixtures).
        params, tokens and their intervals: N and D.
        epochs: how often each domain is seen (absent where its supply is not known).
        loss: the objective: mean and 90% prediction interval, keys mean, low, high.
        losses: the same by target column's evaluation set.
        baselines: best_observed, proportional, uniform: their mixtures and losses, each at its own best size.
        law: who predicts.
        extrapolation: how far the answer lies from the runs.
        warnings: in words.
    """

    flops: float
    mixture: dict[str, float]
    mixture_interval: dict[str, tuple[float, float]]
    params: float
    params_interval: tuple[float, float]
    tokens: float
    tokens_interval: tuple[float, float]
    epochs: dict[str, float]
    loss: dict[str, float]
    losses: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, Any]]
    law: str
    extrapolation: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        for key in ("mixture_interval",):
            data[key] = {name: list(bounds) for name, bounds in data[key].items()}
        data["params_interval"], data["tokens_interval"] = list(self.params_interval), list(self.tokens_interval)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recommendation:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: when a key is missing.
        """
        missing = [name for name in cls.__dataclass_fields__ if name not in data]
        if missing:
            raise ConfigError(f"not a recommendation: `{missing[0]}` is missing", "make one with `mixlab recommend`")
        values = {name: data[name] for name in cls.__dataclass_fields__}
        values["mixture_interval"] = {name: tuple(bounds) for name, bounds in data["mixture_interval"].items()}
        values["params_interval"], values["tokens_interval"] = (
            tuple(data["params_interval"]),
            tuple(data["tokens_interval"]),
        )
        return cls(**values)


@dataclass(frozen=True)
class _Question:
    """What is fixed, and what is searched."""

    space: MixtureSpace | None
    flops: float
    cost: Cost
    params: float | None
    tokens: float | None
    fixed_mixture: Mixture | None
    low: float
    high: float
    kl: float
    prior: Mixture | None

    def tokens_at(self, params: float) -> float:
        return float(self.each_tokens_at(np.array([params]))[0])

    def each_tokens_at(self, params: np.ndarray) -> np.ndarray:
        """D at each N, both of shape (M,)."""
        return self.cost.tokens(self.flops, params) if self.tokens is None else np.full(len(params), self.tokens)


@dataclass(frozen=True)
class _Optimum:
    mixture: Mixture | None
    params: float
    tokens: float
    at_edge: bool


def recommend(
    surface: Surface,
    space: MixtureSpace | None,
    flops: float,
    *,
    cost: Cost,
    params: float | None = None,
    tokens: float | None = None,
    fixed_mixture: Mixture | None = None,
    observed: RunTable | None = None,
    kl: float = 0.0,
    prior: Mixture | None = None,
    start: Mixture | None = None,
    compare: bool = True,
    draws: int = OPTIMUM_DRAWS,
    seed: int = 0,
) -> Recommendation:
    """Search mixture and size at a budget.

    Args:
        surface: the fitted objective, at the supply of `space`.
        space: the mixtures that may be recommended; None for tables without mixtures.
        flops: C.
        cost: what a budget buys at N.
        params, tokens: fix N or D (both: C is not used for the split). A law that knows no sizes takes the runs' N.
        fixed_mixture: fix the mixture and search the size alone.
        observed: the runs, for the `best_observed` baseline.
        kl: weight of KL(h || prior).
        prior: what the KL term pulls to, and a start of the search.
        start: an answer at a budget nearby, from which alone to search.
        compare: also say what the baselines come to, each at its own best size.
        draws: bootstrap draws whose optima give the intervals of mixture, N and D; 0 for none.
        seed: of the search's random starts.

    Raises:
        InfeasibleError: when no mixture keeps bounds and caps.
        FitError: when the size alone is asked for, and the runs do not vary it apart from the tokens.
    """
    warnings = list(surface.warnings)
    if params is None and tokens is not None:
        params = _params_for(cost, flops, tokens)
    elif params is None and not surface.sized:
        params = surface.params_range[1]
        several = surface.params_range[0] < params
        if several and space is None:
            raise FitError(
                "the runs do not vary model size and tokens apart from each other, so they cannot say how to split a "
                "budget between the two",
                "run several sizes at one budget (an isoFLOP design does), or fix the size with --params",
            )
        known = "the runs do not vary N apart from D" if several else f"the law `{surface.law}` knows no model sizes"
        warnings.append(f"{known}: N is that of the largest runs")
    low, high = (params, params) if params is not None else bracket(surface.params_range, flops, surface.max_flops)
    if params is None and space is not None and fixed_mixture is None:
        low, high = _within_supply(space, flops, cost, low, high)
    question = _Question(space, flops, cost, params, tokens, fixed_mixture, low, high, kl, prior)
    baselines, without = baseline_mixtures(surface, space, observed)
    warnings += without
    starts = [mixture for mixture in (*baselines.values(), prior) if mixture is not None]
    best = _optimise(surface.point, question, [start] if start else starts, seed, explore=start is None)
    compared = {
        name: _baseline(surface, question, mixture, observed if name == "best_observed" else None)
        for name, mixture in (baselines.items() if compare else ())
    }
    optima = [
        _optimise(surface.draw(index), question, [best.mixture] if best.mixture else [], seed, turns=3, explore=False)
        for index in range(min(draws, surface.bootstrap))
    ]
    mixture = best.mixture if best.mixture is not None else {}
    h = best.mixture.array(surface.domains) if best.mixture is not None else None
    targets = surface.predict_targets(h, best.params, best.tokens)
    answer = Recommendation(
        flops=flops,
        mixture=dict(mixture),
        mixture_interval={
            name: _spread([one.mixture[name] for one in optima if one.mixture is not None], weight)
            for name, weight in mixture.items()
        },
        params=best.params,
        params_interval=_spread([one.params for one in optima], best.params),
        tokens=best.tokens,
        tokens_interval=_spread([one.tokens for one in optima], best.tokens),
        epochs=_epochs(space, best),
        loss=_loss(surface, h, best.params, best.tokens),
        losses={
            column.removeprefix("loss."): _loss(surface, h, best.params, best.tokens, column) for column in targets
        },
        baselines=compared,
        law=surface.law,
        extrapolation=_extrapolation(surface, h, best, flops),
        warnings=warnings,
    )
    warnings += _warnings(answer, surface, question, best)
    return answer


def _optimise(
    draw: Draw, question: _Question, starts: list[Mixture], seed: int, turns: int = TURNS, explore: bool = True
) -> _Optimum:
    """Mixture and size in turn, from the middle of the bracket; the first turn may explore."""
    n = math.sqrt(question.low * question.high)
    at_edge = False
    mixture = question.fixed_mixture
    searched = question.space is not None and question.fixed_mixture is None
    for turn in range(turns):
        if searched:
            assert question.space is not None
            first = turn == 0
            mixture = minimise_mixture(
                draw,
                question.space,
                params=n,
                tokens=question.tokens_at(n),
                starts=starts if first else [mixture] if mixture is not None else [],
                kl=question.kl,
                prior=question.prior,
                explore=explore and first,
                seed=seed,
            )
        if question.params is not None:
            return _Optimum(mixture, question.params, question.tokens_at(question.params), False)
        h = mixture.array(draw.domains) if mixture is not None else None

        def loss(params: np.ndarray, h: np.ndarray | None = h) -> np.ndarray:
            return draw.predict(h, params, question.each_tokens_at(params))

        before = n
        n, at_edge = minimise_size(loss, question.low, question.high)
        if not searched or abs(math.log(n / before)) < STILL:
            break
    return _Optimum(mixture, n, question.tokens_at(n), at_edge)


def _within_supply(space: MixtureSpace, flops: float, cost: Cost, low: float, high: float) -> tuple[float, float]:
    """The sizes of the bracket for which the text suffices: at a fixed budget a smaller model asks for more tokens.

    Raises:
        InfeasibleError: when even the largest asks for too many.
    """
    most = 0.999999 * space.most_tokens()  # inside by more than rounding
    if math.isinf(most):
        return low, high
    space.bounds(float(cost.tokens(flops, high)))
    return max(low, min(high, _params_for(cost, flops, most))), high


def _params_for(cost: Cost, flops: float, tokens: float) -> float:
    """N whose training on `tokens` costs `flops`, by bisection (D falls as N rises)."""
    low, high = 1.0, 1e16
    for _ in range(200):
        middle = math.sqrt(low * high)
        if float(cost.tokens(flops, middle)) > tokens:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _baseline(surface: Surface, question: _Question, mixture: Mixture, observed: RunTable | None) -> dict[str, Any]:
    """A baseline at its own best size."""
    fixed = _Question(**{**vars(question), "fixed_mixture": mixture})
    optimum = _optimise(surface.point, fixed, [], 0)
    h = mixture.array(surface.domains)
    result: dict[str, Any] = {
        "mixture": dict(mixture),
        "params": optimum.params,
        "tokens": optimum.tokens,
        "loss": _loss(surface, h, optimum.params, optimum.tokens),
    }
    if observed is not None:
        row = best_observed(surface, observed)[1]
        total = sum(weight * observed.column(column)[row] for column, weight in surface.objective.items())
        result |= {"run_id": str(observed.run_ids[row]), "observed_loss": float(total)}
    return result


def _loss(
    surface: Surface, h: np.ndarray | None, params: float, tokens: float, target: str | None = None
) -> dict[str, float]:
    if target is None:
        mean = surface.predict(h, params, tokens)
    else:
        mean = surface.predict_targets(h, params, tokens)[target]
    low, high = surface.interval(h, params, tokens, LEVEL, "prediction", target)
    return {"mean": float(mean[0]), "low": float(low[0]), "high": float(high[0])}


def _extrapolation(surface: Surface, h: np.ndarray | None, best: _Optimum, flops: float) -> dict[str, Any]:
    distance = float(np.min(np.linalg.norm(surface.support - h, axis=1))) if h is not None else 0.0
    return {
        "flops_ratio": flops / surface.max_flops,
        "params_ratio": best.params / surface.params_range[1],
        "tokens_ratio": best.tokens / surface.tokens_range[1],
        "mixture_distance": distance,
        "outside_support": h is not None and not _inside(surface.support, h),
    }


def _inside(support: np.ndarray, h: np.ndarray) -> bool:
    """Whether each weight lies within the range that was run."""
    return bool(np.all(h >= support.min(axis=0) - 0.02) and np.all(h <= support.max(axis=0) + 0.02))


def _warnings(answer: Recommendation, surface: Surface, question: _Question, best: _Optimum) -> list[str]:
    found = []
    ratio = answer.extrapolation["flops_ratio"]
    if ratio > ANOTHER_SCALE and "compute" not in surface.choice.objective.tests:
        found.append(
            "no runs differ enough in compute to try the law on more of it: trust the order of mixtures, "
            "not the loss or its interval"
        )
    if ratio > FAR:
        found.append(f"the budget is {ratio:.3g} times the largest run: nothing tests the law that far out")
    if best.at_edge and question.space is not None and best.tokens > 0.95 * question.space.most_tokens():
        found.append("the text runs out: a smaller model on more tokens would be better, but there are none left")
    elif best.at_edge:
        found.append(
            f"N = {format_quantity(best.params)} is at the end of the sizes that the runs support "
            f"({format_quantity(question.low)} to {format_quantity(question.high)}): run larger or smaller models"
        )
    if len(answer.mixture) > 1:
        top = max(answer.mixture, key=lambda name: answer.mixture[name])
        if answer.mixture[top] > CORNER:
            found.append(f"the mixture is nearly all {top}: a corner, usually a sign that the objective is too narrow")
        if answer.extrapolation["outside_support"]:
            found.append("a weight lies outside what was run: train this mixture before you rely on it")
        if question.space is not None:
            upper = question.space.bounds(best.tokens)[1]
            capped = [
                name
                for name, limit in zip(question.space.names, upper, strict=True)
                if limit < 1 and answer.mixture[name] > limit - 1e-4
            ]
            if capped:
                found.append(f"held back by the supply or a bound: {', '.join(capped)}")
        found += _against_baselines(answer, surface)
    repeated = [name for name, seen in answer.epochs.items() if seen > 1]
    blind = [law for law in surface.blind_to_repeats if repeated]
    if blind:
        found.append(f"repeats of {', '.join(repeated)} count as fresh text in {', '.join(blind)}")
    return found


def _against_baselines(answer: Recommendation, surface: Surface) -> list[str]:
    """Whether the resamples agree that the answer is better: differences by draw, which share their errors."""
    found = []
    ours = surface.draws(_array(surface, answer.mixture), answer.params, answer.tokens)[:, 0]
    for key, baseline in answer.baselines.items():
        name = key.replace("_", " ")
        theirs = surface.draws(_array(surface, baseline["mixture"]), baseline["params"], baseline["tokens"])[:, 0]
        if baseline["loss"]["mean"] < answer.loss["mean"] - 1e-9:
            found.append(f"the {name} mixture is predicted better, but lies outside the bounds or caps")
        elif len(ours) and np.quantile(theirs - ours, 0.05) <= 0:
            found.append(f"the gain over the {name} mixture is not certain: its 90% interval includes 0")
    return found


def _array(surface: Surface, mixture: Mapping[str, float]) -> np.ndarray:
    return np.array([mixture.get(name, 0.0) for name in surface.domains])


def _epochs(space: MixtureSpace | None, best: _Optimum) -> dict[str, float]:
    """Epochs of the domains whose supply is known."""
    if space is None or best.mixture is None:
        return {}
    known = {domain.name for domain in space.domains if math.isfinite(domain.unique_tokens)}
    return {name: seen for name, seen in space.epochs(best.mixture, best.tokens).items() if name in known}


def _spread(values: list[float], point: float) -> tuple[float, float]:
    """The middle `LEVEL` of the draws, widened to the point, from which refits may shrink; without draws the point."""
    if not values:
        return point, point
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return min(float(low), point), max(float(high), point)
