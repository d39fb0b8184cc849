"""`mixlab predict-task`, and `two-step` in fit, backtest and plot, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import mixlab, mixlab_here, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table from planted laws: two benchmarks that rise with the loss, one that does not."""
    rng = np.random.default_rng(0)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(2e8, 6e10, 6)))
    loss = (1.8 + 200 * n**-0.32 + 400 * d**-0.3) * np.exp(0.002 * rng.standard_normal(30))
    noise = 0.005 * rng.standard_normal((3, 30))
    frame = pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss})
    frame["acc.quiz"] = 0.25 + 0.65 / (1 + np.exp(2.1 * (loss - 2.8))) + noise[0]
    frame["acc.exam"] = 0.2 + 0.7 / (1 + np.exp(3.0 * (loss - 2.5))) + noise[1]
    frame["acc.coin"] = 0.5 + noise[2]
    path = tmp_path_factory.mktemp("tasks")
    frame.to_csv(path / "runs.csv", index=False)
    code = rng.uniform(0.2, 0.8, 30)
    frame.assign(**{"mix.code": code, "mix.web": 1 - code}).to_csv(path / "mixed.csv", index=False)
    frame.assign(**{"mix.code": 0.3, "mix.web": 0.7}).to_csv(path / "same.csv", index=False)
    frame.assign(**{"nll.quiz": loss / 2, "nll.exam": loss / 3}).to_csv(path / "own.csv", index=False)
    return path


def test_a_pattern_names_several_benchmarks_and_where_some_runs(folder: Path) -> None:
    args = ["--params", "2B", "--tokens", "100B", "--law", "chinchilla", "--bootstrap", "20", "--json"]
    pattern, named = (
        json.loads(mixlab_here("predict-task", "runs.csv", *tasks, *args, cwd=folder).stdout)
        for tasks in (["--task", "acc.[qe]*"], ["--task", "quiz", "--task", "exam"])
    )
    assert (pattern["task"], pattern["accuracy"]) == ("mean of quiz, exam", named["accuracy"])
    everything = json.loads(mixlab_here("predict-task", "runs.csv", "--task", "*", *args, cwd=folder).stdout)
    assert list(everything["tasks"]) == ["quiz", "exam", "coin"]
    wrong = mixlab_here("predict-task", "runs.csv", "--task", "qiz*", *args, cwd=folder)
    refused(wrong, 2, "no column `acc.qiz*`", "hint: did you mean")
    task = ["plot", "task", "runs.csv", "--target", "acc.quiz", "--law", "chinchilla", "--bootstrap", "20"]
    drawn = mixlab_here(*task, "--where", "params < 5e8", "-o", "some.png", cwd=folder)
    assert drawn.returncode == 0, drawn.stderr
    refused(
        mixlab_here(*task, "--where", "params < 2e7", cwd=folder),
        4,
        "needs at least 8 rows, but got 6",
        "hint: add runs",
    )


def test_predict_task_prints_the_keys_of_the_design(folder: Path) -> None:
    args = ["--task", "quiz", "--flops", "1e21", "--law", "chinchilla", "--bootstrap", "20", "--chance", "0.25"]
    result = mixlab("predict-task", "runs.csv", *args, "--items", "2000", "--json", "-o", "answer.json", cwd=folder)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert set(data) == {
        "task", "flops", "params", "tokens", "loss", "accuracy", "step_1", "step_2", "baselines", "backtest",
        "extrapolation", "warnings",
    }  # fmt: skip
    assert 6 * data["params"] * data["tokens"] == pytest.approx(1e21)
    accuracy = data["accuracy"]
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    truth = 0.25 + 0.65 / (1 + np.exp(2.1 * (1.8 + 200 * data["params"] ** -0.32 + 400 * data["tokens"] ** -0.3 - 2.8)))
    assert accuracy["mean"] == pytest.approx(truth, abs=0.03)
    assert accuracy["low"] < truth < accuracy["high"]
    assert (data["step_1"]["law"], data["step_2"]["form"], data["step_2"]["params"]["a"]) == (
        "chinchilla",
        "sigmoid",
        0.25,
    )
    assert [row["form"] for row in data["step_2"]["candidates"]] == ["sigmoid", "exponential"]
    assert set(data["baselines"]) == set(data["backtest"]["baselines"]) == {"largest-run", "sigmoid-in-flops"}
    assert data["backtest"]["error"] < data["backtest"]["baselines"]["largest-run"]
    assert json.loads((folder / "answer.json").read_text()) == data


