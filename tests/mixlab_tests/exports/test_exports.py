"""Each trainer's syntax: parsed by what will read it, weights that sum to exactly 1, zeros left out."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixlab.errors import ConfigError
from mixlab.exports.mix import DIGITS, Mix, make_mix
from mixlab.exports.trainers import TRAINERS

ANSWER = {"mixture": {"web": 0.7, "code": 0.3, "law": 1e-9}, "epochs": {"web": 0.2, "code": 2.504, "law": 0.0}}
PATHS = {"web": "/data/web", "code": "/data/it's code"}


@pytest.fixture
def mix() -> Mix:
    return make_mix(ANSWER, PATHS, {"web": 1000.0, "code": 500.0}, seed=3)


def literals(text: str) -> list[object]:
    return [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]


Read = list[tuple[str, float]]


def pairs(paths: list[str], weights: list[float]) -> Read:
    return list(zip(paths, weights, strict=True))


def alternating(values: list[Any]) -> Read:
    return pairs(values[1::2], values[::2])


def in_code(text: str) -> Read:
    """Constants of Python code: paths hold a slash, weights are the fractions, in the order of the sources."""
    constants = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    ordered = [node.value for node in sorted(constants, key=lambda node: (node.lineno, node.col_offset))]
    paths = [value for value in ordered if isinstance(value, str) and "/" in value]
    return pairs(paths, [value for value in ordered if isinstance(value, float)])


# By trainer: (path, weight) of each source in order, as what reads the text finds them. Every trainer must have one.
READERS: dict[str, Callable[[str], Read]] = {
    "megatron": lambda text: [(path, float(weight)) for path, weight in alternating(shlex.split(text)[1:])],
    "neox": lambda text: pairs(*json.loads(text).values()),
    "olmo-core": lambda text: [(s["paths"][0], s["target_ratio"]) for s in yaml.safe_load(text)["sources"]],
    "mosaic": lambda text: [
        (stream["local"], stream["proportion"])
        for stream in yaml.safe_load(text)["train_loader"]["dataset"]["streams"].values()
    ],
    "nanotron": lambda text: pairs(*yaml.safe_load(text).values()),
    "lingua": lambda text: [
        (f"{yaml.safe_load(text)['data']['root_dir']}/{name}", round(percent / 100, DIGITS))
        for name, percent in yaml.safe_load(text)["data"]["sources"].items()
    ],
    "levanter": lambda text: [
        (config["train_urls"][0], yaml.safe_load(text)["data"]["train_weights"][name])
        for name, config in yaml.safe_load(text)["data"]["configs"].items()
    ],
    "hf": in_code,
    "torchtitan": in_code,
    "litgpt": in_code,
}
OF_DOCUMENTS = {"hf"}  # those whose weights are of documents and not of tokens


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_reads_the_paths_and_weights_that_were_meant(name: str) -> None:
    """Paths that every syntax has to quote, and more than two weights, none of which is short."""
    assert name in READERS, f"enter how `{name}` reads its text in READERS"
    answer = {"mixture": {"web": 0.512345, "it's": 0.3, "größe: #1": 0.187654, "rare": 0.000001, "law": 1e-9}}
    paths = {"web": "/data/a web $HOME", "it's": '/data/it\'s "it"', "größe: #1": "/data/größe: #1, [x] {y}\\n"}
    tokens = {"web": 1000.0, "it's": 500.0, "größe: #1": 100.0, "rare": 50.0}
    mix = make_mix(answer, {**paths, "rare": "/data/- yes"}, tokens)
    meant = {source.path: source.weight for source in mix.sources}
    if name in OF_DOCUMENTS:
        documents = {source.path: source.weight / tokens[source.name] for source in mix.sources}
        meant = {path: weight / sum(documents.values()) for path, weight in documents.items()}
    read = READERS[name](TRAINERS[name](mix))
    assert all(isinstance(weight, float) for _, weight in read)
    assert [path for path, _ in read] == list(meant)
    assert [weight for _, weight in read] == pytest.approx(
        list(meant.values()), abs=1e-6 if name in OF_DOCUMENTS else 0
    )
    assert sum(Fraction(str(weight)) for _, weight in read) == 1


def test_megatron_is_one_shell_option(mix: Mix) -> None:
    assert shlex.split(TRAINERS["megatron"](mix)) == ["--data-path", "0.7", "/data/web", "0.3", "/data/it's code"]


def test_yaml_and_json_read_back(mix: Mix) -> None:
    assert json.loads(TRAINERS["neox"](mix)) == {
        "train-data-paths": ["/data/web", "/data/it's code"],
        "train-data-weights": [0.7, 0.3],
    }
    read = {
        name: yaml.safe_load(TRAINERS[name](mix)) for name in ("olmo-core", "mosaic", "nanotron", "lingua", "levanter")
    }
    assert [source["target_ratio"] for source in read["olmo-core"]["sources"]] == [0.7, 0.3]
    assert read["olmo-core"]["sources"][0]["max_repetition_ratio"] == 2.51  # enough for the 2.504 epochs of code
    assert read["mosaic"]["train_loader"]["dataset"]["streams"]["code"]["proportion"] == 0.3
    assert read["nanotron"] == {"dataset_folder": ["/data/web", "/data/it's code"], "dataset_weights": [0.7, 0.3]}
    assert read["lingua"]["data"] == {"root_dir": "/data", "sources": {"web": 70.0, "it's code": 30.0}}
    assert read["levanter"]["data"]["train_weights"] == {"web": 0.7, "code": 0.3}


def test_python_parses(mix: Mix) -> None:
    for name in ("torchtitan", "litgpt"):
        values = literals(TRAINERS[name](mix))
        assert {0.7, 0.3, "/data/web", "/data/it's code"} <= set(values)
    assert 3 in literals(TRAINERS["litgpt"](mix))


def test_a_trainer_that_samples_documents_gets_probabilities_of_documents(mix: Mix) -> None:
    values = literals(TRAINERS["hf"](mix))
    # .7 / 1000 to .3 / 500 is 7 to 6.
    assert {0.538462, 0.461538} <= set(values)
    with pytest.raises(ConfigError, match="tokens per document of web, code are needed") as error:
        TRAINERS["hf"](make_mix(ANSWER, PATHS, {}))
    assert "`tokens_per_document`" in str(error.value.hint)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="holds no mixture"):
        make_mix({"mixture": {}}, {}, {})
    with pytest.raises(ConfigError, match="no domain `wbe`") as error:
        make_mix(ANSWER, {"wbe": "/x"}, {})
    assert error.value.hint == "did you mean `web`?"
    with pytest.raises(ConfigError, match="one root_dir, but got /a, /b"):
        TRAINERS["lingua"](make_mix(ANSWER, {"web": "/a/web", "code": "/b/code"}, {}))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda values: sum(values) > 1e-3))
def test_weights_sum_to_exactly_one(values: list[float]) -> None:
    mix = make_mix({"mixture": {f"d{i}": value / sum(values) for i, value in enumerate(values)}}, {}, {})
    assert sum(Fraction(str(source.weight)) for source in mix.sources) == 1
    assert all(source.weight > 0 for source in mix.sources)
