"""Benchmark accuracy beyond the fitted runs: `two-step`, the procedure of Gadre et al. (2024), and plain baselines.

    python benchmarks/two_step.py TABLES [--law auto] [--bootstrap 100]

TABLES is a folder with gadre_overtraining.csv. The paper predicts open_lm_1b at 640 tokens per parameter and open_lm_7b
at 20: losses from five small runs, top-1 errors (mean of 17 tasks) from those and open_lm_1b at 20. mixlab refuses
five runs, so `two-step` gets every run that cost at most what open_lm_1b at 20 did. First come the paper's two targets,
with a curve for each task and with one curve for their mean; then every task of the table, with what needs no loss: at
the same targets, and at the fifth of all runs with most compute.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from mixlab.errors import FitError
from mixlab.runs.table import Runs
from mixlab.tasks.mean import fit_tasks
from mixlab.tasks.trial import try_out, without_loss
from mixlab.tasks.two_step import TwoStep, fit_two_step

LOSS, MEAN = "loss.c4_val", "acc.avg17"
TASKS = (  # whose mean is MEAN
    "arc_easy", "bigbench_cs_algorithms", "bigbench_dyck_languages", "bigbench_novel_concepts", "bigbench_operators",
    "bigbench_qa_wikidata", "boolq", "commonsense_qa", "copa", "coqa", "hellaswag", "hellaswag_zeroshot",
    "lambada_openai", "piqa", "pubmed_qa_labeled", "squad", "winograd",
)  # fmt: skip
SMALL = ("d=96", "d=512", "d=576", "d=1024")


@dataclass(frozen=True)
class Design:
    """One training set: the paper's five and six runs, all runs up to the same compute, and its targets."""

    five: pd.DataFrame
    six: pd.DataFrame
    affordable: pd.DataFrame
    targets: pd.DataFrame


def design(table: pd.DataFrame) -> Design:
    multiplier, size = table["token_multiplier"].round(), table["model"].str.split("_").str[0]
    five = (size.isin(SMALL) & (multiplier == 20)) | ((size == "d=96") & (multiplier == 320))
    medium = (table["model"] == "open_lm_1b") & (multiplier == 20)
    long = (table["model"] == "open_lm_1b") & (multiplier == 640)
    large = (table["model"] == "open_lm_7b") & (multiplier == 20)
    affordable = table["flops"] <= table.loc[medium, "flops"].max()
    return Design(table[five], table[five | medium], table[affordable], table[long | large].sort_values("params"))


