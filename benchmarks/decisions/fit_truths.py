"""Fit the truths' forms, misfit and noise to published tables; writes `truths.json`, numbers of our own.

    python -m benchmarks.decisions.fit_truths TABLES

TABLES is a folder with regmix.csv, mixinglaws_3mix.csv, mixinglaws_5mix.csv and mixinglaws_redpajama.csv. A form is
fitted by least squares with a ridge, in losses divided by their spread over mixtures, every scale counting alike. What is
left is split: `noise` by replicates where a table has them (checkpoints of a run about a smooth curve), else by the nugget
of a Gaussian process over mixtures; `misfit` is the rest, between what the fit leaves in its own rows and in mixtures that
were held out. Both fall with compute as measured.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize

from benchmarks.decisions.forms import FORMS
from benchmarks.decisions.simulators import TRUTHS
from mixlab.arrays import Array

RIDGE = 0.02  # of a parameter one prior deviation away, in units of a row's squared residual
FOLDS = 4
LENGTHS, NUGGETS = (0.3, 0.5, 0.8, 1.2, 2.0), (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
# The share of the misfit's variance that changes between scales, and over how much of the way from N0 to the target. Set
# so that floors come to what was measured on others' simulators; `fit` prints what the tables say of it.
MOVING = {"3": 0.3, "5": 0.3, "7": 0.3, "17": 0.3}
SPAN, COMMON = 0.6, 0.2
PILE = {  # shares of the Pile's tokens as RegMix' design took them, renormalised over its 17 domains
    "name": "mean of its training mixtures",
}


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
    scale: Array
    mixture: Array
    params: float
    tokens: float
    target: tuple[float, float]
    prior: Array
    noise: Array | None = None

    def rows(self, kept: Array) -> Table:
        parts = {name: getattr(self, name)[kept] for name in ("h", "n", "d", "loss", "scale", "mixture")}
        return Table(**{**self.__dict__, **parts})


def table_of(frame: pd.DataFrame, size: str, losses: list[str], zero: tuple[float, float], **more: Any) -> Table:
    mixes = [name for name in frame if name.startswith("mix.")]
    h = frame[mixes].to_numpy(float)
    h = h / h.sum(axis=1, keepdims=True)
    scale = frame.groupby([size, "tokens"]).ngroup().to_numpy()
    return Table(
        [name[4:] for name in mixes], [name[5:] for name in losses], h, np.log(frame[size].to_numpy(float) / zero[0]),
        np.log(frame["tokens"].to_numpy(float) / zero[1]), frame[losses].to_numpy(float), scale,
        frame.groupby(mixes).ngroup().to_numpy(), *zero, **more,
    )  # fmt: skip


def regmix(folder: Path) -> Table:
    frame = pd.read_csv(folder / "regmix.csv")
    losses = [name for name in frame if name.startswith("loss.")]
    prior = frame.loc[frame["split"] == "train", [name for name in frame if name.startswith("mix.")]].mean(axis=0)
    return table_of(frame, "params", losses, (1e6, 1e9), target=(1000, 25), prior=prior.to_numpy())


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
    noise = np.sqrt(np.median(left, axis=0))
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


def start(form: str, table: Table, rng: np.random.Generator) -> dict[str, tuple[Array, Array]]:
    """By parameter, the centre and the deviation of its prior."""
    J, K = len(table.targets), len(table.domains)
    low = np.nanmin(table.loss, axis=0)
    at_zero = np.nanmedian(table.loss[np.abs(table.n) + np.abs(table.d) < 0.8], axis=0)
    wide = {"exponentials": 2 * J}.get(form, J)

    def near(centre: float | Array, deviation: float, *shape: int) -> tuple[Array, Array]:
        return np.broadcast_to(centre, shape).astype(float), np.full(shape, deviation)

    prior = {
        "e": near(np.log(0.75 * low), 0.2, J),
        "alpha": near(np.log(0.12), 0.7, J),
        "beta": near(np.log(0.15), 0.7, J),
        "gamma": near(0, 0.05, K),
        "delta": near(0, 0.05, K),
        "t": near(0, 1.5, K, wide),
        "u": near(0, 0.8, K, wide),
        "v": near(0, 0.8, K, wide),
    }
    reducible = at_zero - 0.75 * low
    if form == "exponentials":
        prior["a"] = near(np.log(np.tile(reducible / 2, 2)), 1, wide)
    elif form == "link":
        prior["a"], prior["A"] = near(0.5, 1, J), near(np.log(2 * reducible), 0.5, J)
    else:
        prior["A"] = near(np.log(reducible), 0.7, J)
        prior["beta"] = near(np.log(0.3), 0.7, J)
        prior["t"], prior["u"] = near(-2, 2, K, J), near(-1, 2, K, J)
        del prior["v"]
    return prior


def fit(form: str, table: Table, starts: int = 2) -> dict[str, Array]:
    """The best of a few starts by L-BFGS on the ridged squares."""
    unit = spread(table)[table.scale]
    counts = np.bincount(table.scale, minlength=int(table.scale.max()) + 1)
    weight = 1 / counts[table.scale]
    weight = weight * len(weight) / weight.sum()
    known = np.isfinite(table.loss)
    t = {name: torch.tensor(np.asarray(value)) for name, value in (
        ("h", table.h), ("n", table.n[:, None]), ("d", table.d[:, None]), ("loss", np.where(known, table.loss, 0)),
        ("by", np.where(known, np.sqrt(weight)[:, None] / unit, 0)),
    )}  # fmt: skip
    found = []
    for seed in range(starts):
        rng = np.random.default_rng(seed)
        prior = start(form, table, rng)
        names = list(prior)
        centre = np.concatenate([prior[name][0].ravel() for name in names])
        deviation = np.concatenate([prior[name][1].ravel() for name in names])

        def unpack(z: Any, names: list[str] = names, prior: dict[str, tuple[Array, Array]] = prior) -> dict[str, Any]:
            sizes = [prior[name][0].size for name in names]
            parts = torch.split(z, sizes) if isinstance(z, torch.Tensor) else np.split(z, np.cumsum(sizes)[:-1])
            return {name: part.reshape(prior[name][0].shape) for name, part in zip(names, parts, strict=True)}

        def objective(z: Array, centre: Array = centre, deviation: Array = deviation) -> tuple[float, Array]:
            zt = torch.tensor(z, requires_grad=True)
            theta = unpack(torch.tensor(centre) + torch.tensor(deviation) * zt)
            residual = (FORMS[form](theta, t["h"], t["n"], t["d"], torch) - t["loss"]) * t["by"]
            value = (residual**2).sum() + RIDGE * (zt**2).sum()
            value.backward()
            return float(value.detach()), zt.grad.numpy()

        begin = 0.3 * rng.standard_normal(len(centre))
        end = minimize(objective, begin, jac=True, method="L-BFGS-B", options={"maxiter": 1500, "maxfun": 2000, "maxcor": 30})
        found.append((float(end.fun), unpack(centre + deviation * end.x)))
    return min(found, key=lambda pair: pair[0])[1]


def spread(table: Table) -> Array:
    """The standard deviation over mixtures by scale and target, shape (S, J); at scales of few mixtures, the median's."""
    scales = int(table.scale.max()) + 1
    sds = np.full((scales, table.loss.shape[1]), np.nan)
    for s in range(scales):
        rows = table.loss[table.scale == s]
        if len(rows) >= 10:
            sds[s] = np.nanstd(rows, axis=0)
    return np.where(np.isfinite(sds), sds, np.nanmedian(sds, axis=0))


