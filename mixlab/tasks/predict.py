"""The accuracy to expect at a budget, by way of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixlab.errors import ConfigError, argument, did_you_mean
from mixlab.mixture import Mixture
from mixlab.runs.table import Runs
from mixlab.search.question import Question
from mixlab.search.recommend import recommend
from mixlab.tasks.mean import Plateau, TaskMean
from mixlab.tasks.two_step import TwoStep

ACCURACY = "acc."  # before a benchmark's name
SAME_MIXTURE = 0.01  # in any weight


@dataclass(frozen=True)
class ExpectedAccuracy:
    """What is expected at one budget.

    Attributes:
        flops, params, tokens: C, N, D.
        loss, accuracy: of step 1 and of both, keys mean, low, high (90% prediction interval).
        tasks: accuracies by benchmark, where several are averaged.
        extrapolation: how far it lies from the runs.
        warnings: in words.
    """

    flops: float
    params: float
    tokens: float
    loss: dict[str, float]
    accuracy: dict[str, float]
    tasks: dict[str, dict[str, float]]
    extrapolation: dict[str, Any]
    warnings: list[str]


def predict_at(chain: TwoStep | TaskMean, question: Question) -> ExpectedAccuracy:
    """The accuracy at a budget, of the model that the question fixes or of the compute-optimal one under step 1.

    Args:
        chain: both steps.
        question: without a space: the mixture is that of all runs, or the one that it fixes.
    """
    answer = recommend(chain.surface, question, draws=0)
    h = question.mixture.array(chain.domains) if question.mixture is not None else None

    def accuracy(of: TwoStep | TaskMean | Plateau) -> dict[str, float]:
        low, high = of.interval(h, answer.params, answer.tokens)
        mean = of.predict(h, answer.params, answer.tokens)
        return {"mean": float(mean[0]), "low": float(low[0]), "high": float(high[0])}

    parts = chain.parts if isinstance(chain, TaskMean) else ()
    return ExpectedAccuracy(
        flops=question.flops,
        params=answer.params,
        tokens=answer.tokens,
        loss=answer.loss,
        accuracy=accuracy(chain),
        tasks={part.target.removeprefix(ACCURACY): accuracy(part) for part in parts},
        extrapolation=answer.extrapolation,
        warnings=answer.warnings,
    )


def mixture_of(table: Runs, fixed: dict[str, float]) -> Mixture | None:
    """The mixture to predict for: the given one, or that of all runs.

    Raises:
        ConfigError: when the runs differ in theirs and none is given, or it names another domain.
    """
    if not table.domains:
        if fixed:
            raise ConfigError("the table has no mix.<domain> columns, so a mixture has no meaning here")
        return None
    for name in fixed:
        if name not in table.domains:
            raise ConfigError(f"the table has no domain `{name}`", did_you_mean(name, table.domains))
    if fixed:
        return Mixture(fixed)
    weights = table.mixtures()
    if np.ptp(weights, axis=0).max() > SAME_MIXTURE:
        some = ",".join(f"{name}={1 / len(table.domains):.2g}" for name in table.domains[:2])
        some += ",..." * (len(table.domains) > 2)
        raise ConfigError(
            "the runs differ in their mixtures, so a prediction needs one",
            f"give it, or what `mixlab recommend` answers, as {argument('mix', f'--fixed-mix {some}')}",
        )
    return Mixture.from_array(table.domains, weights[0])
