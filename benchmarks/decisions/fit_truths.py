"""Fit the truths' forms, misfit and noise to published tables; writes `truths.json`, numbers of our own.

    python -m benchmarks.decisions.fit_truths TABLES

TABLES is a folder with regmix.csv, mixinglaws_3mix.csv, mixinglaws_5mix.csv and mixinglaws_redpajama.csv. A form is
fitted by least squares with a ridge, in losses divided by their spread over mixtures, every scale counting alike. What
is left is split into noise and misfit. Noise is what replicates say, where a table has them (checkpoints of a run about
a smooth curve), else the nugget of a Gaussian process over mixtures, the least over the forms; the rest is misfit. Both
fall with compute as measured.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.decisions.forms import FORMS, TERMS
from benchmarks.decisions.simulators import TRUTHS
from mixlab.arrays import Array
from mixlab.files import write_atomic

# Of a parameter one prior deviation away, in units of a row's squared residual: by domains. A few dozen mixtures, none
# near a corner, say little of the corners.
RIDGE = {3: 0.02, 5: 0.02, 7: 0.02, 17: 0.005}
BENDS = 0.3  # prior deviation of interactions
# prior deviations of the exponents by which a domain's worth moves with scale: fitted over one factor of scale and used
# over a larger, they decide the floors, and were set by them
MOVES = {"exponentials": 0.004, "link": 0.007, "substitutes": 0.015}
SHORTEST = 0.5  # correlation length in sqrt(h); what a few dozen mixtures say below it is noise
LENGTHS, NUGGETS = (0.3, 0.5, 0.8, 1.2, 2.0), (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
# The share of the misfit's variance that changes between scales, and over how much of the way from N0 to the target.
# Set so that floors come to what was measured on others' simulators; `measure` prints what the tables say of it.
MOVING = {"3": 0.3, "5": 0.3, "7": 0.3, "17": 0.7}
SPAN, COMMON = 0.6, 0.2


@dataclass
class Table:
    """Rows of one table.

    Attributes:
        h: mixtures, shape (R, K).
        n: log N / N0, shape (R,).
        d: log D / D0, shape (R,).
        loss: shape (R, J), NaN where it was not measured.
        scale: a number per row for its (N, D), shape (R,).
        mixture: a number per row for its mixture, shape (R,).
        noise: standard deviations by target, where replicates tell them.
    """

    domains: list[str]
    targets: list[str]
    h: Array
    n: Array
    d: Array
    loss: Array
    scale: NDArray[np.int_]
    mixture: NDArray[np.int_]
    params: float
    tokens: float
    target: tuple[float, float]
    prior: Array
    noise: Array | None = None

    def rows(self, kept: NDArray[np.bool_]) -> Table:
        parts = {name: getattr(self, name)[kept] for name in ("h", "n", "d", "loss", "scale", "mixture")}
        return Table(**{**self.__dict__, **parts})


def table_of(frame: pd.DataFrame, size: str, losses: list[str], zero: tuple[float, float], **more: Any) -> Table:
    mixes = [str(name) for name in frame if str(name).startswith("mix.")]
    h = frame[mixes].to_numpy(float)
    h = h / h.sum(axis=1, keepdims=True)
    scale = np.asarray(frame.groupby([size, "tokens"]).ngroup(), dtype=np.int_)
    return Table(
        [name[4:] for name in mixes], [name[5:] for name in losses], h, np.log(frame[size].to_numpy(float) / zero[0]),
        np.log(frame["tokens"].to_numpy(float) / zero[1]), frame[losses].to_numpy(float), scale,
        np.asarray(frame.groupby(mixes).ngroup(), dtype=np.int_), *zero, **more,
    )  # fmt: skip


def regmix(folder: Path) -> Table:
    frame = pd.read_csv(folder / "regmix.csv")
    losses = [str(name) for name in frame if str(name).startswith("loss.")]
    training = frame[frame["split"] == "train"]
    prior = training[[name for name in training if str(name).startswith("mix.")]].to_numpy(float).mean(axis=0)
    return table_of(frame, "params", losses, (1e6, 1e9), target=(1000, 25), prior=prior)


def mixing_laws(folder: Path, name: str, targets: list[str], steps: tuple[int, ...], prior: Array) -> Table:
    """Rows at some steps; the noise from all checkpoints of a run, about a cubic in log step."""
    frame = pd.read_csv(folder / f"mixinglaws_{name}.csv")
    losses = [f"loss.{target}" for target in targets]
    left = []
    for _, run in frame[frame["step"].between(9000, 31000)].groupby("run_id"):
        run = run.dropna(subset=losses)
        if len(run) >= 8:
            x = np.vander(np.log(run["step"].to_numpy(float) / 2e4), 4)
            y = run[losses].to_numpy(float)
            residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
            left.append((residual**2).sum(axis=0) / (len(run) - 4))
    noise = np.sqrt(np.mean(left, axis=0))
    kept = frame[frame["step"].isin(steps)].reset_index(drop=True)
    zero = (float(frame["params_non_embed"].min()), 30000 * 1048576.0)
    return table_of(kept, "params_non_embed", losses, zero, target=(60, 4), prior=prior, noise=noise)


def tables(folder: Path) -> dict[str, Table]:
    groups = [f"group_{name}" for name in ("academic", "prose", "dialogue", "symbolic", "internet")]
    steps = (10000, 14000, 20000, 30000, 60000, 100000)
    return {
        "3": mixing_laws(folder, "3mix", ["Books3", "Github", "Pile-CC"], (*steps, 30000, 45000), np.ones(3) / 3),
        # the Pile's own shares by group, and RedPajama's by source, as the authors' default mixtures state them
        "5": mixing_laws(folder, "5mix", groups, steps, np.array([0.305, 0.102, 0.098, 0.133, 0.363])),
        "7": mixing_laws(
            folder, "redpajama", groups, steps, np.array([0.668, 0.168, 0.047, 0.043, 0.043, 0.027, 0.023])
        ),
        "17": regmix(folder),
    }


def prior_of(form: str, table: Table, j: int) -> dict[str, tuple[Array, Array]]:
    """By parameter of one target, the centre and the deviation of its prior; (K, terms) or (terms,)."""
    K, loss = len(table.domains), table.loss[:, j]
    low = 0.75 * np.nanmin(loss)
    reducible = np.nanmedian(loss[np.abs(table.n) + np.abs(table.d) < 0.8 + np.abs(table.n).min()]) - low
    terms = TERMS if form == "exponentials" else 1

    def near(centre: float, deviation: float, *shape: int) -> tuple[Array, Array]:
        return np.full(shape, centre), np.full(shape, deviation)

    prior = {
        "e": near(np.log(low), 0.2, 1), "alpha": near(np.log(0.12), 0.7, 1), "beta": near(np.log(0.15), 0.7, 1),
        "gamma": near(0, MOVES[form], K, 1), "delta": near(0, MOVES[form], K, 1),
        "t": near(0, 1.5, K, terms), "u": near(0, BENDS, K, terms), "v": near(0, BENDS, K, terms),
    }  # fmt: skip
    if form == "exponentials":  # text of any kind teaches something, hence centres above 0
        prior["a"] = near(np.log(reducible / TERMS), 1, terms)
        prior["t"] = np.tile([0.5, 1.0], (K, 1)), np.tile([1.0, 3.0], (K, 1))
    elif form == "link":
        # held: a large A with a low a is an exponential without the saturation, which ran away at the corners
        prior["a"], prior["A"] = near(0.5, 0.5, 1), near(np.log(1.5 * reducible), 0.2, 1)
        prior["t"] = near(0.7, 1, K, 1)
    else:
        prior["A"], prior["beta"] = near(np.log(reducible), 0.7, 1), near(np.log(0.3), 0.7, 1)
        prior["t"], prior["u"] = near(-2, 2, K, 1), near(-1, 2, K, 1)
        del prior["v"]
    return prior


def unpack(z: Array, prior: dict[str, tuple[Array, Array]]) -> dict[str, Array]:
    """S parameter vectors (S, P), in prior deviations, as arrays of S targets."""
    theta, at = {}, 0
    for name, (centre, deviation) in prior.items():
        block = centre + deviation * z[:, at : at + centre.size].reshape(-1, *centre.shape)  # (S, [K,] terms)
        at += centre.size
        theta[name] = np.moveaxis(block, 0, -1).reshape(*centre.shape[:-1], -1)
    return theta


def fit(form: str, table: Table, starts: int = 3) -> dict[str, Array]:
    """Every target by itself: the best of a few starts by least squares with a ridge."""
    return join([fit_target(form, table, j, starts) for j in range(len(table.targets))])


def join(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Arrays of many targets from those of one each: terms outermost, as in `forms.py`."""
    stacked = {name: np.stack([part[name] for part in parts], axis=-1) for name in parts[0]}  # ([K,] terms, J)
    return {name: value.reshape(*value.shape[:-2], -1) for name, value in stacked.items()}