def residuals(form: str, theta: dict[str, Array], table: Table) -> Array:
    return np.asarray(table.loss - FORMS[form](theta, table.h, table.n[:, None], table.d[:, None], np))


def held_out(form: str, table: Table) -> Array:
    """Residuals of mixtures that were not fitted, shape (R, J)."""
    fold = np.random.default_rng(0).permutation(int(table.mixture.max()) + 1)[table.mixture] % FOLDS
    left = np.empty_like(table.loss)
    for k in range(FOLDS):
        left[fold == k] = residuals(form, fit(form, table.rows(fold != k), 1), table.rows(fold == k))
    return left


def process(h: Array, residual: Array) -> tuple[float, Array]:
    """Length in sqrt(h) and the nugget's share by target, by likelihood of a Matern 5/2 process over one scale's rows."""
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


def measure(form: str, table: Table) -> dict[str, Any]:
    """The form fitted, and the sizes of what it leaves."""
    theta = fit(form, table)
    inside, outside = residuals(form, theta, table), held_out(form, table)
    c = table.n + table.d
    counts = np.bincount(table.scale)
    many = [s for s in np.flatnonzero(counts >= 20)]
    zero = min(many, key=lambda s: abs(c[table.scale == s][0]))
    here = table.scale == zero
    whole = here & np.isfinite(table.loss).all(axis=1)
    length, nugget = process(table.h[whole], inside[whole])
    by_scale = np.array([np.sqrt(rms(inside[table.scale == s]) * rms(outside[table.scale == s])) for s in many])
    at = np.array([c[table.scale == s][0] for s in many])
    fall = -float(np.polyfit(at, np.log(by_scale).mean(axis=1), 1)[0]) if np.ptp(at) > 1 else 0.0
    size = by_scale[many.index(zero)]
    noise = np.sqrt(nugget) * rms(inside[whole]) if table.noise is None else table.noise
    misfit = np.sqrt(np.maximum(size**2 - noise**2, 0.1 * size**2))
    relative = spread(table)
    print(
        f"  {form:>12}: left of the spread at N0 {np.mean(rms(inside[here]) / relative[zero]):.3f} inside, "
        f"{np.mean(rms(outside[here]) / relative[zero]):.3f} held out; by scale "
        + " ".join(f"{x:.1f}:{v:.4f}" for x, v in sorted(zip(at, by_scale.mean(axis=1), strict=True)))
        + f"\n{'':>14} misfit {misfit.mean():.4f}, noise {noise.mean():.4f}, fall {fall:.3f}, length {length}, "
        f"nugget {nugget.mean():.2f}, {moving(table, inside, many)}"
    )
    return {
        "theta": {name: rounded(value) for name, value in theta.items()},
        "sizes": {
            "misfit": rounded(misfit), "misfit_fall": rounded(max(fall, 0.0)),
            "noise": rounded(noise), "noise_fall": rounded(max(fall, 0.0)),
        },
        "smooth": {"length": length, "span": SPAN, "common": COMMON},
    }  # fmt: skip


