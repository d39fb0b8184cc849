"""`isoflop` (approach 2 of Hoffmann et al. 2022): a parabola in log N per budget, then the optima against C.

A budget counts only where its parabola curves upward, its vertex lies inside the sampled sizes, and five or more
sizes were run; the others are dropped with the reason. The approach is biased where the loss surface is not symmetric
around its valley (Czech et al. 2026), so read it beside the parametric law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.errors import FitError
from mixlab.laws.bootstrap import parameter_intervals
from mixlab.laws.forms.chinchilla import Chinchilla, optimum
from mixlab.laws.forms.points import Observations, Points
from mixlab.laws.forms.solution import Status
from mixlab.laws.result import FitResult
from mixlab.runs.table import Runs

MIN_SIZES = 5
MIN_BUDGETS = 2
BIASED = 0.005  # in the exponent: over three decades of compute this moves N* by 3.5%
SAME_BUDGET = 0.1  # runs whose log C differ by less share a budget


@dataclass(frozen=True)
class Profile:
    """One budget.

    Attributes:
        flops: C, the median of its runs.
        params, loss: of its runs, shape (m,).
        curve: the parabola's coefficients in log N, highest power first, or None when it could not be fitted.
        optimum: N*, or NaN.
        tag: `ok`, or why the budget is dropped.
    """

    flops: float
    params: Array
    loss: Array
    curve: Array | None
    optimum: float
    tag: str

    def to_json(self) -> dict[str, Any]:
        """For `mixlab fit --json`; the optimum of a dropped budget is null."""
        best = self.optimum if np.isfinite(self.optimum) else None
        return {"flops": self.flops, "runs": len(self.params), "optimum": best, "tag": self.tag}


def profiles(flops: Array, params: Array, loss: Array) -> list[Profile]:
    """Group runs by budget, ascending, and fit each profile."""
    budget = _budgets(np.log(flops))
    return [
        _profile(float(np.median(flops[budget == b])), params[budget == b], loss[budget == b])
        for b in np.unique(budget)
    ]


def fit_isoflop(
    table: Runs, target: str = "loss", bootstrap: int = 200, seed: int = 0
) -> tuple[FitResult, list[Profile]]:
    """N* = G C^a and D* = H C^b from the good profiles, with intervals by resampling the runs of each budget.

    The parametric law is fitted to the same rows and stands beside the answer in the warnings, with the bias that
    approach 2 has on that law's own noiseless surface.

    Raises:
        FitError: when fewer than two budgets have a usable profile; the message says why each was dropped.
    """
    flops, params, tokens, loss = table.flops(), table.params(), table.tokens(), table.column(target)
    per_token = float(np.median(flops / (params * tokens)))
    found = profiles(flops, params, loss)
    good = [profile for profile in found if profile.tag == "ok"]
    dropped = [f"budget {profile.flops:.3g} is dropped: {profile.tag}" for profile in found if profile.tag != "ok"]
    if len(good) < MIN_BUDGETS:
        raise FitError(
            f"isoFLOP needs at least {MIN_BUDGETS} budgets with a usable profile, but got {len(good)}"
            + (f" ({'; '.join(dropped[:4])})" if dropped else ""),
            f"run {MIN_SIZES} or more sizes at each budget, on both sides of the best one",
        )
    params_of = _exponents(good, per_token)
    rng = np.random.default_rng((seed, 9))
    draws = [draw for _ in range(bootstrap) if (draw := _resampled(good, per_token, rng)) is not None]
    interval = parameter_intervals(draws) if len(draws) >= 20 else {}
    warnings = [*table.notes, *dropped, _beside_the_law(good, params, tokens, loss, params_of, per_token)]
    curve_error = [
        float(np.sum((np.polyval(p.curve, np.log(p.params)) - p.loss) ** 2)) for p in good if p.curve is not None
    ]
    result = FitResult(
        "isoflop", target, len(table), params_of, interval, float(np.sum(curve_error)), Status.CONVERGED, warnings
    )
    return result, found


def _beside_the_law(
    good: list[Profile], params: Array, tokens: Array, loss: Array, found: dict[str, float], per_token: float
) -> str:
    """What the parametric law says to the same rows, and how far approach 2 is off on that law's own surface."""
    count = len(loss)
    rows = Observations(np.zeros((count, 0)), params, tokens, np.full((count, 1), np.inf), loss, (), np.arange(count))
    fit = Chinchilla().fit(rows, np.ones((1, count)))
    if fit.status[0] != Status.CONVERGED:
        return f"approach 2 stands alone here: the parametric law's fit to these rows ended as {fit.status[0]}"
    best = optimum(fit.natural())
    exact = [
        _profile(p.flops, p.params, fit.predict(Points.make(None, p.params, p.flops / (per_token * p.params), 0))[0])
        for p in good
    ]
    kept = [profile for profile in exact if profile.tag == "ok"]
    said = f"the parametric law says N* in proportion to C^{best.a:.3f} and approach 2 C^{found['a']:.3f}"
    if len(kept) < MIN_BUDGETS:
        return f"{said}; on the law's own surface the sampled sizes do not bracket the optima"
    bias = _exponents(kept, per_token)["a"] - best.a
    if abs(bias) < BIASED:
        return f"{said}; at these sizes approach 2 has no bias to speak of ({bias:+.4f} on the law's own surface)"
    return f"{said}; approach 2 is biased here, by {bias:+.3f} on the law's own surface: prefer the parametric law"