def fit_target(form: str, table: Table, j: int, starts: int) -> dict[str, Array]:
    """Parameters of one target. Derivatives are differences, all in one call as if each step were a target."""
    known = np.isfinite(table.loss[:, j])
    rows = table.rows(known)
    counts = np.bincount(rows.scale)
    weight = 1 / counts[rows.scale]
    by = np.sqrt(weight * len(weight) / weight.sum()) / spread(table)[rows.scale, j]
    scales = [rows.scale == s for s in np.unique(rows.scale)]
    prior, ridge = prior_of(form, table, j), RIDGE[len(table.domains)]
    size = sum(centre.size for centre, _ in prior.values())

    def residual(z: Array) -> Array:
        """(S, R + P) of S vectors."""
        theta, out = unpack(z, prior), np.empty((len(z), len(by)))
        for at in scales:
            predicted = FORMS[form](theta, rows.h[at], float(rows.n[at][0]), float(rows.d[at][0]))
            out[:, at] = ((predicted - rows.loss[at, j : j + 1]) * by[at, None]).T
        return np.hstack([out, np.sqrt(ridge) * z])

    def jacobian(z: Array) -> Array:
        return np.asarray((residual(z + 1e-5 * np.eye(size)) - residual(z[None])).T / 1e-5)

    rng = np.random.default_rng(j)
    found = [
        least_squares(lambda z: residual(z[None])[0], begin, jacobian, method="lm", max_nfev=150, xtol=1e-6, ftol=1e-6)
        for begin in 0.3 * rng.standard_normal((starts, size))
    ]
    return unpack(min(found, key=lambda end: float(end.cost)).x[None], prior)


