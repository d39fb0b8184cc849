"""YAML as a study file needs it: YAML 1.2 scalars, no duplicate keys, no tags, no aliases, lines remembered.

PyYAML alone reads `1e9` as text and `no` as false, keeps the last of two equal keys, and expands aliases without
limit. Here a number is a number, only `true` and `false` are booleans, and everything else is refused by line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mixlab.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass
class Document:
    """A parsed file: its `data`, and the line (from 1) of every key by path."""

    data: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """The line of the nearest key at or above `path`."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def load_yaml(path: Path) -> Document:
    """Read one YAML document.

    Raises:
        ConfigError: missing file, bad syntax, duplicate key, tag, alias, or a file too large or too deep.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"no file at {path}", "`mixlab init DIR` writes a study.yaml to edit") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} has {len(raw):,} bytes; a study file has at most {MAX_BYTES:,}")
    document = Document(None)
    try:
        text = raw.decode("utf-8")
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(f"{path}:{_line(event)}: anchors and aliases are not allowed", "write the value out")
            tag = getattr(event, "tag", None)
            if tag not in (None, "!"):
                raise ConfigError(f"{path}:{_line(event)}: tag `{tag}` is not allowed", "remove the tag")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}",
            "check the indentation and the quotes around this line",
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    document.data = None if node is None else _construct(node, (), path, document)
    return document


def _line(thing: Any) -> int:
    return int(thing.start_mark.line) + 1


def _construct(node: Any, at: tuple[str | int, ...], path: Path, document: Document) -> Any:
    if len(at) > MAX_DEPTH:
        raise ConfigError(f"{path}:{_line(node)}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{path}:{_line(key_node)}: a key must be plain text")
            key = str(key_node.value)
            if key in mapping:
                raise ConfigError(f"{path}:{_line(key_node)}: key `{key}` is duplicated", "keep one of the two")
            document.lines[(*at, key)] = _line(key_node)
            mapping[key] = _construct(value_node, (*at, key), path, document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.lines[(*at, index)] = _line(item)
            items.append(_construct(item, (*at, index), path, document))
        return items
    return _scalar(node)


def _scalar(node: Any) -> Any:
    text = str(node.value)
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
