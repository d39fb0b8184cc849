"""A new study: what is given is what is read back, whatever its names; a template that lacks a key is refused."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mixlab.commands.init import init
from mixlab.errors import ConfigError
from mixlab.study.config import load_config
from mixlab.study.edit import replace_keys
from mixlab.study.new import TEMPLATE, find_sources, new_study, write_study

NAMES = ("web", "1e9", "no", "null", 'say: "x" # y', "a, {b}", "n" * 200, "문서")
PRESET = (files("sweeps") / "presets" / "quickstart.yaml").read_text()


@pytest.mark.parametrize("template", [TEMPLATE, PRESET])
def test_a_study_reads_back_as_it_was_given(tmp_path: Path, template: str) -> None:
    domains = {name: tmp_path / "texts" / f"{name}.jsonl" for name in NAMES}
    objective = dict.fromkeys(NAMES[:4], 0.25)
    path = write_study(tmp_path, domains, template=template, name="1e5", seed=7, objective=objective)
    config = load_config(path)
    assert (config.name, config.seed, config.objective) == ("1e5", 7, objective)
    assert {name: domain.paths for name, domain in config.domains.items()} == {
        name: (f"texts/{name}.jsonl",) for name in NAMES
    }
    comments = [line for line in template.splitlines() if line.startswith("#")]
    assert set(comments) <= set(path.read_text().splitlines())


def test_without_an_objective_a_comment_shows_one(tmp_path: Path) -> None:
    path = write_study(tmp_path, {"web": tmp_path / "w.txt", "1e9": tmp_path / "b.txt"})
    assert load_config(path).objective is None
    assert '\n# objective: {web: 0.5, "1e9": 0.5}\n' in path.read_text()


@pytest.mark.parametrize("key", ["name", "seed", "domains", "objective"])
def test_a_template_with_a_renamed_key_is_refused(tmp_path: Path, key: str) -> None:
    template = PRESET.replace(f"\n{key}:", f"\n{key}s:")
    with pytest.raises(ConfigError, match=f"must have the key `{key}`"):
        write_study(tmp_path, {"a": tmp_path / "a", "b": tmp_path / "b"}, template=template)
    assert not (tmp_path / "study.yaml").exists()


def test_a_template_that_is_no_study_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path}/study\.yaml:\d+: unknown key `swep`"):
        write_study(tmp_path, {"a": tmp_path / "a", "b": tmp_path / "b"}, template=PRESET + "swep: {}\n")


def test_keys_are_replaced_and_the_rest_stays() -> None:
    text = "# top\na: {x: 1}  # why\nb:\n  - 1\n  - 2\n# end\nc: 3\n"
    assert replace_keys(text, {"a": "a: 2", "b": "b: [4]"}) == "# top\na: 2  # why\nb: [4]\n# end\nc: 3\n"


def test_what_commands_write_into_a_study_is_not_taken_for_text(tmp_path: Path) -> None:
    for name in ("corpus", "classify", "split", "ledger", "books"):
        (tmp_path / name).mkdir()
    (tmp_path / "web.txt").write_text("x")
    assert [path.name for path in find_sources(tmp_path)] == ["books", "web.txt"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(init, [str(each) for each in arguments], catch_exceptions=False)


def test_from_takes_one_or_several_files(tmp_path: Path) -> None:
    texts = [tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"]
    for path in texts:
        path.write_text("x")
    ways = [
        (tmp_path / "1", "--from", *texts),
        (tmp_path / "1", "--from", *texts, "--force"),
        ("--force", tmp_path / "1", "--from", texts[0], "--from", *texts[1:]),
        ("--from", *texts, "--force", tmp_path / "1"),
        ("--from", *texts, "--force", "--json", tmp_path / "1"),
    ]
    for arguments in ways:
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert list(load_config(tmp_path / "1" / "study.yaml").domains) == ["a", "b", "c"]
    assert list(json.loads(result.stdout)["domains"]) == ["a", "b", "c"]
    assert run(tmp_path / "2", *texts).exit_code == 2


def test_one_domain_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match="at least 2 domains, but the sources are 1"):
        new_study(tmp_path / "s", [tmp_path / "a.txt"])
    with pytest.raises(ConfigError, match=rf"at least 2 domains, but {tmp_path} holds text for 1"):
        new_study(tmp_path)