def spread(table: Table) -> Array:
    """The standard deviation over mixtures by scale and target, (S, J); at scales of few mixtures the median."""
    scales = int(table.scale.max()) + 1
    sds = np.full((scales, table.loss.shape[1]), np.nan)
    for s in range(scales):
        rows = table.loss[table.scale == s]
        if len(rows) >= 10:
            sds[s] = np.nanstd(rows, axis=0)
    return np.where(np.isfinite(sds), sds, np.nanmedian(sds, axis=0))


def residuals(form: str, theta: dict[str, Array], table: Table) -> Array:
    left = table.loss.copy()
    for rows in (table.scale == s for s in np.unique(table.scale)):
        left[rows] -= FORMS[form](theta, table.h[rows], table.n[rows][0], table.d[rows][0])
    return left


def process(h: Array, residual: Array) -> tuple[float, Array]:
    """Length in sqrt(h) and nugget's share by target, by likelihood of a Matern 5/2 process over one scale's rows."""
    s = np.sqrt(h)
    distance = np.sqrt(np.maximum(((s[:, None] - s[None]) ** 2).sum(axis=-1), 0))
    y = (residual - residual.mean(axis=0)) / residual.std(axis=0)
    best: tuple[float, float, Array] = (-np.inf, 0.0, np.zeros(0))
    for length in LENGTHS:
        r = np.sqrt(5) * distance / length
        kernel = (1 + r + r**2 / 3) * np.exp(-r)
        values, vectors = np.linalg.eigh(kernel)
        rotated = (vectors.T @ y) ** 2
        scores = []
        for nugget in NUGGETS:
            w = (1 - nugget) * np.maximum(values, 0) + nugget
            variance = (rotated / w[:, None]).mean(axis=0)
            scores.append(-0.5 * (np.log(w).sum() + len(y) * np.log(variance)))
        top = np.max(scores, axis=0).sum()
        if top > best[0]:
            best = float(top), length, np.array(NUGGETS)[np.argmax(scores, axis=0)]
    return best[1], best[2]


def rms(x: Array) -> Array:
    return np.asarray(np.sqrt(np.nanmean(x**2, axis=0)))


