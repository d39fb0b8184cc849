"""`import mixlab` as somebody with a DataFrame in a notebook uses it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

import mixlab
from mixlab.errors import ConfigError, RunTableError
from mixlab.shown import Shown

ROOT = Path(__file__).parents[2]
DOMAINS = ("web", "code", "math")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A table from a planted law over three domains, in which code is worth most; two evaluation sets, a benchmark."""
    rng = np.random.default_rng(0)
    rows = []
    for index, h in enumerate(rng.dirichlet(np.ones(3), 16)):
        for n in (1e6, 3e6, 1e7):
            for d in (1e8, 4e8, 1.6e9):
                loss = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ [0.3, 1.0, 0.5])) ** -0.3
                noise = np.exp(0.002 * rng.standard_normal(2))
                row = {"run_id": f"{index}-{n:.0f}", "params": n, "tokens": d, "flops": 6 * n * d}
                row |= {"loss.python": loss * noise[0], "loss.prose": 1.1 * loss * noise[1]}
                row |= {f"mix.{name}": weight for name, weight in zip(DOMAINS, h, strict=True)}
                rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(loss=(table["loss.python"] + table["loss.prose"]) / 2)


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> mixlab.Fit:
    return mixlab.fit(frame, targets={"python": 0.5, "prose": "0.5"}, law="effective-data", bootstrap=30)


def test_all_names_are_there_typed_and_lazy() -> None:
    stub = ast.parse((ROOT / "mixlab" / "__init__.pyi").read_text())
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(mixlab.__all__) == set(dir(mixlab))
    for name in mixlab.__all__:
        assert getattr(mixlab, name) is not None
    with pytest.raises(AttributeError, match="has no attribute `fti`"):
        _ = mixlab.fti  # type: ignore[attr-defined]


def test_the_import_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "scipy", "torch", "matplotlib", "optuna", "wandb", "pydantic", "rich", "click", "yaml"}
    script = "import sys, mixlab; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(loaded.split())


def test_fit_predict_recommend_plot_export(frame: pd.DataFrame, fitted: mixlab.Fit) -> None:
    predicted = fitted.predict(mix={"code": 0.3, "web": 0.7}, params="1B", tokens="20B", level=0.9)
    assert list(predicted.columns) == [
        *(f"mix.{name}" for name in DOMAINS), "params", "tokens", "loss", "low", "high", "loss.python", "loss.prose"
    ]  # fmt: skip
    truth = 1.05 * (1.5 + 200 * 1e9**-0.35 + 400 * (2e10 * 0.51) ** -0.3)
    row = predicted.iloc[0]
    assert row["loss"] == pytest.approx(truth, rel=0.01)
    assert row["low"] < row["loss"] < row["high"]
    assert row["loss"] == pytest.approx((row["loss.python"] + row["loss.prose"]) / 2)

    free = mixlab.recommend(fitted, flops="1e19")
    answer = mixlab.recommend(fitted, flops="1e19", max={"code": 0.4}, supply={"code": "2B"})
    assert free.mixture["code"] > 0.9
    assert answer.mixture["code"] == pytest.approx(0.4, abs=1e-6)
    assert answer.params * answer.tokens * 6 == pytest.approx(1e19)
    assert answer.epochs["code"] == pytest.approx(0.4 * answer.tokens / 2e9)
    assert answer.objective == {"loss.python": 0.5, "loss.prose": 0.5}

    figure, axes = plt.subplots()
    assert answer.plot(ax=axes) is axes
    assert len(axes.patches) == 3
    plt.close(figure)
    assert mixlab.export(answer, to="megatron").startswith("--data-path 0.4 code ") or "code" in mixlab.export(
        answer, to="megatron"
    )