def test_a_given_model_and_a_sentence(folder: Path) -> None:
    args = ["--task", "quiz", "--law", "chinchilla", "--bootstrap", "20"]
    result = mixlab("predict-task", "runs.csv", *args, "--params", "2B", "--tokens", "100B", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("At 1.2e21 FLOPs, 2B parameters on 100B tokens: quiz 0.")
    assert "the floor is estimated at 0.2" in result.stderr
    assert "largest run" in result.stdout


def test_several_tasks_and_their_mean(folder: Path) -> None:
    tasks = ["--task", "quiz", "--task", "exam", "--task", "coin"]
    args = [*tasks, "--flops", "1e21", "--law", "chinchilla", "--bootstrap", "20", "--json"]
    data = json.loads(mixlab_here("predict-task", "runs.csv", *args, cwd=folder).stdout)
    assert data["task"] == "mean of quiz, exam, coin"
    parts = [data["tasks"][name]["mean"] for name in ("quiz", "exam", "coin")]
    assert data["accuracy"]["mean"] == pytest.approx(np.mean(parts))
    assert data["step_2"]["tasks"]["coin"]["form"] == "plateau"
    assert data["backtest"]["error"] < data["backtest"]["baselines"]["largest-run"]
    refused(
        mixlab_here("predict-task", "own.csv", *args, cwd=folder),
        2,
        "goes through a loss of its own",
        "hint: give `params`",
    )
    given = mixlab_here("predict-task", "own.csv", *args, "--params", "1B", cwd=folder)
    assert given.returncode == 0, given.stderr
    refused(
        mixlab_here("predict-task", "runs.csv", *args, "--chance", "0.2", cwd=folder),
        2,
        "describe one benchmark",
        "hint: leave",
    )


def test_mixtures_must_be_said_where_they_differ(folder: Path) -> None:
    args = ["--task", "quiz", "--flops", "1e20", "--law", "chinchilla", "--bootstrap", "20"]
    refused(mixlab_here("predict-task", "mixed.csv", *args, cwd=folder), 2, "differ in their mixtures", "hint: give it")
    wrong = mixlab_here("predict-task", "mixed.csv", *args, "--fixed-mix", "cod=0.5,web=0.5", cwd=folder)
    refused(wrong, 2, "no domain `cod`", "hint: did you mean `code`?")
    given = mixlab_here("predict-task", "mixed.csv", *args, "--fixed-mix", "code=0.5,web=0.5", "--json", cwd=folder)
    assert json.loads(given.stdout)["mixture"] == {"code": 0.5, "web": 0.5}
    same = mixlab_here("predict-task", "same.csv", *args, "--json", cwd=folder)
    assert json.loads(same.stdout)["mixture"] == pytest.approx({"code": 0.3, "web": 0.7})


@pytest.mark.parametrize(
    ("args", "code", "message", "hint"),
    [
        (["--task", "quizz", "--flops", "1e21"], 2, "no column `acc.quizz`", "did you mean `acc.quiz`?"),
        (["--task", "quiz"], 2, "a prediction needs a budget", "give `flops`"),
        (
            ["--task", "quiz", "--flops", "1", "--params", "1", "--tokens", "1"],
            2,
            "fix the budget",
            "leave one out",
        ),
        (["--task", "coin", "--flops", "1e21"], 4, "does not rise as the loss falls", "predict the loss instead"),
        (["--task", "coin", "--flops", "1e21", "--chance", "0.5"], 4, "is still at chance", "predict the loss instead"),
        (["--task", "quiz", "--flops", "1e21", "--where", "params < 2e7"], 4, "needs at least 8 rows", "add runs"),
        (["--task", "quiz", "--flops", "1e21", "--loss", "los"], 2, "no column `los`", "did you mean `loss`?"),
    ],
)
def test_refusals(folder: Path, args: list[str], code: int, message: str, hint: str) -> None:
    result = mixlab_here("predict-task", "runs.csv", *args, "--law", "chinchilla", cwd=folder)
    refused(result, code, message, f"hint: {hint}")


def test_two_step_by_name(folder: Path) -> None:
    options = ["--law", "two-step", "--target", "acc.quiz", "--bootstrap", "20", "--json"]
    data = json.loads(mixlab("fit", "runs.csv", *options, cwd=folder).stdout)
    assert {"law", "target", "rows", "params", "interval", "objective", "status", "warnings"} <= set(data)
    assert (data["law"], data["target"], data["rows"]) == ("two-step", "acc.quiz", 30)
    assert data["params"]["L0"] == pytest.approx(2.8, abs=0.2)
    assert data["step_2"]["params"] == data["params"]
    data = json.loads(mixlab("backtest", "runs.csv", *options, "--holdout", "flops > 3e19", cwd=folder).stdout)
    scores = data["targets"]["acc.quiz"]
    assert scores["mae"] < 0.02 < data["baselines"]["best-of-largest"]["acc.quiz"]["mae"]
    assert scores["coverage_90"] >= 0.8
    assert set(data["baselines"]) == {"sigmoid-in-flops", "best-of-largest", "mean"}
    wrong = mixlab_here("backtest", "runs.csv", "--law", "two-step", "--holdout", "flops > 3e19", cwd=folder)
    refused(wrong, 2, "predicts an accuracy `acc.<task>`, but got `loss`", "hint: name one as target, such as acc.quiz")


def test_plot_task(folder: Path) -> None:
    args = ["plot", "task", "runs.csv", "--law", "chinchilla", "--bootstrap", "20", "-o", "task.svg"]
    result = mixlab(*args, "--target", "acc.quiz", "--flops", "1e21", "--json", cwd=folder)
    assert json.loads(result.stdout)["kind"] == "task"
    assert "quiz against loss" in (folder / "task.svg").read_text()
    refused(
        mixlab_here(*args, cwd=folder), 2, "`task` needs a benchmark", "hint: name its column, acc.<task>, as `target`"
    )
