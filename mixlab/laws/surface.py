"""The objective as a function of (mixture, N, D): one fitted law per target, combined, with honest intervals.

Every target is fitted by itself and the predictions are combined with the objective's weights. A confidence interval
says where the mean of many runs lies and comes from resampling residuals by run. A prediction interval says where a new
run will lie and adds the noise of a run and the law's own error in extrapolation, as measured by rolling origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mixlab.errors import ConfigError, FitError
from mixlab.laws.base import CONVERGED, ILL_CONDITIONED, Array, Fit, FitResult, Law, Observations, Points
from mixlab.laws.bootstrap import bootstrap_losses, groups_of_mixtures
from mixlab.laws.parametric import ParametricLaw
from mixlab.laws.registry import get_law
from mixlab.laws.select import Candidate, choose_law
from mixlab.laws.support import observe, require_support
from mixlab.laws.transfer import TransferError, transfer_error
from mixlab.runs import RunTable


@dataclass(frozen=True)
class Draw:
    """One bootstrap draw of the objective (or its point fit): deterministic, differentiable."""

    fits: dict[str, Fit]
    weights: dict[str, float]
    index: int
    domains: tuple[str, ...]

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective at each point, shape (M,)."""
        at = Points.make(mixture, params, tokens, len(self.domains))
        total = np.zeros(len(at))
        for name, weight in self.weights.items():
            total += weight * _one(self.fits[name], self.index).predict(at)[0]
        return total

    def gradient(self, mixture: ArrayLike, params: float, tokens: float) -> Array:
        """d objective / d h at one point, shape (K,)."""
        at = Points.make(mixture, params, tokens, len(self.domains))
        total = np.zeros(len(self.domains))
        for name, weight in self.weights.items():
            total += weight * _one(self.fits[name], self.index).gradient(at)[0, 0]
        return total


