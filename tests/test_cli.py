"""The command line as a user meets it: real processes, exit codes, one message with a hint, no traceback."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import mixlab, refused

from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder

STUDY = "name: s\ndomains: {web: web.jsonl, code: code.jsonl.gz}\n"
LINES = "".join(json.dumps({"text": f"document {i} " * 20, "id": f"d-{i}"}) + "\n" for i in range(60))


def contents(folder: StudyFolder) -> dict[str, bytes]:
    """All files of a corpus but the list of sources, which holds times."""
    return {path.name: path.read_bytes() for path in folder.corpus.iterdir() if path.name != "sources.json"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "web.jsonl").write_text(LINES)
    (tmp_path / "code.jsonl.gz").write_bytes(gzip.compress(LINES.replace("document", "def").encode()))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table from a planted joint law over three domains."""
    rng = np.random.default_rng(0)
    rows = []
    for index, h in enumerate(rng.dirichlet(np.ones(3), 10)):
        for n in (1e6, 3e6, 1e7):
            for d in (1e8, 4e8, 1.6e9):
                loss = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ [0.3, 1.0, 0.5])) ** -0.3
                row = {"run_id": f"{index}-{n:.0f}", "params": n, "tokens": d, "flops": 6 * n * d}
                losses = {f"loss.{name}": loss * (1.2 - 0.4 * w) for name, w in zip("abc", h, strict=True)}
                noise = np.exp(0.002 * rng.standard_normal())
                rows.append(
                    row | losses | {"loss": loss * noise} | {f"mix.{k}": w for k, w in zip("abc", h, strict=True)}
                )
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_bad_yaml(study: Path) -> None:
    (study / "study.yaml").write_text(STUDY + "seed: [1\n")
    refused(mixlab("prepare", ".", cwd=study), 2, "not valid YAML")


def test_weights_that_sum_to_point_nine(study: Path) -> None:
    (study / "study.yaml").write_text(STUDY + "objective: {web: .5, code: .4}\n")
    refused(
        mixlab("prepare", ".", cwd=study), 2, "must sum to 1, but they sum to 0.9 (-0.1)", "hint: correct the weights"
    )


def test_prepare_makes_the_same_corpus_in_any_process(study: Path) -> None:
    result = mixlab("prepare", ".", "--json", cwd=study)
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["domains"]) == {"web", "code"}
    folder = StudyFolder.open(study)
    theirs = contents(folder)
    assert len(theirs) > 4
    assert prepare_corpus(folder, force=True).built
    assert contents(folder) == theirs


def test_missing_files(study: Path) -> None:
    (study / "web.jsonl").unlink()
    refused(mixlab("prepare", ".", cwd=study), 2, "web.jsonl")
    refused(mixlab("fit", "nothing.csv", cwd=study), 2, "no file at nothing.csv")
    refused(mixlab("sweep", "nowhere", cwd=study), 2, "nowhere is not a study folder")