def measure(table: Table) -> dict[str, Any]:
    """Every form fitted, and the sizes of what it leaves."""
    c = table.n + table.d
    counts = np.bincount(table.scale)
    many = sorted((int(s) for s in np.flatnonzero(counts >= 20)), key=lambda s: float(c[table.scale == s][0]))
    at = np.array([c[table.scale == s][0] for s in many])
    zero = many[int(np.argmin(np.abs(at)))]
    whole = (table.scale == zero) & np.isfinite(table.loss).all(axis=1)
    fits, left, smooth = {}, {}, {}
    for form in FORMS:
        fits[form] = fit(form, table)
        left[form] = residuals(form, fits[form], table)
        smooth[form] = process(table.h[whole], left[form][whole])
    noise = table.noise
    if noise is None:  # what no form and no process over mixtures explains
        noise = np.min([np.sqrt(smooth[form][1]) * rms(left[form][whole]) for form in FORMS], axis=0)
    measured = {}
    for form, residual in left.items():
        size = rms(residual[whole])
        misfit = np.sqrt(np.maximum(size**2 - noise**2, 0.25 * size**2))
        by_scale = np.array([rms(residual[table.scale == s]).mean() for s in many])
        fall = -float(np.polyfit(at, np.log(by_scale), 1)[0]) if np.ptp(at) > 1 else 0.0
        print(
            f"  {form:>12}: misfit {misfit.mean():.4f}, noise {noise.mean():.4f}, falling as C^-{fall:.3f}, length "
            f"{smooth[form][0]}; left of the losses' spread {np.mean(size / spread(table)[zero]):.3f}; by log C "
            + " ".join(f"{x:.1f}:{v:.4f}" for x, v in zip(at, by_scale, strict=True))
            + f"; {moving(table, residual, many)}",
            flush=True,
        )
        measured[form] = {
            "theta": {name: rounded(value) for name, value in fits[form].items()},
            "sizes": {
                "misfit": rounded(misfit), "misfit_fall": rounded(max(fall, 0.0)),
                "noise": rounded(noise), "noise_fall": rounded(max(fall, 0.0)),
            },
            "smooth": {"length": max(smooth[form][0], SHORTEST), "span": SPAN, "common": COMMON},
        }  # fmt: skip
    return measured


def moving(table: Table, residual: Array, many: list[int]) -> str:
    """The correlation of residuals of the same mixtures at the two scales furthest apart, and between targets."""
    c = table.n + table.d
    a, b = (table.scale == many[0], table.scale == many[min(len(many) - 1, 12) if len(many) > 3 else len(many[:2]) - 1])
    shared = np.intersect1d(table.mixture[a], table.mixture[b])
    if len(shared) < 10 or len(many) < 2:
        return "one scale"
    first, second = (np.array([residual[rows & (table.mixture == m)].mean(axis=0) for m in shared]) for rows in (a, b))
    pairs = [np.corrcoef(x, y)[0, 1] for x, y in zip(first.T, second.T, strict=True) if np.isfinite(x + y).all()]
    targets = np.corrcoef(first[np.isfinite(first).all(axis=1)].T)
    off = targets[~np.eye(len(targets), dtype=bool)].mean()
    return (
        f"residuals' correlation over {np.ptp(c[a | b]):.1f} of log C {np.mean(pairs):.2f}, between targets {off:.2f}"
    )


def rounded(value: Any) -> Any:
    return json.loads(json.dumps(np.asarray(value).tolist()), parse_float=lambda text: float(f"{float(text):.4g}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", nargs="*", help="these tables; the others stay as they are")
    parser.add_argument("--out", type=Path, default=TRUTHS)
    options = parser.parse_args()
    stored = json.loads(TRUTHS.read_text()) if options.only else {}
    for name, table in tables(options.tables).items():
        if options.only and name not in options.only:
            continue
        print(f"{name} domains: {len(table.loss)} rows, {len(np.unique(table.mixture))} mixtures", flush=True)
        stored[name] = {
            "domains": table.domains, "targets": table.targets, "prior": rounded(table.prior),
            "params": table.params, "tokens": table.tokens, "target": table.target, "moving": MOVING[name],
            "forms": measure(table),
        }  # fmt: skip
    write_atomic(options.out, (json.dumps(stored) + "\n").encode())


if __name__ == "__main__":
    main()
