"""`isoflop` (approach 2 of Hoffmann et al. 2022): the optima of isoFLOP profiles against C.

The approach is biased where the loss surface is not symmetric around its valley (Czech et al. 2026), so the parametric
law is fitted to the same runs and its exponent stands beside the answer, with what is known of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.bootstrap import bootstrap_losses, parameter_intervals, percentile_interval
from mixlab.laws.choice.rows import groups_of_mixtures
from mixlab.laws.forms.base import Fits
from mixlab.laws.forms.chinchilla import Chinchilla, optimum
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.solution import Status
from mixlab.laws.predictor import LEVEL
from mixlab.laws.profiles import (
    MIN_SIZES,
    Parabola,
    Profile,
    left_out,
    leverage,
    mean_over_mixtures,
    parabolas,
    profiles,
)
from mixlab.laws.result import FitResult
from mixlab.runs.table import Runs

MIN_BUDGETS = 2
MIN_DRAWS = 20  # bootstrap draws in which two budgets are usable, for an interval
AGREE = 0.005  # of two exponents: over three decades of compute this moves N* by 3.5%


def fit_isoflop(
    table: Runs, target: str = "loss", bootstrap: int = 200, seed: int = 0, params_column: str | None = None
) -> tuple[FitResult, list[Profile]]:
    """N* = G C^a and D* = H C^b from the usable budgets, with intervals from resampled residuals of their parabolas.

    Args:
        table: runs.
        target: the loss column.
        bootstrap: resamples behind the intervals.
        seed: of the resamples.
        params_column: which column is N.

    Raises:
        FitError: when fewer than two budgets are usable; the message says why the others are not.
        RunTableError: when the table has no N, no D, no C or no such column.
    """
    found = profiles(table, target, params_column)
    good = [(profile, profile.curve) for profile in found if profile.curve is not None]
    if len(good) < MIN_BUDGETS:
        raise FitError(
            f"isoFLOP needs at least {MIN_BUDGETS} budgets with a parabola, but got {len(good)}: "
            + "; ".join(left_out(found)),
            f"run one mixture at {MIN_SIZES} or more sizes at each budget, on both sides of the best one",
        )
    per_token = float(np.median(table.flops() / (table.params(params_column) * table.tokens())))
    flops = np.array([profile.flops for profile, _ in good])
    exponents = _exponents(flops, np.array([curve.vertex for _, curve in good]), per_token)
    draws = list(_resampled(good, per_token, bootstrap, seed))
    interval = parameter_intervals(draws) if len(draws) >= MIN_DRAWS else {}
    rows = _rows_of_the_law(table, target, params_column, [profile for profile, _ in good])
    beside = "the budgets share no mixture, so that no law in N and D can be fitted beside approach 2"
    if rows is not None:
        beside = _beside_the_law(rows, good, per_token, exponents["a"], interval.get("a"), bootstrap, seed)
    result = FitResult(
        law="isoflop",
        target=target,
        rows=sum(len(profile.shared) for profile, _ in good),
        params=exponents,
        interval=interval,
        objective=float(sum(np.sum((curve(profile.params) - profile.loss) ** 2) for profile, curve in good)),
        status=Status.CONVERGED,
        warnings=[*table.notes, *left_out(found), beside],
    )
    return result, found


def _exponents(flops: Array, vertices: Array, per_token: float) -> dict[str, float]:
    """Straight lines through the logarithms of N* and D* against that of C, where C = `per_token` N D."""
    log_c = np.log(flops)
    a, log_g = np.polyfit(log_c, vertices, 1)
    b, log_h = np.polyfit(log_c, log_c - np.log(per_token) - vertices, 1)
    return {
        "a": float(a),
        "G": float(np.exp(log_g)),
        "b": float(b),
        "H": float(np.exp(log_h)),
        "budgets": float(len(flops)),
    }


def _resampled(
    good: Sequence[tuple[Profile, Parabola]], per_token: float, count: int, seed: int
) -> Iterator[dict[str, float]]:
    """The exponents of `count` tables in which residuals around the parabolas change their signs.

    As in every bootstrap here, runs are not drawn: sizes and budgets were chosen. A parabola is drawn to the few points
    that it goes through, most of all to those at the ends, so each residual is taken as it would be without its own
    point (MacKinnon and White 1985). A draw in which fewer than two budgets are usable gives nothing.
    """
    rng = np.random.default_rng((seed, 9))
    flops, vertices, usable = np.array([profile.flops for profile, _ in good]), [], []
    for profile, curve in good:
        fitted = curve(profile.params)
        residual = (profile.loss - fitted) / (1 - leverage(profile.params))
        again = parabolas(profile.params, fitted + rng.choice([-1.0, 1.0], (count, len(fitted))) * residual)
        vertices.append(again.vertex)
        usable.append(again.usable)
    for draw, kept in zip(np.array(vertices).T, np.array(usable).T, strict=True):
        if kept.sum() >= MIN_BUDGETS:
            yield _exponents(flops[kept], draw[kept], per_token)


def _rows_of_the_law(
    table: Runs, target: str, params_column: str | None, good: Sequence[Profile]
) -> Observations | None:
    """The runs of the profiles, for a law in N and D; None where their budgets share no mixture.

    With mixtures a row is the mean over the mixtures that all budgets share, at one size and budget.
    """
    params, tokens, loss = table.params(params_column), table.tokens(), table.column(target)
    groups = [profile.shared for profile in good]
    if table.domains:
        mixture = groups_of_mixtures(table.mixtures())
        common = set.intersection(*(set(mixture[profile.shared]) for profile in good))
        if not common:
            return None
        kept = [rows[np.isin(mixture[rows], list(common))] for rows in groups]
        groups = [rows[params[rows] == size] for rows in kept for size in np.unique(params[rows])]
        n, d, mean = (
            np.array([mean_over_mixtures(values[rows], mixture[rows]) for rows in groups])
            for values in (params, tokens, loss)
        )
    else:
        rows = np.concatenate(groups)
        n, d, mean = params[rows], tokens[rows], loss[rows]
    count = len(mean)
    return Observations(np.zeros((count, 0)), n, d, np.full((count, 1), np.inf), mean, (), np.arange(count))


def _beside_the_law(
    rows: Observations,
    good: Sequence[tuple[Profile, Parabola]],
    per_token: float,
    ours: float,
    interval: tuple[float, float] | None,
    bootstrap: int,
    seed: int,
) -> str:
    """The exponent of N* by the parametric law fitted to the same runs, and what is known of the difference."""
    fit = Chinchilla().fit(rows, np.ones((1, len(rows))))
    status = fit.status[0]
    if status != Status.CONVERGED:
        return (
            f"approach 2 stands alone here: the parametric law's fit to the same runs ended as {status}, "
            f"which says that {status.meaning}"
        )
    theirs = optimum(fit.natural()).a
    said = f"N* grows as C^{ours:.3f} by approach 2 and as C^{theirs:.3f} by the parametric law fitted to the same runs"
    if abs(ours - theirs) < AGREE:
        return f"{said}: they agree"
    bias, undecided = _bias(good, per_token, fit, theirs), "Neither is shown to be nearer to the truth"
    if bias is None:
        return f"{said}. By that law the optima lie outside the sizes that were run. {undecided}"
    rest = ours - theirs - bias
    cause = "noise, or one of the two does not follow the runs"
    if interval is not None:
        others = _exponents_of_the_law(fit, rows, bootstrap, seed)
        both = f"(90% intervals {interval[0]:.3f} to {interval[1]:.3f} and {others[0]:.3f} to {others[1]:.3f})"
        within = abs(rest) <= np.hypot(interval[1] - interval[0], others[1] - others[0]) / 2
        cause = f"within their noise {both}"
        if not within:
            cause = f"more than their noise {both}: one of the two does not follow the runs"
    explained = f"{bias:+.3f}" if round(bias, 3) else "nothing"
    return (
        f"{said}. Of the difference of {ours - theirs:+.3f}, the bias of approach 2 at these sizes explains "
        f"{explained} (measured on the law's own surface). The other {rest:+.3f} is {cause}. {undecided}"
    )


def _exponents_of_the_law(fit: Fits, rows: Observations, count: int, seed: int) -> tuple[float, float]:
    """The 90% interval of its exponent of N*."""
    tables = bootstrap_losses(rows.loss, fit.predict(rows)[0], rows.run, fit.theta.shape[1], count, seed)
    again = fit.law.fit(rows.with_loss(tables), np.ones(tables.shape), start=fit.theta[0])
    low, high = percentile_interval([optimum(again.natural(index)).a for index in range(len(again))], LEVEL)
    return float(low), float(high)


def _bias(good: Sequence[tuple[Profile, Parabola]], per_token: float, law: Fits, exact: float) -> float | None:
    """How far approach 2 is off on the law's own surface, without noise; None where it finds too few optima there."""
    flops, vertices = [], []
    for profile, _ in good:
        at = Points.make(None, profile.params, profile.flops / (per_token * profile.params), 0)
        curve = parabolas(profile.params, law.predict(at))
        if curve.usable[0]:
            flops.append(profile.flops)
            vertices.append(curve.vertex[0])
    if len(flops) < MIN_BUDGETS:
        return None
    return _exponents(np.array(flops), np.array(vertices), per_token)["a"] - exact