def moving(table: Table, residual: Array, many: list[int]) -> str:
    """The correlation of residuals of the same mixtures at the two scales furthest apart, and between targets."""
    c = table.n + table.d
    order = sorted(many, key=lambda s: c[table.scale == s][0])
    a, b = (table.scale == order[0], table.scale == order[-1])
    shared = np.intersect1d(table.mixture[a], table.mixture[b])
    if len(shared) < 10:
        a, b = (table.scale == order[0], table.scale == order[-2])
        shared = np.intersect1d(table.mixture[a], table.mixture[b])
    first, second = (
        np.array([residual[rows & (table.mixture == m)].mean(axis=0) for m in shared]) for rows in (a, b)
    )
    pairs = [np.corrcoef(x, y)[0, 1] for x, y in zip(first.T, second.T, strict=True) if np.isfinite(x + y).all()]
    targets = np.corrcoef(first[np.isfinite(first).all(axis=1)].T)
    off = targets[~np.eye(len(targets), dtype=bool)].mean()
    return f"residuals' correlation over {np.ptp(c[a | b]):.1f} of log C {np.mean(pairs):.2f}, between targets {off:.2f}"


def rounded(value: Any) -> Any:
    return json.loads(json.dumps(np.asarray(value).tolist()), parse_float=lambda text: float(f"{float(text):.4g}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", nargs="*", help="these tables; the others stay as they are")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    stored = json.loads(TRUTHS.read_text()) if options.only else {}
    for name, table in tables(options.tables).items():
        if options.only and name not in options.only:
            continue
        print(f"{name} domains: {len(table.loss)} rows, {len(np.unique(table.mixture))} mixtures", flush=True)
        stored[name] = {
            "domains": table.domains, "targets": table.targets, "prior": rounded(table.prior),
            "params": table.params, "tokens": table.tokens, "target": table.target, "moving": MOVING[name],
            "forms": {form: measure(form, table) for form in FORMS},
        }  # fmt: skip
        TRUTHS.write_text(json.dumps(stored) + "\n")


if __name__ == "__main__":
    main()