def test_several_points_at_once(fitted: mixlab.Fit) -> None:
    mixes = [{"code": 1.0}, {"web": 0.5, "math": 0.5}]
    several = fitted.predict(mix=mixes, params=[1e7, "20M"], tokens="1B")
    assert len(several) == 2
    for index, (mix, n) in enumerate(zip(mixes, (1e7, 2e7), strict=True)):
        assert fitted.predict(mix=mix, params=n, tokens=1e9)["loss"][0] == pytest.approx(several["loss"][index])
    table = pd.DataFrame({"mix.code": [1.0, 0.0], "mix.web": [0.0, 0.5], "mix.math": [0.0, 0.5]})
    assert fitted.predict(mix=table, params=[1e7, 2e7], tokens=1e9)["loss"].to_list() == several["loss"].to_list()
    with pytest.raises(ConfigError, match="equally many"):
        fitted.predict(mix=mixes, params=[1e7, 2e7, 3e7], tokens=1e9)
    with pytest.raises(ConfigError, match="the runs differ in tokens"):
        fitted.predict(mix=mixes[0], params=1e7)
    with pytest.raises(ConfigError, match="no domain `cod`") as error:
        fitted.predict(mix={"cod": 1.0}, params=1e7, tokens=1e9)
    assert error.value.hint == "did you mean `code`?"
    with pytest.raises(ConfigError, match="sum to 1"):
        fitted.predict(mix={"code": 0.5}, params=1e7, tokens=1e9)


def test_what_comes_with_the_fit_may_be_replaced(fitted: mixlab.Fit) -> None:
    dear = mixlab.recommend(fitted, "1e18", cost=Dear(), draws=0)
    assert dear.params * dear.tokens * 60 == pytest.approx(1e18)
    kept = mixlab.recommend(fitted, "1e18", mix={"web": 0.6, "code": 0.4}, draws=0)
    assert kept.mixture == {"web": 0.6, "code": 0.4, "math": 0.0}
    pulled = mixlab.recommend(fitted, "1e18", kl=100.0, prior={"web": 1 / 3, "code": 1 / 3, "math": 1 / 3}, draws=0)
    assert pulled.mixture["web"] == pytest.approx(1 / 3, abs=0.01)
    again = mixlab.recommend(fitted, "1e18", draws=0)
    assert fitted.problem.facts.space is not None
    assert again.mixture["code"] > 0.9  # the fit itself is as it was
    budgets = mixlab.frontier(fitted, ["1e16", 1e17, "1e18"])
    assert [answer.flops for answer in budgets] == [1e16, 1e17, 1e18]
    assert budgets[0].loss["mean"] > budgets[1].loss["mean"] > budgets[2].loss["mean"]


class Dear:
    """C = 60 N D."""

    def flops(self, params: object, tokens: object) -> np.ndarray:
        return np.asarray(60 * np.asarray(params, dtype=float) * np.asarray(tokens, dtype=float))

    def tokens(self, flops: object, params: object) -> np.ndarray:
        return np.asarray(np.asarray(flops, dtype=float) / (60 * np.asarray(params, dtype=float)))


def results(frame: pd.DataFrame, fitted: mixlab.Fit) -> list[Shown]:
    """One of everything that the face gives."""

    quiz = frame.assign(**{"acc.quiz": 0.25 + 0.65 / (1 + np.exp(2 * (frame["loss"] - 2.6)))})

    mix = dict.fromkeys(DOMAINS, 1 / 3)
    return [
        mixlab.read_runs(frame),
        fitted,
        mixlab.recommend(fitted, "1e18", draws=5),
        mixlab.backtest(frame, "flops > 2e16", law="effective-data", baselines=False, continue_runs=True),
        mixlab.fit_task(quiz, "quiz", law="effective-data", bootstrap=20),
        mixlab.predict_task(quiz, "quiz", "1e18", law="effective-data", mix=mix, bootstrap=20),
    ]


def test_every_result_shows_itself(frame: pd.DataFrame, fitted: mixlab.Fit) -> None:
    for result in results(frame, fitted):
        assert len(repr(result)) < 250
        assert "\n" not in repr(result)
        assert len(result.to_frame()) > 0
        json.dumps(result.to_dict(), default=float)
        html = result._repr_html_()
        assert "<table" in html
        assert "<script" not in html
        text = result.summary(width=80)
        assert max(map(len, text.splitlines())) <= 80


