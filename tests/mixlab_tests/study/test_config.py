"""study.yaml: what is accepted, and that every refusal says where, what and what next."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixlab.errors import ConfigError
from mixlab.study.config import load_config

STUDY = """\
name: s
domains:
  web: web.jsonl
  code: [a.txt, b.txt]
target: {flops: 1e15}
"""


def write(path: Path, text: str) -> Path:
    (path / "study.yaml").write_text(text)
    return path / "study.yaml"


def test_short_forms_and_quantities(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, STUDY + "sweep: {budgets: ['2.5e11', 1T]}\nproxies: {sizes: [50K, .1M]}\n"))
    assert config.domains["code"].paths == ("a.txt", "b.txt")
    assert config.sweep.budgets == (2.5e11, 1e12)
    assert config.proxies.sizes == (50e3, 100e3)
    assert config.target is not None
    assert config.target.flops == 1e15
    assert config.objective_weights == {"web": 0.5, "code": 0.5}


@pytest.mark.parametrize(
    ("extra", "message", "hint"),
    [
        ("swep: {}", "study.yaml:6: unknown key `swep`", "did you mean `sweep`?"),
        ("sweep: {mixturs: 3}", "study.yaml:6: unknown key `sweep.mixturs`", "did you mean `mixtures`?"),
        ("sweep:\n  mixtures: 1", "study.yaml:7: `sweep.mixtures`: .*greater than or equal to 2, but got 1", None),
        ("sweep: {budgets: [1e12, huge]}", r"study.yaml:6: `sweep.budgets.1`: a quantity is .*'huge'", "suffixes"),
        (
            "objective: {web: .5, code: .4}",
            r":6: `objective`: the weights must sum to 1.* 0\.9 ",
            "correct the weights",
        ),
        ("objective: {wob: 1}", "study.yaml:6: `objective.wob`: there is no domain `wob`", "did you mean `web`?"),
        (
            "mixtures: {prior: {web: .5, code: .3}}",
            r":6: `mixtures.prior`: the weights must sum to 1",
            "correct",
        ),
        (
            "mixtures: {max: {code: 0}}",
            "study.yaml:6: `mixtures.max`: a mixture needs two or more domains that .* but code may not",
            "raise a maximum",
        ),
        (
            "mixtures: {max: {code: 0}, prior: {web: .5, code: .5}}",
            r"study.yaml:6: `mixtures.prior.code`: `code` is for evaluation alone .* but has 0.5 here",
            "take it out here",
        ),
        ("mixtures: {prior: proportinal}", "study.yaml:6: `mixtures.prior`: .*'uniform', but got 'proportinal'", None),
        ("name: t", "study.yaml:6: key `name` is duplicated", "keep one"),
        ("seed: !!python/object:os.system x", "study.yaml:6: tag .* is not allowed", "remove the tag"),
        ("seed: &a 1", "study.yaml:6: anchors and aliases are not allowed", "write the value out"),
        ("target: {flop: 1}", "study.yaml:6: key `target` is duplicated", "keep one"),
        ("domain: {}", "study.yaml:6: unknown key `domain`", "did you mean `domains`?"),
        ("seed: no", "study.yaml:6: `seed`: .*integer.*'no'", None),
        ("seed: [1", "study.yaml:7: not valid YAML", "indentation"),
    ],
)
def test_refusals(tmp_path: Path, extra: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write(tmp_path, STUDY + extra + "\n"))
    if hint is not None:
        assert hint in str(error.value.hint)


def test_a_missing_key_or_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file at") as error:
        load_config(tmp_path / "study.yaml")
    assert "mixlab init" in str(error.value.hint)
    with pytest.raises(ConfigError, match="key `domains` is missing"):
        load_config(write(tmp_path, "name: s\n"))
    with pytest.raises(ConfigError, match="must hold keys and values"):
        load_config(write(tmp_path, "just text\n"))


def test_unknown_keys_of_optional_sections_and_domains(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"study.yaml:5: unknown key `target.lw`") as error:
        load_config(write(tmp_path, STUDY.replace("1e15", "1e15, lw: auto")))
    assert error.value.hint == "did you mean `law`?"
    with pytest.raises(ConfigError, match=r"unknown key `domains.web.txt_field`") as error:
        load_config(write(tmp_path, STUDY.replace("web.jsonl", "{paths: w, txt_field: t}")))
    assert error.value.hint == "did you mean `text_field`?"