def test_truncated_gz(study: Path) -> None:
    data = (study / "code.jsonl.gz").read_bytes()
    (study / "code.jsonl.gz").write_bytes(data[: len(data) // 2])
    refused(mixlab("prepare", ".", cwd=study), 2, "code.jsonl.gz")


def test_truncated_zst(study: Path) -> None:
    import pyarrow as pa

    with pa.CompressedOutputStream(str(study / "web.jsonl.zst"), "zstd") as stream:
        stream.write((LINES * 50).encode())
    data = (study / "web.jsonl.zst").read_bytes()
    (study / "web.jsonl.zst").write_bytes(data[: len(data) // 2])
    (study / "study.yaml").write_text(STUDY.replace("web.jsonl", "web.jsonl.zst"))
    refused(mixlab("prepare", ".", cwd=study), 2, "web.jsonl.zst")


def test_empty_domain(study: Path) -> None:
    (study / "web.jsonl").write_text("")
    refused(mixlab("prepare", ".", cwd=study), 2, "web")


def test_two_runs_cannot_carry_a_fit(study: Path, runs: Path) -> None:
    pd.read_csv(runs).head(2).to_csv(study / "two.csv", index=False)
    refused(mixlab("fit", "two.csv", cwd=study), 4, "but 2 have one")
    refused(mixlab("recommend", "two.csv", "--flops", "1e18", cwd=study), 4, "but 2 have one")


def test_an_unknown_command_or_option_names_its_neighbour(tmp_path: Path) -> None:
    refused(mixlab("recomend", cwd=tmp_path), 2, "no command `recomend`", "did you mean `recommend`?")
    refused(mixlab("fit", "x.csv", "--lw", "joint", cwd=tmp_path), 2, "No such option", "--law")
    refused(mixlab("recommend", "x.csv", "--flops", "much", cwd=tmp_path), 2, "got 'much'")


def test_fit_prints_the_keys_of_the_design(runs: Path, tmp_path: Path) -> None:
    result = mixlab("fit", str(runs), "--bootstrap", "20", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert {"law", "target", "rows", "params", "interval", "objective", "status", "warnings"} <= set(data)
    assert (data["rows"], data["status"]) == (90, "converged")
    assert data["selection"][0]["law"] == data["law"]
    blended = {(row["law"], row["emphasis"]): row for row in data["selection"] if row["weight"]}
    assert len(blended) > 1
    assert {(one["law"], one["emphasis"]) for one in data["members"]} == set(blended)
    for one in data["members"]:
        row = blended[one["law"], one["emphasis"]]
        assert (one["weight"], one["transfer_error"]) == pytest.approx((row["weight"], row["transfer_error"]))
        assert len(one["params"]) > 3
    assert data["members"][0]["params"] == data["params"]
    text = mixlab("fit", str(runs), "--bootstrap", "0", cwd=tmp_path, columns=80).stdout
    assert max(map(len, text.splitlines())) <= 80
    shown = text[text.index("members of the blend") :]
    for one in data["members"]:
        for name, value in one["params"].items():
            assert f"{name}={value:.4g}" in shown


def test_recommend_prints_the_keys_of_the_design(runs: Path, tmp_path: Path) -> None:
    args = ["--flops", "1e18", "--unique", "a=1e9,b=1e8,c=5e8", "--max-epochs", "20", "--bootstrap", "20"]
    result = mixlab("recommend", str(runs), *args, "--json", "-o", "answer.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert set(data) >= {
        "flops", "mixture", "mixture_interval", "params", "params_interval", "tokens", "tokens_interval", "epochs",
        "loss", "losses", "baselines", "law", "extrapolation", "warnings",
    }  # fmt: skip
    assert set(data["loss"]) == {"mean", "low", "high"}
    assert set(data["baselines"]) == {"best_observed", "proportional", "uniform"}
    assert sum(data["mixture"].values()) == pytest.approx(1)
    assert data["params"] * data["tokens"] * 6 == pytest.approx(1e18)
    assert json.loads((tmp_path / "answer.json").read_text()) == data
    text = mixlab("recommend", str(runs), *args, "--objective", "a=0.5,b=0.5", cwd=tmp_path)
    assert text.stdout.startswith("At 1e18 FLOPs train ")
    wrong = mixlab("recommend", str(runs), "--flops", "1e18", "--objective", "a=0.5,z=0.5", cwd=tmp_path)
    refused(wrong, 2, "no column `loss.z`")
    unsupplied = ["--unique", "a=1,b=1,c=1", "--law", "effective-data"]
    uncapped = mixlab("recommend", str(runs), "--flops", "1e18", *unsupplied, cwd=tmp_path)
    refused(uncapped, 2, "weights between the bounds must be able to sum to 1")


def test_runs_of_one_size_are_enough_for_a_mixture(runs: Path, tmp_path: Path) -> None:
    table = pd.read_csv(runs)
    one = table[(table["params"] == 3e6) & (table["tokens"] == 4e8)]
    one.to_csv(tmp_path / "one.csv", index=False)
    result = mixlab(
        "recommend", "one.csv", "--objective", "a=0.4,b=0.3,c=0.3", "--bootstrap", "20", "--json", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["params"], data["tokens"]) == (3e6, pytest.approx(4e8))
    assert any("knows no model sizes" in warning for warning in data["warnings"])
    one.drop(columns=["tokens", "flops"]).to_csv(tmp_path / "bare.csv", index=False)
    refused(mixlab("recommend", "bare.csv", cwd=tmp_path), 2, "but `tokens` is missing", "a constant column will do")


def test_help_needs_no_heavy_library(tmp_path: Path) -> None:
    script = (
        "import sys; from mixlab.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    for command in ("quickstart", "init", "prepare", "sweep", "fit", "recommend", "verify", "report"):
        assert f"  {command} " in result.stdout
    heavy = {"torch", "pandas", "numpy", "scipy", "matplotlib", "wandb", "optuna", "pydantic"}
    assert not heavy & set(result.stdout.splitlines()[-1].split())
