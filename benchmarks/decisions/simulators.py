"""Simulated truths, in which training a proxy is a function call, so that choosers of mixtures are compared by regret.

A truth is a law of a form that none of ours has (`forms.py`), fitted to a published table, plus a draw of a smooth
misfit of the size that the fit left there, plus noise per target and scale (`truths.json`, by `fit_truths.py`). The
form goes with the seed, as do the draw and, where the name says so, the objective.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.forms import FORMS
from benchmarks.decisions.misfit import Misfit, standard_normals
from benchmarks.decisions.simplex import least
from mixlab.arrays import Array

TRUTHS = Path(__file__).with_name("truths.json")
LEAST, SOFT, MOST_LINEAR, MOST = 0.3, 0.07, 8.0, 11.0  # nats, see `bounded`
SIMULATORS = {  # name: table, objective
    "3-mean": ("3", "mean"),
    "5-mean": ("5", "mean"),
    "5-single": ("5", "single"),
    "7-mean": ("7", "mean"),
    "7-random": ("7", "random"),
    "17-single": ("17", "single"),
    "17-mean": ("17", "mean"),
    "17-random": ("17", "random"),
    "40-single": ("40", "single"),
    "40-mean": ("40", "mean"),
}


@dataclass(frozen=True)
class Scale:
    """A proxy's size: parameters N and training tokens D."""

    params: float
    tokens: float

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6 * self.params * self.tokens


@dataclass(eq=False)
class Simulator:
    """A truth. Mixtures are arrays (M, K) over `domains` whose rows sum to 1; losses are in nats per token.

    Attributes:
        name: of `SIMULATORS`.
        form: of `FORMS`.
        domains: names of the K domains.
        objective: weights by name of target, of sum 1.
        prior: the natural proportions, shape (K,).
        scales: of proxies, smallest first. The largest is N0, the one that budgets count runs of.
        target: where regret is measured.
    """

    name: str
    form: str
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    objective: dict[str, float]
    prior: Array
    scales: tuple[Scale, ...]
    target: Scale
    theta: dict[str, Array]
    misfit: Misfit
    sizes: dict[str, Array]  # of misfit and noise by target at N0, and how they fall with C
    salt: int
    _best: tuple[Array, float] | None = field(default=None, repr=False)

    def losses(self, mixtures: Array, scale: Scale, seeds: NDArray[np.int_] | None = None) -> dict[str, Array]:
        """Losses (M,) by target: noisy with a seed per row, which then always gives the same; noiseless with None."""
        mixtures = np.atleast_2d(np.asarray(mixtures, dtype=float))
        everything = np.arange(len(self.targets))
        loss = self._at(mixtures, scale, everything)
        if seeds is not None:
            salt = np.array([self.salt, round(scale.params), round(scale.tokens)]).astype(np.uint64)
            normals = standard_normals(mixtures, np.broadcast_to(seeds, len(mixtures)), salt, len(everything))
            loss = np.maximum(loss + normals * self.noise(scale), LEAST / 2)
        return dict(zip(self.targets, loss.T, strict=True))

    def value(self, mixtures: Array, scale: Scale) -> Array:
        """The noiseless objective, shape (M,)."""
        used = np.array([self.targets.index(name) for name in self.objective])
        weights = np.array(list(self.objective.values()))
        return self._at(np.atleast_2d(np.asarray(mixtures, dtype=float)), scale, used) @ weights

    def noise(self, scale: Scale) -> Array:
        """Its standard deviation by target, shape (J,)."""
        return np.asarray(self.sizes["noise"] * (scale.flops / self.scales[-1].flops) ** -self.sizes["noise_fall"])

    def regret(self, mixtures: Array) -> Array:
        """Nats above the optimum at the target, shape (M,)."""
        return self.value(mixtures, self.target) - self.best()[1]

    def best(self) -> tuple[Array, float]:
        """The optimum over the whole simplex at the target, and its value."""
        if self._best is None:
            self._best = self.optimum(self.target)
        return self._best

    def floor(self) -> float:
        """The regret of the noiseless optimum of N0: what no method that trusts its proxies' ranking goes below."""
        return float(self.regret(self.optimum(self.scales[-1])[0])[0])

    def optimum(self, scale: Scale) -> tuple[Array, float]:
        """The mixture of least noiseless objective over the simplex, and its value."""
        h = least(lambda rows: self.value(rows, scale), self.prior, np.random.default_rng(self.salt))
        return h, float(self.value(h, scale)[0])

    def _at(self, mixtures: Array, scale: Scale, targets: NDArray[np.int_]) -> Array:
        zero = self.scales[-1]
        n, d = np.log(scale.params / zero.params), np.log(scale.tokens / zero.tokens)
        c = np.log(scale.flops / zero.flops)
        J = len(self.targets)
        theta = {name: value[..., _terms(targets, value.shape[-1], J)] for name, value in self.theta.items()}
        loss = FORMS[self.form](theta, mixtures, float(n), float(d))
        u = c / np.log(self.target.flops / zero.flops)
        size = self.sizes["misfit"] * np.exp(-self.sizes["misfit_fall"] * c)
        return bounded(loss + self.misfit.of(targets).at(mixtures, u) * size[targets])


