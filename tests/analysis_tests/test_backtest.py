"""Backtests: metrics against hand-made numbers, runs kept whole, refusals, and a planted law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.planted_runs import planted_table

from analysis.backtest.backtest import matching_targets, run_backtest
from analysis.backtest.holdout import Holdout, split_holdout, split_largest
from analysis.backtest.metrics import choices, metrics
from analysis.backtest.predictions import Prediction
from mixlab.errors import RunTableError
from mixlab.runs.table import Runs


def test_metrics_by_hand() -> None:
    observed = np.array([1.0, 2.0, 4.0])
    predicted = np.array([1.1, 2.0, 3.0])
    scores = metrics(Prediction(observed, predicted, predicted - 0.2, predicted + 0.2))
    assert scores["mean_relative_error"] == pytest.approx(100 * (0.1 + 0.25) / 3)
    assert scores["mae"] == pytest.approx(1.1 / 3)
    assert scores["r2"] == pytest.approx(1 - 1.01 / (np.var(observed) * 3))
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["coverage_90"] == pytest.approx(2 / 3)


def test_what_is_not_defined_is_none() -> None:
    scores = metrics(Prediction(np.array([2.0]), np.array([2.5])))
    assert scores["r2"] is None
    assert scores["spearman"] is None
    assert scores["coverage_90"] is None
    constant = metrics(Prediction(np.array([1.0, 2.0, 3.0]), np.full(3, 2.0)))
    assert constant["spearman"] is None


def test_regret_is_within_alternatives() -> None:
    observed, groups = np.array([3.0, 2.0, 1.0, 1.5]), np.array([0, 0, 1, 1])
    assert choices(observed, np.array([3.0, 2.0, 1.0, 1.2]), groups)[0] == 0
    assert choices(observed, np.array([2.0, 3.0, 1.0, 1.2]), groups) == (pytest.approx(0.5), pytest.approx(0.5))
    assert choices(observed, np.ones(4), groups) == (None, None)
    assert choices(observed, observed, np.arange(4)) == (None, None)


def test_runs_stay_whole(planted: Runs) -> None:
    split = split_holdout(planted, "params > 5e6 and flops > 1e16")
    assert not set(split.fit.run_ids) & set(split.test.run_ids)
    assert len(split.test) == 24
    assert len(split.fit) == len(planted) - 72
    assert "48 rows of 24 held-out runs" in split.notes[0]
    both = split_holdout(planted, "params > 5e6 and flops > 1e16", continue_runs=True)
    assert len(both.fit) == len(planted) - 24
    assert "both sides" in both.notes[0]


def test_refusals_say_what_to_do(planted: Runs) -> None:
    with pytest.raises(RunTableError, match="rows on both sides") as error:
        split_holdout(planted, "flops > 1e16")
    assert "`continue_runs`" in str(error.value.hint)
    with pytest.raises(RunTableError, match="none of 216"):
        split_holdout(planted, "flops > 1e20")
    split = split_largest(planted)
    renamed = Runs.from_frame(split.test.frame.rename(columns={"mix.web": "mix.wob"}))
    with pytest.raises(RunTableError, match=r"mix\.web"):
        run_backtest(Holdout(split.fit, renamed), ["loss"], law="joint-additive", bootstrap=0, baselines=False)
    with pytest.raises(RunTableError, match="several targets"):
        run_backtest(split, ["loss", "loss.web"], bootstrap=0)


def test_planted_law_beats_the_baselines(planted: Runs) -> None:
    result = run_backtest(split_largest(planted), ["loss"], law="joint-additive", bootstrap=40)
    scores = result.targets["loss"]
    assert (result.rows_fit, result.rows_test) == (144, 72)
    assert scores["mean_relative_error"] is not None
    assert scores["mean_relative_error"] < 0.5
    assert scores["coverage_90"] is not None
    assert scores["coverage_90"] >= 0.8
    assert {"best-of-largest", "mean", "chinchilla"} <= set(result.baselines)
    for name in ("best-of-largest", "mean", "chinchilla"):
        other = result.baselines[name]["loss"]["mean_relative_error"]
        assert other is not None
        assert other > scores["mean_relative_error"]
    assert result.baselines["mean"]["loss"]["spearman"] is None
    assert set(result.to_dict()) == {"law", "rows_fit", "rows_test", "targets", "baselines", "warnings"}


def test_an_accuracy_is_better_when_it_is_larger() -> None:
    few = planted_table(mixtures=10)
    frame = few.frame.assign(**{"acc.quiz": 0.25 + 0.7 / (1 + np.exp(2 * (few.column("loss") - 2.2)))})
    split = split_largest(Runs.from_frame(frame))
    scores = run_backtest(split, ["acc.quiz"], law="two-step", bootstrap=0, baselines=False).targets["acc.quiz"]
    assert scores["decision_accuracy"] is not None
    assert scores["decision_accuracy"] > 0.9
    assert scores["regret_at_1"] is not None
    assert 0 <= scores["regret_at_1"] < 0.02


def test_two_steps_at_one_scale(planted: Runs) -> None:
    frame = planted.frame.assign(**{"acc.quiz": 0.25 + 0.7 / (1 + np.exp(2 * (planted.column("loss") - 2.2)))})
    frame = frame[(frame["params"] == 3e6) & (frame["flops"] == 4e15)]
    for table in (frame, frame.drop(columns=["params", "tokens", "flops"])):
        split = split_holdout(Runs.from_frame(table), "`mix.web` > 0.25")
        result = run_backtest(split, ["acc.quiz"], law="two-step", bootstrap=0)
        assert result.targets["acc.quiz"]["mae"] is not None
        assert result.targets["acc.quiz"]["mae"] < 0.05
        assert "sigmoid-in-flops" not in result.baselines


def test_targets_are_named_by_pattern(planted: Runs) -> None:
    named = dict.fromkeys(("loss.a", "loss.b"), planted.frame["loss"])
    frame = planted.frame.drop(columns=[c for c in planted.frame if c.startswith("loss.")]).assign(**named)
    both = Runs.from_frame(frame)
    assert matching_targets(both, ["loss.*"]) == ("loss.a", "loss.b")
    assert matching_targets(both, ["loss.b", "loss.?", "loss"]) == ("loss.b", "loss.a", "loss")
    with pytest.raises(RunTableError, match=r"no column `loss\.c`"):
        matching_targets(both, ["loss.c"])


def test_runs_are_continued_where_only_mixtures_alike_would_be_left_to_fit() -> None:
    """As after rounds: the design's runs all reach the largest budget, and short runs are made near the optimum."""
    rng = np.random.default_rng(0)
    rows = []
    for run in range(12):
        h = rng.dirichlet(np.ones(3))
        rows += [(f"design{run}", *h, 1e6, tokens) for tokens in (1e7, 2e7)]
    rows += [(f"round{run}", 0.5 + 0.01 * run, 0.5 - 0.01 * run, 0.0, 1e6, 1e7) for run in range(20)]
    frame = pd.DataFrame(rows, columns=["run_id", "mix.a", "mix.b", "mix.c", "params", "tokens"])
    frame["loss"] = 3 - frame["mix.a"] + 1e7 / frame["tokens"]
    split = split_largest(Runs.from_frame(frame))
    assert len(split.fit) == 32
    assert "later points of runs" in split.notes[0]