def paper_loss(rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """L = E + (a M^eta + b M^-eta) C^-eta by least squares in L, M = D / N."""

    def terms(eta: float, at: pd.DataFrame) -> np.ndarray:
        log_c, log_m = np.log(at["flops"].astype(float)) - 44.0, np.log(at["token_multiplier"] / 20)
        return np.column_stack([np.ones(len(at)), np.exp(eta * (log_m - log_c)), np.exp(-eta * (log_m + log_c))])

    loss = rows[LOSS].to_numpy()
    fits = []
    for eta in (0.05, 0.1, 0.15, 0.2, 0.3):
        start = [*np.linalg.lstsq(terms(eta, rows), loss, rcond=None)[0], eta]
        fits.append(least_squares(lambda t: terms(t[3], rows) @ t[:3] - loss, start, xtol=1e-14, ftol=1e-14))
    best = min(fits, key=lambda fit: fit.cost).x
    return lambda at: terms(best[3], at) @ best[:3]


def paper_error(loss: np.ndarray, error: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """err = eps - k exp(-gamma L) by least squares in err."""
    centre = loss.mean()
    fits = []
    for gamma in (0.3, 0.7, 1.0, 1.5, 2.5):
        terms = np.column_stack([np.ones(len(loss)), -np.exp(-gamma * (loss - centre))])
        start = [*np.linalg.lstsq(terms, error, rcond=None)[0], gamma]
        fits.append(least_squares(lambda t: t[0] - t[1] * np.exp(-t[2] * (loss - centre)) - error, start))
    eps, k, gamma = min(fits, key=lambda fit: fit.cost).x
    return lambda at: eps - k * np.exp(-gamma * (at - centre))


def paper(rows: Design) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of the targets' losses and top-1 errors, %, by the published procedure."""
    loss = paper_loss(rows.five)(rows.targets)
    error = paper_error(rows.six[LOSS].to_numpy(), 1 - rows.six[MEAN].to_numpy())(loss)
    return relative(loss, rows.targets[LOSS]), relative(error, 1 - rows.targets[MEAN])


def ours(rows: Design, law: str, bootstrap: int, by_task: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """The same by `two-step`, and the share of the targets' accuracies inside the 90% interval."""
    table, options = Runs.from_frame(rows.affordable), {"loss": LOSS, "law": law, "bootstrap": bootstrap}
    chain = (
        fit_tasks(table, [f"acc.{task}" for task in TASKS], **options)
        if by_task
        else fit_two_step(table, MEAN, **options)
    )
    at = rows.targets["params"].to_numpy(float), rows.targets["tokens"].to_numpy(float)
    loss, accuracy, (low, high) = chain.surface.predict(None, *at), chain.predict(None, *at), chain.interval(None, *at)
    inside = np.mean((low <= rows.targets[MEAN]) & (rows.targets[MEAN] <= high))
    return relative(loss, rows.targets[LOSS]), relative(1 - accuracy, 1 - rows.targets[MEAN]), float(inside)


def relative(predicted: np.ndarray, observed: pd.Series) -> np.ndarray:
    return 100 * (predicted / observed.to_numpy() - 1)


def every_task(rows: Design, law: str, bootstrap: int) -> list[dict[str, float]]:
    """Mean absolute errors of accuracy at the targets, task by task, and the share inside the 90% interval."""
    table = Runs.from_frame(rows.affordable)
    at = rows.targets["params"].to_numpy(float), rows.targets["tokens"].to_numpy(float)
    found = []
    for task in (name for name in rows.targets if name.startswith("acc.")):
        try:
            chain = fit_two_step(table, task, loss=LOSS, law=law, bootstrap=bootstrap)
        except FitError:
            continue
        observed, (low, high) = rows.targets[task].to_numpy(), chain.interval(None, *at)
        guesses = {"two-step": chain.predict(None, *at)}
        guesses |= {
            one.curve.form.name: one.curve.predict(chain.surface.predict(None, *at))[0] for one in chain.candidates
        }
        guesses |= without_loss(table, task, rows.targets["flops"].to_numpy(float))
        found.append({name: float(np.mean(np.abs(guess - observed))) for name, guess in guesses.items()})
        found[-1] |= {"in interval": float(np.mean((low <= observed) & (observed <= high)))}
        found[-1] |= {"width": float(np.mean(high - low))}
    return found


def every_trial(part: pd.DataFrame, law: str, bootstrap: int) -> list[dict[str, float]]:
    """The same for the fifth of the runs with most compute, predicted from the others."""
    table, found = Runs.from_frame(part), []
    for task in (name for name in part if name.startswith("acc.")):

        def fit(some: Runs, task: str = task) -> TwoStep:
            return fit_two_step(some, task, loss=LOSS, law=law, bootstrap=bootstrap)

        trial = try_out(table, task, fit)
        if trial is not None:
            found.append({"two-step": trial.error, **trial.baselines, "in interval": trial.coverage_90})
    return found


def summarise(what: str, found: list[dict[str, float]], tried: int) -> None:
    table = pd.DataFrame(found)
    print(f"{what}: {len(table)} predicted, {tried - len(table)} refused")
    print(pd.DataFrame({"mean": table.mean(), "median": table.median()}).round(4).to_string(), flush=True)


def show(name: str, who: str, loss: np.ndarray, error: np.ndarray, inside: float | None = None) -> None:
    numbers = [np.array2string(one, precision=2, floatmode="fixed", sign="+") for one in (loss, error)]
    covered = "" if inside is None else f" in interval {inside:.2f}"
    print(f"{name:12s} {who:22s} loss {numbers[0]:15s} error {numbers[1]:15s}{covered}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--law", default="auto", help="of step 1")
    parser.add_argument("--bootstrap", type=int, default=100)
    options = parser.parse_args()
    published = pd.read_csv(options.tables / "gadre_overtraining.csv")
    designs = {str(name): design(part) for name, part in published.groupby("train_dataset")}
    print("relative error of loss and of top-1 error, %, at open_lm_1b x 640 (where it was run) and open_lm_7b x 20")
    for name, rows in designs.items():
        show(name, "paper", *paper(rows))
        show(name, "paper, as many runs", *paper(replace(rows, five=rows.affordable, six=rows.affordable)))
        for by_task in (True, False):
            loss, error, inside = ours(rows, options.law, options.bootstrap, by_task)
            show(name, "two-step, by task" if by_task else "two-step, of the mean", loss, error, inside)
    settings = options.law, options.bootstrap
    tried = sum(name.startswith("acc.") for name in published) * len(designs)
    targets = [row for rows in designs.values() for row in every_task(rows, *settings)]
    summarise("absolute error of accuracy, single tasks, the same targets", targets, tried)
    trials = [row for _, part in published.groupby("train_dataset") for row in every_trial(part, *settings)]
    summarise("absolute error of accuracy, single tasks, the fifth with most compute", trials, tried)


if __name__ == "__main__":
    main()
