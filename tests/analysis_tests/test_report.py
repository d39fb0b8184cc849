"""The report and the plot commands on a table and on a study: whole, self-contained, safe, honest about defeat."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import planted_runs as synthetic

from analysis.report.build import outcome, render, runs_table, sentence
from analysis.report.draw import SHOWS
from analysis.report.picture import Picture, gather
from mixlab.commands.backtest import backtest
from mixlab.commands.plot import KINDS, plot
from mixlab.commands.report import report
from mixlab.errors import ConfigError, RunTableError
from mixlab.runs.table import Runs


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "planted.csv"
    table: Runs = synthetic.planted_table(mixtures=12)
    table.write(path)
    return path


@pytest.fixture(scope="module")
def picture(csv: Path) -> Picture:
    return gather(csv, law="joint-additive", bootstrap=20)


class Page(HTMLParser):
    """Collects headings, outside references, and whether tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input", "br", "link", "img"):
            self.open.append(tag)
        self.outside += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def test_the_page_is_whole_self_contained_and_safe(picture: Picture) -> None:
    html = render(picture)
    page = Page()
    page.feed(re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL))
    assert page.open == []
    assert page.outside == []
    assert page.headings[:2] == ["planted", "What to train"]
    assert {"As the budget grows", "Loss against compute", "isoFLOP profiles", "Predicted before seen", "Runs"} <= set(
        page.headings
    )
    assert "<script>alert" not in html  # a domain of the planted table is called so
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", html)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(data["frontier"]) == 25
    assert [point["flops"] for point in data["frontier"]] == sorted(point["flops"] for point in data["frontier"])


def test_the_sentence_is_the_answer(picture: Picture) -> None:
    assert picture.answer is not None
    text = sentence(picture)
    assert text.startswith("With 6.4e16 FLOPs, train a model of ")
    assert f"{picture.answer.loss['mean']:.4f}" in text


def test_every_run_is_listed(picture: Picture) -> None:
    listed = runs_table(picture)
    assert len(listed["rows"]) == len(picture.table) == 108
    assert listed["left_out"] == 0


def proof(difference: float, held: bool = True, winner: str = "recommended", second: float = 0.03) -> dict[str, Any]:
    return {
        "noise_floor": 0.02,
        "winner": winner,
        "interval_held": held,
        "beats": {"uniform": {"difference": difference}, "best_observed": {"difference": second}},
    }


def test_defeat_and_a_draw_are_said() -> None:
    assert outcome(proof(0.1)) == {"heading": "the recommended mixture won", "good": True}
    assert outcome(proof(-0.1, winner="uniform")) == {"heading": "uniform beat the recommended mixture", "good": False}
    close = outcome(proof(0.1, second=0.001))
    assert close == {"heading": "the recommended mixture came first, not by more than noise", "good": True}
    assert (
        outcome(proof(0.01, second=0.001))["heading"]
        == "no mixture differs from the recommended one by more than noise"
    )
    behind = outcome(proof(0.1, winner="best_observed", second=-0.01))
    assert behind["heading"] == "best observed and the recommended mixture do not differ by more than noise"
    missed = outcome(proof(0.1, held=False))
    assert missed == {"heading": "the recommended mixture won, but its loss was not predicted well", "good": False}


def test_a_table_without_mixtures_gives_what_it_can(tmp_path: Path, planted: Runs) -> None:
    frame = planted.frame[["run_id", "params", "tokens", "flops", "loss"]]
    frame.to_csv(tmp_path / "plain.csv", index=False)
    picture = gather(tmp_path / "plain.csv", bootstrap=20)
    assert picture.answer is not None
    assert picture.answer.mixture == {}
    assert "Recommended mixture" not in render(picture)


def test_two_rows_give_a_page_that_says_what_is_missing(tmp_path: Path, planted: Runs) -> None:
    planted.frame.head(2).to_csv(tmp_path / "two.csv", index=False)
    picture = gather(tmp_path / "two.csv")
    assert picture.answer is None
    assert "cannot support a recommendation" in render(picture)
    assert any("the fit is left out" in note for note in picture.notes)


def test_the_command_offers_every_kind() -> None:
    assert tuple(SHOWS) == KINDS


def test_the_commands_write_files_and_json(csv: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    page = tmp_path / "page.html"
    done = runner.invoke(report, [str(csv), "-o", str(page), "--law", "joint-additive", "--bootstrap", "20", "--json"])
    assert json.loads(done.stdout)["file"] == str(page)
    assert page.read_text().startswith("<!doctype html>")
    for kind in set(SHOWS) - {"domains", "task", "tradeoff"}:
        file = tmp_path / f"{kind}.svg"
        options = ["-o", str(file), "--law", "joint-additive", "--bootstrap", "10", "--json"]
        result = runner.invoke(plot, [kind, str(csv), *options], catch_exceptions=False)
        assert json.loads(result.stdout)["kind"] == kind
        assert "<svg" in file.read_text()
    options = [
        "--holdout",
        "`mix.web` > 0.3",
        "--law",
        "joint-additive",
        "--target",
        "loss",
        "--bootstrap",
        "20",
        "--json",
    ]
    data = json.loads(runner.invoke(backtest, [str(csv), *options], catch_exceptions=False).stdout)
    assert set(data) == {"law", "rows_fit", "rows_test", "targets", "baselines", "warnings"}
    assert set(data["targets"]["loss"]) == {
        "mean_relative_error", "mae", "r2", "spearman", "regret_at_1", "decision_accuracy", "coverage_90", "width_90"
    }  # fmt: skip


def test_options_that_mean_nothing_are_refused(csv: Path) -> None:
    runner = CliRunner()
    for command, args, message in (
        (backtest, [str(csv)], "one of `holdout` and `against`"),
        (plot, ["isoflop", str(csv), "--flops", "1e18"], "shows no recommendation"),
        (plot, ["mixture", str(csv), "--target", "loss"], "shows no single loss column"),
        (plot, ["curve", str(csv), "-o", "x.gif"], r"\.png"),
        (plot, ["domains", str(csv), "--law", "linear", "--bootstrap", "10"], r"needs loss\.<eval> columns"),
    ):
        with pytest.raises(ConfigError, match=message):
            runner.invoke(command, args, catch_exceptions=False)
    with pytest.raises(RunTableError, match="no file at"):
        runner.invoke(report, ["nothing.csv"], catch_exceptions=False)