def test_plots_draw_into_given_axes_and_leave_the_backend_alone(frame: pd.DataFrame, fitted: mixlab.Fit) -> None:
    before = matplotlib.get_backend()
    answer = mixlab.recommend(fitted, "1e18", draws=5)
    test = mixlab.backtest(frame, "flops > 2e16", law="effective-data", baselines=False, continue_runs=True)
    quiz = frame.assign(**{"acc.quiz": 0.25 + 0.65 / (1 + np.exp(2 * (frame["loss"] - 2.6)))})
    mix = dict.fromkeys(DOMAINS, 1 / 3)
    task = mixlab.predict_task(quiz, "quiz", "1e18", law="effective-data", mix=mix, bootstrap=20)
    single = {
        "isoflop": lambda ax: mixlab.plot_isoflop(fitted, ax),
        "runs": lambda ax: mixlab.plot_isoflop(mixlab.read_runs(frame), ax),
        "curve": lambda ax: mixlab.plot_curve(fitted, ax, recommendation=answer),
        "mixture": lambda ax: mixlab.plot_mixture(answer, ax),
        "domains": lambda ax: mixlab.plot_domains(fitted, answer, ax),
        "backtest": lambda ax: mixlab.plot_backtest(test, ax),
    }
    for name, draw in single.items():
        _, axes = plt.subplots()
        assert draw(axes) is axes, name
        assert axes.has_data(), name
        assert isinstance(draw(None), Axes)
        plt.close("all")
    _, panels = plt.subplots(2, 2)
    assert list(mixlab.plot_frontier(fitted, panels)) == list(panels.ravel())
    _, panels = plt.subplots(1, 2)
    assert list(mixlab.plot_task(task, panels)) == list(panels)
    with pytest.raises(ConfigError, match="needs 4 axes, but got 2"):
        mixlab.plot_frontier(fitted, panels)
    plt.close("all")
    assert matplotlib.get_backend() == before


