"""The same questions on the command line: what is parsed, what is printed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mixlab.cli import app
from mixlab.commands.options.groups import parse_limits
from mixlab.errors import ConfigError, MixlabError

NAMES = ("web", "code")


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planted table of two domains, in which python needs code and prose needs web."""
    rows = []
    for index, code in enumerate(np.linspace(0, 1, 6)):
        for n in (1e6, 3e6, 1e7):
            for d in (1e8, 4e8, 1.6e9):
                python = 1.5 + 200 * n**-0.35 + 400 * (d * (0.3 + 0.7 * code)) ** -0.3
                prose = 1.2 + 150 * n**-0.35 + 300 * (d * (1 - 0.8 * code)) ** -0.3
                row = {"run_id": f"{index}-{n:.0f}", "params": n, "tokens": d, "loss.python": python}
                rows.append(row | {"loss.prose": prose, "mix.web": 1 - code, "mix.code": code})
    path = tmp_path_factory.mktemp("questions") / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def call(csv: Path, *options: str) -> dict[str, Any]:
    common = ["--law", "effective-data", "--bootstrap", "20", "--objective", "python=1", "--json"]
    done = CliRunner().invoke(app, ["recommend", str(csv), *common, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_answer_says_what_was_asked_what_binds_and_what_it_costs(csv: Path) -> None:
    options = ["--flops", "1e18", "--constraint", "code <= 3*web", "--no-worse", "prose=uniform", "--serve", "1e9"]
    found = call(csv, *options, "--gpu", "a100", "--price", "1.5", "--tokens-per-param", "40")
    assert found["asked"] == {
        "tokens_per_param": 40,
        "constraints": ["code <= 3*web"],
        "no_worse": {"prose": "uniform"},
        "serve": 1e9,
        "gpu": "a100",
        "price": 1.5,
    }
    assert {one["said"]: one["binds"] for one in found["held"]} == {
        "code <= 3*web": False,
        "loss.prose <= uniform": True,
    }
    assert found["mixture"]["code"] == pytest.approx(0.5, abs=1e-3)
    assert set(found["costs"]) == {"training", "serving", "runs", "gpu"}
    assert found["tokens"] / found["params"] == pytest.approx(40)


def test_several_budgets_and_two_objectives_are_tables(csv: Path, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    found = call(csv, "--flops", "1e16,1e17,1e18", "-o", str(file))
    assert [one["flops"] for one in found["budgets"]] == [1e16, 1e17, 1e18]
    assert json.loads(file.read_text()) == found
    dollars = call(csv, "--dollars", "1,2", "--gpu", "h100", "--price", "2")
    assert [one["costs"]["training"]["dollars"] for one in dollars["budgets"]] == pytest.approx([1, 2])
    path = call(csv, "--flops", "1e17", "--against", "prose=1", "--max", "code=0.9")
    assert len(path["points"]) == 11
    assert path["points"][0]["mixture"]["code"] == pytest.approx(0.9, abs=1e-3)
    reached = call(csv, "--reach-loss", "3")
    assert reached["loss"]["mean"] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--flops", "1e18", "--constraint", "code > 0.3"], "where a name or a number belongs"),
        (["--flops", "1e18", "--constraint", "cod >= 0.3"], "did you mean `code`?"),
        (["--flops", "1e18", "--constraint", "code >= 0.6", "--min", "web=0.5"], "`web >= 0.5`, `code >= 0.6`"),
        (["--flops", "1e18", "--no-worse", "prose=1.1"], "`loss.prose <= 1.1`"),
        (["--flops", "1e18", "--no-worse", "prose"], "takes EVAL=WHAT"),
        (["--flops", ","], "must have one value or more"),
        (["--flops", "1e17,1e18", "--reach-loss", "3"], "a loss to reach has one budget"),
        (["--flops", "1e17,1e18", "--against", "prose=1"], "a trade-off is at one budget"),
        (["--dollars", "5", "--gpu", "h100"], "add price, such as 2.5"),
        (["--flops", "1e18", "--gpu", "k80"], "give gpu_flops"),
        (["--flops", "1e18", "--worst-group", "best"], "is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused(csv: Path, options: list[str], message: str) -> None:
    common = ["recommend", str(csv), "--law", "effective-data", "--bootstrap", "20", "--objective", "python=1"]
    done = CliRunner().invoke(app, [*common, *options])
    error = done.exception
    if isinstance(error, MixlabError):
        assert error.exit_code == 2
        assert message in f"{error.message} {error.hint}"
    else:
        assert done.exit_code == 2  # click's own refusal
        assert message in " ".join(done.output.split())


def test_limits_are_read() -> None:
    assert parse_limits(("code=proportional,web=2.31", "a=b=uniform")) == {
        "code": "proportional",
        "web": 2.31,
        "a=b": "uniform",
    }
    with pytest.raises(ConfigError, match="names `code` twice"):
        parse_limits(("code=1,code=2",))
    with pytest.raises(ConfigError, match="`code` has `best`"):
        parse_limits(("code=best",))