def _budgets(log_c: Array) -> NDArray[np.int64]:
    """Index of each run's budget: sorted log C, cut at gaps."""
    order = np.argsort(log_c)
    label = np.empty(len(log_c), dtype=np.int64)
    label[order] = np.concatenate([[0], np.cumsum(np.diff(log_c[order]) > SAME_BUDGET)])
    return label


def _profile(flops: float, params: Array, loss: Array) -> Profile:
    def drop(tag: str, curve: Array | None = None) -> Profile:
        return Profile(flops, params, loss, curve, float("nan"), tag)

    if len(np.unique(params)) < MIN_SIZES:
        return drop(f"only {len(np.unique(params))} sizes of {MIN_SIZES}")
    x = np.log(params)
    centre = x.mean()
    curve = np.polyfit(x - centre, loss, 2)
    # Back from the centred coordinate, in which the fit is well conditioned.
    shifted = np.array([curve[0], curve[1] - 2 * curve[0] * centre, np.polyval(curve, -centre)])
    if curve[0] <= 0:
        return drop("the parabola opens downward", shifted)
    vertex = centre - curve[1] / (2 * curve[0])
    if not x.min() < vertex < x.max():
        return drop("the optimum lies outside the sampled sizes", shifted)
    return Profile(flops, params, loss, shifted, float(np.exp(vertex)), "ok")


def _exponents(good: list[Profile], per_token: float) -> dict[str, float]:
    log_c = np.log([profile.flops for profile in good])
    log_n = np.log([profile.optimum for profile in good])
    log_d = log_c - np.log(per_token) - log_n
    a, log_g = np.polyfit(log_c, log_n, 1)
    b, log_h = np.polyfit(log_c, log_d, 1)
    return {
        "a": float(a),
        "G": float(np.exp(log_g)),
        "b": float(b),
        "H": float(np.exp(log_h)),
        "budgets": float(len(good)),
    }


def _resampled(good: list[Profile], per_token: float, rng: np.random.Generator) -> dict[str, float] | None:
    fresh = []
    for profile in good:
        index = rng.integers(len(profile.params), size=len(profile.params))
        again = _profile(profile.flops, profile.params[index], profile.loss[index])
        if again.tag == "ok":
            fresh.append(again)
    return _exponents(fresh, per_token) if len(fresh) >= MIN_BUDGETS else None