def test_importing_the_plots_chooses_no_backend() -> None:
    script = (
        "import matplotlib, mixlab\n"
        "before = matplotlib.rcParams._get_backend_or_none()\n"
        "mixlab.plot_mixture\n"
        "assert matplotlib.rcParams._get_backend_or_none() == before == None\n"
    )
    environment = {"PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_columns_are_renamed_and_rescaled(frame: pd.DataFrame) -> None:
    theirs = frame.rename(columns={"loss": "val/loss", "params": "model.n_params", "tokens": "tokens_seen_B"})
    theirs = theirs.rename(columns={f"mix.{name}": f"config.weights.{name}" for name in DOMAINS})
    theirs["tokens_seen_B"] /= 1e9
    runs = mixlab.read_runs(
        theirs,
        columns={"tokens": ("tokens_seen_B", 1e9), "loss": "val/loss", "params": "model.n_params"},
        mixture="config.weights.*",
    )
    ours = mixlab.read_runs(frame)
    assert runs.domains == DOMAINS
    assert runs.tokens() == pytest.approx(ours.tokens())
    assert runs.column("loss") == pytest.approx(ours.column("loss"))
    scaled = mixlab.read_runs(frame.assign(tokens=frame["tokens"] / 1e9), scale={"tokens": "1B"})
    assert scaled.tokens() == pytest.approx(ours.tokens())
    assert mixlab.read_runs(frame, where="params > 2e6").params().min() == 3e6


@pytest.mark.parametrize(
    ("options", "error", "message", "hint"),
    [
        ({"columns": {"loss": "val/los"}}, RunTableError, "no column `val/los` to read `loss` from", "did you mean"),
        ({"columns": {"loss": "loss.python"}}, RunTableError, "has a column `loss` already", "rename or drop"),
        (
            {"columns": {"loss.a": "loss", "loss.b": "loss"}},
            ConfigError,
            "`loss` is read as two columns",
            "map it once",
        ),
        (
            {"columns": {"parms": "params"}},
            ConfigError,
            "`parms`, which is no column",
            "to the table's, run_id, params, tokens",
        ),
        ({"columns": {"val/loss": "loss"}}, ConfigError, "`val/loss`, which is no column", "to the table's"),
        ({"columns": {"los": "loss.python"}}, ConfigError, "`los`, which is no column", "to the table's"),
        ({"scale": {"tokens": -1}}, ConfigError, "a scale must be positive", None),
        ({"scale": {"tokens": 2.0}, "columns": {"tokens": ("tokens", 3.0)}}, ConfigError, "two scales", "leave one"),
        ({"mixture": "weights.*"}, RunTableError, r"no column matches `weights\.\*`", None),
        ({"mixture": "weights"}, ConfigError, "has one `\\*`", "write mixture"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(
    frame: pd.DataFrame, options: dict[str, object], error: type[Exception], message: str, hint: str | None
) -> None:
    with pytest.raises(error, match=message) as refusal:
        mixlab.read_runs(frame, **options)  # type: ignore[arg-type]
    if hint is not None:
        assert hint in str(refusal.value.hint)  # type: ignore[attr-defined]


def test_a_long_table_is_cut_in_a_notebook(frame: pd.DataFrame) -> None:
    runs = mixlab.read_runs(frame)
    assert len(runs) > pd.get_option("display.max_rows")
    assert runs._repr_html_().count("<tr") < len(runs)


def test_a_traceback_has_the_hint() -> None:
    assert "hint: cut it" in "".join(format_exception(ConfigError("it is long", "cut it")))


def test_a_missing_column_may_have_another_name(frame: pd.DataFrame) -> None:
    with pytest.raises(RunTableError, match="no column `loss`") as refusal:
        mixlab.fit(frame.rename(columns={"loss": "val_loss"}), "loss")
    assert "`columns` (of a command, `--map loss=NAME`)" in str(refusal.value.hint)
    assert "did you mean `val_loss`?" in str(refusal.value.hint)


def test_a_budget_that_size_and_tokens_do_not_cost_is_refused(fitted: mixlab.Fit) -> None:
    cost = float(fitted.problem.cost.flops(1e7, 2e9))
    with pytest.raises(ConfigError, match=r"10M parameters on 2B tokens cost .* but got flops") as refusal:
        mixlab.recommend(fitted, 2 * cost, params=1e7, tokens=2e9, draws=0)
    assert refusal.value.hint == "leave out one of `flops`, `params` and `tokens`"
    answer = mixlab.recommend(fitted, 1.03 * cost, params=1e7, tokens=2e9, draws=0)  # rounded, as people do
    assert (answer.params, answer.tokens) == pytest.approx((1e7, 2e9))


def test_a_keyword_that_a_drawing_does_not_have_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    for draw in (lambda **more: mixlab.plot("isoflop", frame, **more), lambda **more: mixlab.report(frame, **more)):
        with pytest.raises(ConfigError, match="has no keyword `traget`") as refusal:
            draw(traget="loss")
        assert "columns, scale, mixture, where, params, tokens" in str(refusal.value.hint)


def test_an_export_of_a_table_says_what_it_takes(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    frame.to_csv(tmp_path / "runs.csv")
    with pytest.raises(ConfigError, match="is a table, but an export takes a recommendation, its file"):
        mixlab.export(tmp_path / "runs.csv", "hf")
    with pytest.raises(ConfigError, match="is no recommendation: it holds list"):
        mixlab.export(tmp_path / "list.json", "hf")


def test_the_parameters_have_intervals_at_any_level(fitted: mixlab.Fit) -> None:
    wide, narrow = fitted.interval(0.9), fitted.interval(0.5)
    assert set(wide) == set(fitted.params)
    for name, (low, high) in narrow.items():
        assert wide[name][0] <= low <= high <= wide[name][1]
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fitted.interval(90)


def test_targets_are_named_with_or_without_their_prefix(frame: pd.DataFrame) -> None:
    for name in ("python", "loss.python"):
        assert list(mixlab.fit(frame, name, law="linear", bootstrap=0).results) == ["loss.python"]
    with pytest.raises(ConfigError, match="are both given"):
        mixlab.fit(frame, "python", targets={"prose": 1.0})
    with pytest.raises(ConfigError, match=r"the targets must be >= 0 and sum to 1, but sum to 1\.1"):
        mixlab.fit(frame, targets={"python": 0.5, "prose": 0.6})
    with pytest.raises(ConfigError, match=r"no column `loss\.pyton`") as error:
        mixlab.fit(frame, targets={"pyton": 0.5, "prose": 0.5})
    assert error.value.hint == "did you mean `python`?"
    with pytest.raises(ConfigError, match="`isoflop` fits no surface") as error:
        mixlab.fit(frame, law="isoflop")
    assert "mixlab.fit_isoflop" in str(error.value.hint)


def test_a_budget_is_needed(fitted: mixlab.Fit) -> None:
    with pytest.raises(ConfigError, match="needs a budget"):
        mixlab.recommend(fitted)
    with pytest.raises(ConfigError, match="a quantity is a number"):
        mixlab.recommend(fitted, "lots")
    priced = mixlab.recommend(fitted, params="2M", tokens="1B", draws=0)
    assert priced.flops == pytest.approx(1.2e16)


def test_a_summary_is_text_in_a_notebook_too(fitted: mixlab.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert "effective-data" in fitted.summary()


def test_what_is_of_the_wrong_kind_is_refused_in_words(frame: pd.DataFrame, fitted: mixlab.Fit) -> None:
    face: Any = mixlab  # without types, as in a notebook
    mix = {"web": 0.5, "code": 0.5}
    wrong: list[Callable[[], object]] = [
        lambda: face.read_runs(None),
        lambda: face.read_runs(frame["loss"]),
        lambda: face.read_runs(pd.DataFrame(np.ones((3, 2)))),
        lambda: face.read_runs(frame, columns=["loss"]),
        lambda: face.read_runs(frame, columns={"params": ("n",)}),
        lambda: face.read_runs(frame, mixture=["mix.*"]),
        lambda: face.read_runs(frame, where=3),
        lambda: face.read_runs(frame, where="params + 1"),
        lambda: face.fit(frame, target=["loss"]),
        lambda: face.fit(frame, targets=["python"]),
        lambda: face.fit(frame, law=3),
        lambda: face.fit(frame, bootstrap=-1),
        lambda: face.fit(frame, seed="a"),
        lambda: face.fit(frame, max_epochs="x"),
        lambda: fitted.predict([], 1e7, 1e9),
        lambda: fitted.predict([0.5, 0.5], 1e7, 1e9),  # type: ignore[list-item]
        lambda: fitted.predict(mix, 1e7, 1e9, level=90),
        lambda: face.recommend(frame, 1e18),
        lambda: face.recommend(fitted, 1e18, max=0.4),
        lambda: face.recommend(fitted, 1e18, max_epochs=0),
        lambda: face.recommend(fitted, 1e18, kl=-1),
        lambda: face.recommend(fitted, 1e18, cost="6ND"),
        lambda: face.recommend(fitted, 1e18, draws="a"),
        lambda: face.frontier(frame, 1e18),
        lambda: face.plot_isoflop(frame),
        lambda: face.plot_curve(fitted, ax="left"),
        lambda: face.plot_mixture(fitted),
        lambda: face.plot_frontier(fitted, [1, 2, 3, 4]),
        lambda: face.plot_backtest(fitted),
        lambda: face.plot_task(fitted),
        lambda: face.export(fitted, to="megatron"),
        lambda: face.export({"mixture": mix}, to="megatron", data="/data"),
        lambda: face.open_study(None),
        lambda: face.predict_task(frame, 3),
    ]
    for number, call in enumerate(wrong):
        with pytest.raises(mixlab.MixlabError) as caught:
            call()
        assert "--" not in caught.value.message + (caught.value.hint or ""), number


def test_numbers_of_numpy_and_series_of_weights_are_meant(frame: pd.DataFrame, fitted: mixlab.Fit) -> None:
    given = fitted.predict(pd.Series({"web": 0.5, "code": 0.5}), np.array(1e7), np.int64(10**9))  # type: ignore[arg-type]
    assert given.equals(fitted.predict({"web": 0.5, "code": 0.5}, "10M", "1B"))
    assert mixlab.read_runs(frame, scale={"tokens": np.float32(2)}).column("tokens")[0] == 2 * frame["tokens"][0]


def test_a_frontier_needs_sizes(frame: pd.DataFrame) -> None:
    fit = mixlab.fit(frame.drop(columns=["params", "flops"]), target="loss", law="linear", bootstrap=0)
    with pytest.raises(RunTableError, match="`params` is missing"):
        mixlab.frontier(fit, ["1e18"])