@dataclass(frozen=True)
class Surface:
    """A fitted objective.

    Attributes:
        law: the name of the law used.
        objective: weights by column.
        domains: names, in the order of every mixture array; empty where the table has no mixtures.
        fits: by column, what is printed.
        rows: how many rows were fitted.
        warnings: in words.
        selection: the candidates and their transfer errors, best first; empty when the law was named.
        support: distinct mixtures that were run, shape (m, K).
        params_range, tokens_range, max_flops: what was run.
        transfer: the objective's error on rows that a fit did not see.
        noise: standard deviation of the log of a run's objective around the law.
    """

    law: str
    objective: dict[str, float]
    domains: tuple[str, ...]
    fits: dict[str, FitResult]
    rows: int
    warnings: list[str]
    selection: list[dict[str, Any]]
    support: Array
    params_range: tuple[float, float]
    tokens_range: tuple[float, float]
    max_flops: float
    transfer: TransferError
    noise: float
    point: Draw
    resamples: dict[str, Fit] = field(repr=False)
    bootstrap: int = 0
    flops_per_param_token: float = 6.0

    @property
    def sized(self) -> bool:
        """Whether the law tells model sizes apart, so that N can be searched."""
        law, (low, high) = get_law(self.law), self.params_range
        return "params" in law.needs or (not law.needs and low < high)

    def predict(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective at h (M, K) or (K,), N, D: shape (M,)."""
        return self.point.predict(mixture, params, tokens)

    def predict_targets(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> dict[str, Array]:
        """The loss of every target by column, each (M,)."""
        at = Points.make(mixture, params, tokens, len(self.domains))
        return {name: fit.predict(at)[0] for name, fit in self.point.fits.items()}

    def gradient(self, mixture: ArrayLike, params: float, tokens: float) -> Array:
        """d objective / d h, shape (K,)."""
        return self.point.gradient(mixture, params, tokens)

    def draws(self, mixture: ArrayLike | None, params: ArrayLike, tokens: ArrayLike) -> Array:
        """The objective under every bootstrap draw, shape (B, M)."""
        at = Points.make(mixture, params, tokens, len(self.domains))
        total = np.zeros((self.bootstrap, len(at)))
        for name, weight in self.objective.items():
            total += weight * self.resamples[name].predict(at)
        return total

    def draw(self, index: int) -> Draw:
        """One bootstrap draw."""
        return Draw(self.resamples, self.objective, index, self.domains)

    def interval(
        self,
        mixture: ArrayLike | None,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = 0.9,
        kind: str = "prediction",
        target: str | None = None,
    ) -> tuple[Array, Array]:
        """Low and high at each point, each (M,).

        Args:
            mixture, params, tokens: as for `predict`.
            level: coverage, for instance 0.9.
            kind: `prediction` (a new run) or `confidence` (the mean of many).
            target: a column, or None for the objective.

        Raises:
            ConfigError: on another `kind`, or a target that was not fitted.
        """
        at = Points.make(mixture, params, tokens, len(self.domains))
        if target is None:
            mean, draws = self.predict(mixture, params, tokens), self.draws(mixture, params, tokens)
        elif target in self.point.fits:
            mean, draws = self.point.fits[target].predict(at)[0], self.resamples[target].predict(at)
        else:
            raise ConfigError(f"the surface has no target `{target}`", f"fitted: {', '.join(self.point.fits)}")
        edges = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(draws, edges, axis=0) if len(draws) else (mean, mean)
        if kind == "confidence":
            return low, high
        if kind != "prediction":
            raise ConfigError(f"an interval is `prediction` or `confidence`, but got `{kind}`")
        # Independent parts add in variance, on the log scale; few origins ask for Student's t.
        spread = np.std(np.log(draws), axis=0, ddof=1) if len(draws) > 1 else np.zeros(len(mean))
        reach = np.log(self.flops_per_param_token * at.params * at.tokens / self.max_flops)
        part = np.sqrt(spread**2 + self.noise**2 + self.transfer.at(reach) ** 2)
        half = float(stats.t.ppf(edges[1], df=2 + self.transfer.tests)) * part
        return mean * np.exp(-half), mean * np.exp(half)


def fit_surface(
    table: RunTable,
    objective: str | Mapping[str, float],
    *,
    law: str = "auto",
    bootstrap: int = 200,
    seed: int = 0,
    params_column: str | None = None,
) -> Surface:
    """Fit the objective.

    Args:
        table: runs.
        objective: a column (`loss`, `loss.code`), or weights over evaluation sets (`{"code": .5, "web": .5}`).
        law: a name, or `auto` for the law that transfers best.
        bootstrap: resamples behind the intervals.
        seed: of resamples and folds.
        params_column: which column is N.

    Raises:
        FitError: when the runs cannot carry the law, or its fit does not converge; the hint says
            which runs are missing.
        RunTableError: when a column is missing.
    """
    weights = {objective: 1.0} if isinstance(objective, str) else {f"loss.{k}": float(v) for k, v in objective.items()}
    rows, losses, flops, warnings = observe(table, list(weights), params_column)
    total = sum(weight * losses[name] for name, weight in weights.items())
    groups = groups_of_mixtures(rows.mixture)
    selection = choose_law(rows, losses, weights, flops, groups, seed) if law == "auto" else []
    names = [candidate.law for candidate in selection if not candidate.baseline] or [law]
    chosen, point_fits, passed_over = _first_converged(names, rows, losses, seed)
    warnings += passed_over + _better_baselines(selection, chosen.name)
    resamples, results = {}, {}
    for name, fit in point_fits.items():
        data = rows.with_loss(losses[name])
        resamples[name] = _resampled(chosen, fit, data, bootstrap, seed) if bootstrap else fit
        results[name] = _result(chosen, fit, resamples[name] if bootstrap else None, data, name)
        if results[name].status == ILL_CONDITIONED:
            warnings.append(
                f"the rows cannot tell all parameters of {name}'s fit apart: trust its predictions, not its parameters"
            )
    known = {candidate.law: candidate.error for candidate in selection}
    transfer = known.get(chosen.name) or transfer_error(chosen, rows, losses, weights, flops, groups, seed)
    if transfer.tests == 0:
        warnings.append("the runs do not span compute levels enough to test extrapolation: intervals may be narrow")
    point = Draw(point_fits, weights, 0, rows.domains)
    fitted = point.predict(rows.mixture, rows.params, rows.tokens)
    spare = max(1, len(rows) - chosen.size(len(rows.domains)))
    noise = float(np.sqrt(np.sum((np.log(fitted) - np.log(total)) ** 2) / spare))
    support = np.unique(rows.mixture.round(6), axis=0)
    top = int(np.argmax(flops))
    return Surface(
        law=chosen.name,
        objective=weights,
        domains=rows.domains,
        fits=results,
        rows=len(rows),
        warnings=warnings,
        selection=[candidate.to_json() for candidate in selection],
        support=support,
        params_range=(float(rows.params.min()), float(rows.params.max())),
        tokens_range=(float(rows.tokens.min()), float(rows.tokens.max())),
        max_flops=float(flops.max()),
        transfer=transfer,
        noise=noise,
        point=point,
        resamples=resamples,
        bootstrap=bootstrap,
        flops_per_param_token=float(flops[top] / (rows.params[top] * rows.tokens[top])),
    )


def _resampled(law: Law, fit: Fit, rows: Observations, count: int, seed: int) -> Fit:
    """`count` fits to tables that the fitted law could have made."""
    fitted = fit.predict(rows)[0]
    losses = bootstrap_losses(rows.loss, fitted, rows.run, law.size(len(rows.domains)), count, seed)
    return law.fit(rows.with_loss(losses), np.ones(losses.shape), seed, start=fit.theta[0])


def _better_baselines(selection: Sequence[Candidate], law: str) -> list[str]:
    """Baselines that predicted unseen runs better than the law that was chosen."""
    errors = {candidate.law: candidate.error.score for candidate in selection}
    return [
        f"the baseline `{candidate.law}` predicts unseen runs better than `{law}` "
        f"({100 * errors[candidate.law]:.1f}% against {100 * errors[law]:.1f}% error)"
        for candidate in selection
        if candidate.baseline and errors[candidate.law] < errors[law]
    ]


def _first_converged(
    names: Sequence[str], rows: Observations, losses: Mapping[str, Array], seed: int
) -> tuple[Law, dict[str, Fit], list[str]]:
    """The first of `names` whose fits of all targets converge, those fits, and why others were passed over.

    Raises:
        FitError: when there is none: an unconverged fit is not an answer.
    """
    passed_over: list[str] = []
    for name in names:
        law = get_law(name)
        require_support(law, rows)
        fits = {}
        for target, loss in losses.items():
            data = rows.with_loss(loss)
            fits[target] = law.fit(data, np.ones((1, len(data))), seed)
        broken = next((target for target, fit in fits.items() if fit.status[0] != CONVERGED), None)
        if broken is None:
            return law, fits, passed_over
        passed_over.append(f"the law `{name}` is passed over: its fit of {broken} ended as {fits[broken].status[0]}")
    raise FitError(
        "; ".join(passed_over),
        "run a wider range of sizes, tokens or mixtures, leave out rows before the power law with --where, "
        "or name another --law",
    )


def _result(law: Law, fit: Fit, resamples: Fit | None, rows: Observations, target: str) -> FitResult:
    params = fit.natural()
    interval = {}
    if resamples is not None and params:
        table = [resamples.natural(index) for index in range(len(resamples.theta))]
        for name in params:
            values = np.array([row[name] for row in table])
            low, high = np.quantile(values, [0.05, 0.95])
            interval[name] = (float(low), float(high))
    status = law.status(fit, rows) if isinstance(law, ParametricLaw) else fit.status[0]
    return FitResult(law.name, target, len(rows), params, interval, float(fit.objective[0]), status)


def _one(fit: Fit, index: int) -> Fit:
    """Fit `index` of a batch as a batch of one."""
    return Fit(fit.law, fit.theta[index : index + 1], fit.centre, fit.objective[index : index + 1], ("",), fit.domains)
