"""Accuracy in two steps: planted curves, choice of the form, refusals, intervals, several tasks, published figures."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from mixlab.errors import ConfigError, FitError, MixlabError, RunTableError
from mixlab.laws.predictor import Predictor
from mixlab.runs.table import Runs
from mixlab.tasks.accuracy import fit_curve, rank_forms
from mixlab.tasks.curves import FORMS, Exponential, Form, Sigmoid
from mixlab.tasks.mean import Plateau, fit_tasks
from mixlab.tasks.trial import try_out, without_loss
from mixlab.tasks.two_step import TwoStep, fit_two_step

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT.parent / "shared" / "reference"
SIGMOID = {"a": 0.25, "b": 0.9, "k": 2.1, "L0": 2.8}
EXPONENTIAL = {"eps": 0.75, "k": 5.0, "gamma": 1.3}


def sigmoid(loss: np.ndarray) -> np.ndarray:
    return np.asarray(0.25 + 0.65 / (1 + np.exp(2.1 * (loss - 2.8))))


def exponential(loss: np.ndarray) -> np.ndarray:
    return np.asarray(1 - (0.75 - 5.0 * np.exp(-1.3 * loss)))


def planted(seed: int = 0, noise: float = 0.0, of_loss: float = 0.0) -> Runs:
    """Five sizes at six token counts; a loss by a Chinchilla law, accuracies by the sigmoid of it."""
    rng = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(2e8, 6e10, 6)))
    loss = (1.8 + 200 * n**-0.32 + 400 * d**-0.3) * np.exp(of_loss * rng.standard_normal(len(n)))
    accuracy = sigmoid(loss) + noise * rng.standard_normal(len(n))
    frame = pd.DataFrame({"params": n, "tokens": d, "loss": loss, "acc.quiz": np.clip(accuracy, 0, 1)})
    return Runs.from_frame(frame.assign(**{"acc.coin": 0.5 + 0.02 * rng.standard_normal(len(n))}))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_jacobian_matches_finite_differences(form: Form) -> None:
    theta = np.array([[0.3, 0.9, 0.2, -0.4], [0.1, 0.7, 0.8, 0.3]])[:, : form.size]
    u, step = np.linspace(-2, 2, 7), 1e-6
    jacobian = form.evaluate(theta, u)[1]
    for index in range(form.size):
        moved = step * np.eye(form.size)[index]
        slope = (form.evaluate(theta + moved, u)[0] - form.evaluate(theta - moved, u)[0]) / (2 * step)
        assert jacobian[:, :, index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("chance", [None, 0.25])
@pytest.mark.parametrize(
    ("form", "curve", "truth"), [(Sigmoid(), sigmoid, SIGMOID), (Exponential(), exponential, EXPONENTIAL)]
)
def test_a_planted_curve_is_recovered(form: Form, curve: object, truth: dict[str, float], chance: float | None) -> None:
    loss = np.linspace(2.4, 5, 20)
    assert callable(curve)
    fitted = fit_curve(form, loss, curve(loss), chance)
    assert fitted.status == ("converged",)
    assert fitted.natural() == pytest.approx(truth, rel=1e-6)
    assert fitted.predict(np.array([2.2]))[0] == pytest.approx(curve(np.array([2.2])), rel=1e-6)


def test_the_chance_level_is_a_floor() -> None:
    loss = np.linspace(2.6, 4, 12)
    accuracy = sigmoid(loss) + 0.01 * np.random.default_rng(0).standard_normal(12)
    for form in FORMS:
        assert fit_curve(form, loss, accuracy, 0.2).predict(np.array([50.0]))[0, 0] == pytest.approx(0.2, abs=1e-6)
        assert fit_curve(form, loss, accuracy).floor != pytest.approx(0.2, abs=1e-6)


def test_the_form_is_chosen_by_runs_of_lower_loss() -> None:
    loss = np.linspace(2.4, 5, 20)
    best, other = rank_forms(loss, exponential(loss), np.arange(20))
    assert (best.curve.form.name, best.admitted, other.admitted) == ("exponential", True, False)
    assert best.error < 1e-6 < other.error
    # Where both do about as well, the one that stays below 1.
    noisy = exponential(loss) + 0.02 * np.random.default_rng(1).standard_normal(20)
    best, other = rank_forms(loss, noisy, np.arange(20))
    assert other.admitted
    assert best.curve.form.name == "sigmoid"


def test_step_one_and_two_together_recover_the_truth() -> None:
    chain = fit_two_step(planted(), "acc.quiz", law="chinchilla", chance=0.25, bootstrap=0)
    assert chain.fits["acc.quiz"].params == pytest.approx(SIGMOID, rel=1e-6)
    truth = sigmoid(1.8 + 200 * np.array([7e9]) ** -0.32 + 400 * np.array([1.4e11]) ** -0.3)
    assert chain.predict(None, 7e9, 1.4e11) == pytest.approx(truth, abs=1e-5)
    low, high = chain.interval(None, 7e9, 1.4e11)
    assert high - low < 1e-3
    json.dumps(chain.steps(), allow_nan=False)


def test_the_interval_holds_new_runs_and_widens_with_few_items() -> None:
    inside, at = [], (np.geomspace(1e8, 2e9, 8), np.geomspace(1e10, 1e11, 8))
    for seed in range(8):
        chain = fit_two_step(planted(seed, 0.015, 0.004), "acc.quiz", law="chinchilla", bootstrap=40)
        rng = np.random.default_rng((seed, 1))
        loss = (1.8 + 200 * at[0] ** -0.32 + 400 * at[1] ** -0.3) * np.exp(0.004 * rng.standard_normal(8))
        observed = sigmoid(loss) + 0.015 * rng.standard_normal(8)
        low, high = chain.interval(None, *at)
        inside.append((low <= observed) & (observed <= high))
        sure = chain.interval(None, *at, kind="confidence")
        assert np.all(sure[1] - sure[0] < high - low)
    assert 0.85 <= np.mean(inside) <= 1.0
    few, many = (
        fit_two_step(planted(0, 0.001), "acc.quiz", law="chinchilla", bootstrap=20, items=items).interval(None, *at)
        for items in (100, 100_000)
    )
    assert np.median(few[1] - few[0]) > 3 * np.median(many[1] - many[0])


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda f: f.assign(**{"acc.quiz": f["acc.coin"]}), {"chance": 0.5}, FitError, "still at chance: 0.5"),
        (lambda f: f.assign(**{"acc.quiz": f["acc.coin"]}), {}, FitError, "does not rise as the loss falls"),
        (lambda f: f.assign(**{"acc.quiz": 0.4}), {}, FitError, "does not rise as the loss falls"),
        (lambda f: f.assign(**{"acc.quiz": 0.9 - f["acc.quiz"]}), {}, FitError, "does not rise as the loss falls"),
        (lambda f: f.assign(**{"acc.quiz": 0.5 - 0.1 * (f["loss"] - 2.7) ** 2}), {}, FitError, "falls again as"),
        (lambda f: f.assign(**{"acc.quiz": 100 * f["acc.quiz"]}), {}, RunTableError, "must lie between 0 and 1"),
        (lambda f: f.head(4), {}, FitError, "needs 5 rows with `acc.quiz` and its loss, but got 4"),
        (lambda f: f.drop(columns="loss"), {}, RunTableError, "no loss to predict `acc.quiz` through"),
        (lambda f: f, {"loss": "lss"}, RunTableError, "no column `lss`"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_refused(
    change: object, options: dict[str, object], error: type[MixlabError], message: str
) -> None:
    assert callable(change)
    with pytest.raises(error, match=message) as raised:
        fit_two_step(Runs.from_frame(change(planted().frame)), "acc.quiz", bootstrap=0, **options)  # type: ignore[arg-type]
    assert raised.value.hint
    assert raised.value.exit_code == (4 if error is FitError else 2)


def test_only_accuracies_have_two_steps() -> None:
    with pytest.raises(ConfigError, match="predicts an accuracy") as error:
        fit_two_step(planted(), "loss")
    assert "acc.quiz" in str(error.value.hint)


def test_the_loss_is_that_of_the_answer_where_there_is_one() -> None:
    frame = planted().frame
    own = Runs.from_frame(frame.assign(**{"nll.quiz": frame["loss"] / 2}))
    assert dict(fit_two_step(own, "acc.quiz", law="chinchilla", bootstrap=0).loss) == {"nll.quiz": 1.0}
    assert dict(fit_two_step(own, "acc.quiz", law="chinchilla", bootstrap=0, loss="loss").loss) == {"loss": 1.0}
    evals = Runs.from_frame(frame.rename(columns={"loss": "loss.a"}).assign(**{"loss.b": frame["loss"] + 1}))
    mean = fit_two_step(evals, "acc.quiz", law="chinchilla", bootstrap=0)
    assert dict(mean.loss) == {"loss.a": 0.5, "loss.b": 0.5}
    assert mean.predict(None, 1e9, 1e11) == pytest.approx(
        fit_two_step(planted(), "acc.quiz", law="chinchilla", bootstrap=0).predict(None, 1e9, 1e11), abs=1e-4
    )


def test_held_out_runs_are_predicted_better_with_a_loss() -> None:
    def fit(table: Runs) -> object:
        return fit_two_step(table, "acc.quiz", law="chinchilla", bootstrap=40)

    trial = try_out(planted(0, 0.005, 0.002), "acc.quiz", fit)  # type: ignore[arg-type]
    assert trial is not None
    assert (trial.rows_fit, trial.rows_test) == (24, 6)
    assert trial.error < 0.02 < trial.baselines["largest-run"]
    assert trial.coverage_90 >= 0.8
    assert try_out(planted().select(np.arange(30) < 7), "acc.quiz", fit) is None  # type: ignore[arg-type]


def test_baselines_by_hand() -> None:
    found = without_loss(planted(), "acc.quiz", np.array([1e18, 1e22]))
    assert found["largest-run"] == pytest.approx(planted().frame["acc.quiz"].iloc[-1])
    assert found["sigmoid-in-flops"][0] < found["sigmoid-in-flops"][1]


def test_several_tasks_are_averaged_and_an_unlearnt_one_stays() -> None:
    table = planted(0, 0.005)
    both = fit_tasks(table, ["acc.quiz", "acc.coin"], law="chinchilla", bootstrap=20)
    alone = fit_two_step(table, "acc.quiz", law="chinchilla", bootstrap=20)
    coin = both.parts[1]
    assert isinstance(coin, Plateau)
    assert coin.accuracy == pytest.approx(0.5, abs=0.02)
    assert any("counted as 0.5" in warning for warning in both.warnings)
    assert both.predict(None, 1e9, 1e11) == pytest.approx((alone.predict(None, 1e9, 1e11) + coin.accuracy) / 2)
    low, high = both.interval(None, 1e9, 1e11)
    one = alone.interval(None, 1e9, 1e11)
    assert high - low == pytest.approx((one[1] - one[0]) / 2 + 2 * 1.645 * coin.scatter / 2, rel=0.2)
    with pytest.raises(FitError, match="none of 1 benchmarks rises"):
        fit_tasks(table, ["acc.coin"], law="chinchilla", bootstrap=0)


def test_a_mean_of_tasks_and_a_plateau_answer_as_every_predictor_does() -> None:
    table = planted(0, 0.005)
    both = fit_tasks(table, ["acc.quiz", "acc.coin"], law="chinchilla", bootstrap=20)
    chain, coin = both.parts
    at = (None, np.array([1e9, 3e9, 1e10]), 1e11)
    for one in (both, chain, coin):
        predictor: Predictor = one
        assert all(hasattr(one, name) for name in ("law", "domains", "rows", "warnings"))
        assert predictor.rows == 30
        assert predictor.with_supply(np.array([1e9])).predict(*at) == pytest.approx(predictor.predict(*at))
        low, high = predictor.interval(*at)
        sure = predictor.interval(*at, kind="confidence")
        half = predictor.interval(*at, level=0.5)
        mean = predictor.predict(*at)
        assert mean.shape == low.shape == high.shape == (3,)
        assert np.all((low <= mean) & (mean <= high))
        assert np.all(sure[1] - sure[0] < high - low)
        assert np.all(half[1] - half[0] < high - low)
        with pytest.raises(ConfigError, match="an interval is `prediction` or `confidence`, but got `certain`"):
            predictor.interval(*at, kind="certain")
        with pytest.raises(ConfigError, match=r"no target `acc\.quizz` was fitted") as error:
            predictor.interval(*at, target="acc.quizz")
        assert "acc." in (error.value.hint or "")
    assert set(both.predict_targets(*at)) == {"acc.quiz", "acc.coin"}
    for part in (chain, coin):
        assert both.predict_targets(*at)[part.target] == pytest.approx(part.predict(*at))
        assert np.array_equal(both.interval(*at, target=part.target), part.interval(*at))
    assert np.array_equal(*coin.interval(*at, kind="confidence"))


def test_a_plateau_answers_for_every_mixture() -> None:
    frame = planted(0, 0.005).frame
    share = np.random.default_rng(0).random(len(frame))
    table = Runs.from_frame(frame.assign(**{"mix.a": share, "mix.b": 1 - share}))
    coin = fit_tasks(table, ["acc.quiz", "acc.coin"], law="effective-data", bootstrap=0).parts[1]
    assert isinstance(coin, Plateau)
    assert coin.predict([[0.2, 0.8], [0.5, 0.5]], 1e9, 1e11) == pytest.approx([coin.accuracy] * 2)


def test_the_chance_level_is_the_floor_of_the_baselines_of_a_trial() -> None:
    def fit(table: Runs) -> TwoStep:
        return fit_two_step(table, "acc.quiz", law="chinchilla", bootstrap=20)

    small = planted(0, 0.005)
    free, held = (try_out(small, "acc.quiz", fit, chance) for chance in (None, 0.05))
    assert free is not None
    assert held is not None
    assert free.baselines["sigmoid-in-flops"] != held.baselines["sigmoid-in-flops"]
    assert free.error == held.error


@pytest.fixture(scope="module")
def benchmark_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_step_benchmark", ROOT / "benchmarks" / "two_step.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference tables are absent")
def test_published_figures_of_gadre_and_others(benchmark_script: ModuleType) -> None:
    table = pd.read_csv(REFERENCE / "gadre_overtraining.csv").query("train_dataset == 'rpj'")
    rows = benchmark_script.design(table)
    assert (len(rows.five), len(rows.six), list(rows.targets["model"])) == (5, 6, ["open_lm_1b", "open_lm_7b"])
    loss, error = benchmark_script.paper(rows)
    assert loss == pytest.approx([0.71, 0.73], abs=0.01)
    assert error == pytest.approx([3.64, 0.05], abs=0.02)
    loss, error, inside = benchmark_script.ours(rows, "auto", 40, True)
    assert np.abs(loss).mean() < 0.73
    assert np.abs(error) == pytest.approx([3.7, 0.1], abs=0.5)
    assert inside == 1.0