def make(name: str, seed: int) -> Simulator:
    """The truth of a name and a seed.

    Raises:
        KeyError: a name that is none of SIMULATORS.
    """
    table, kind = SIMULATORS[name]
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    form = list(FORMS)[seed % len(FORMS)]
    stored = _stored()
    fitted = stored["17" if table == "40" else table]
    theta = {key: np.array(value) for key, value in fitted["forms"][form]["theta"].items()}
    sizes = {key: np.array(value) for key, value in fitted["forms"][form]["sizes"].items()}
    domains, targets, prior = fitted["domains"], fitted["targets"], np.array(fitted["prior"])
    if table == "40":
        theta, sizes, prior = _grown(theta, sizes, prior, len(targets), 40, 20, rng)
        domains, targets = [f"d{i}" for i in range(40)], [f"t{j}" for j in range(20)]
    smooth = fitted["forms"][form]["smooth"]
    misfit = Misfit.draw(rng, len(domains), len(targets), **{**smooth, "moving": fitted["moving"]})
    scales = tuple(Scale(fitted["params"] / by, fitted["tokens"] / by) for by in (4.0, 2.0, 1.0))
    target = Scale(fitted["params"] * fitted["target"][0], fitted["tokens"] * fitted["target"][1])
    return Simulator(
        name, form, tuple(domains), tuple(targets), _objective(kind, targets, rng), prior / prior.sum(), scales, target,
        theta, misfit, sizes, int(rng.integers(2**31)),
    )  # fmt: skip


def bounded(loss: Array) -> Array:
    """Losses as they are between 1 and 8 nats and smoothly held outside, where forms are far from all that was fitted.

    No model is worse than guessing, log V or about 11 nats, and none comes to 0.
    """
    high = MOST_LINEAR + (MOST - MOST_LINEAR) * np.tanh((loss - MOST_LINEAR) / (MOST - MOST_LINEAR))
    low = LEAST + SOFT * np.logaddexp(0, (loss - LEAST) / SOFT)
    return np.where(loss > MOST_LINEAR, high, low)


@cache
def version() -> str:
    """Eight digits over all that makes the truths: results of others are not theirs."""
    made_by = [TRUTHS, *(TRUTHS.with_name(f"{name}.py") for name in ("simulators", "forms", "misfit"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_by)).hexdigest()[:8]


@cache
def _stored() -> dict[str, Any]:
    return dict(json.loads(TRUTHS.read_text()))


def _objective(kind: str, targets: list[str], rng: np.random.Generator) -> dict[str, float]:
    if kind == "single":
        return {str(rng.choice(targets)): 1.0}
    weights = np.ones(len(targets)) if kind == "mean" else rng.dirichlet(np.ones(len(targets)))
    return {name: float(w) for name, w in zip(targets, weights / weights.sum(), strict=True)}


def _terms(targets: NDArray[np.int_], length: int, J: int) -> NDArray[np.int_]:
    """Columns of some targets, in arrays that hold one or more terms per target."""
    return np.concatenate([targets + J * term for term in range(length // J)])


def _grown(
    theta: dict[str, Array],
    sizes: dict[str, Array],
    prior: Array,
    J: int,
    K: int,
    wanted: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """K domains and `wanted` targets that are drawn like the fitted ones.

    Each is made after one of the fitted, with a quarter of the fitted parameters' spread over domains added, so that
    there are families of kindred domains; a domain's own worth to its target is kept to a random degree.
    """
    from_domain = np.concatenate([rng.permutation(len(prior)) for _ in range(3)])[:K]
    from_target = np.concatenate([rng.permutation(J) for _ in range(2)])[:wanted]
    grown = {}
    for name, value in theta.items():
        if value.ndim == 2:
            columns = value[:, _terms(from_target, value.shape[1], J)]
            centre, spread = columns.mean(axis=0), columns.std(axis=0)
            kept = rng.uniform(0.5, 1, (K, 1))
            grown[name] = centre + kept * (columns[from_domain] - centre)
            grown[name] = grown[name] + 0.25 * spread * rng.standard_normal(grown[name].shape)
        else:
            grown[name] = value[_terms(from_target, len(value), J)]
    sizes = {name: value[from_target] if value.ndim else value for name, value in sizes.items()}
    return grown, sizes, rng.dirichlet(0.6 * np.ones(K) + 4 * prior[from_domain])
