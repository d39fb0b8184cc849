"""study.yaml edited as text, so that all comments stay: keys get other values, a domain gives way to its parts.

Nothing is written here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mixlab.errors import ConfigError
from mixlab.study.config import StudyConfig, load_config

# [start, end) of the text, and what comes in its place.
Replacement = tuple[int, int, str]
# Text that needs no quotes, whoever reads it.
_PLAIN = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)
_WORDS = ("true", "false", "null")


@dataclass(frozen=True)
class Rewrite:
    """A study.yaml before and after; `notes` say in plain words what was changed besides the domains' entries."""

    before: str
    after: str
    notes: tuple[str, ...]


def replace_domain(
    path: Path,
    text: str,
    domain: str,
    entries: Mapping[str, Mapping[str, Any]],
    shares: Mapping[str, float],
    how: str,
) -> Rewrite:
    """The text of a study.yaml with `domain` replaced by `entries`; nothing is written.

    The old entry stays as a comment. Where `objective` or `mixtures.prior` give the domain a weight, the sub-domains
    share it as they share its tokens. A bound on the domain cannot be kept: study.yaml bounds single domains, and the
    bound would be on their sum.

    Args:
        path: of the study.yaml, for messages.
        text: what it holds.
        domain: the domain that goes.
        entries: by sub-domain, the keys of a `domains` entry; one of the domain's own name is a filtered domain, whose
            weights and bounds stay.
        shares: of the domain's tokens by sub-domain, sums to 1.
        how: for the comment, such as "by topic".

    Raises:
        ConfigError: when `mixtures.min` or `mixtures.max` bounds the domain, or the result would be no study.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [_domain_edit(text, root, domain, entries, how)]
    notes: list[str] = []
    if list(entries) != [domain]:
        _refuse_bounds(path, root, domain, list(entries))
        for at in (("objective",), ("mixtures", "prior")):
            pair = _pair(root, (*at, domain))
            if pair is not None:
                edits.append(_weight_edit(text, _node(root, at), pair, shares))
                notes.append(f"the weight of `{domain}` in {'.'.join(at)} is divided among its parts by their tokens")
    after = _replaced(text, edits)
    try:
        read_back(path, after)
    except ConfigError as error:
        raise ConfigError(f"the split would leave an invalid study: {error.message}", error.hint) from None
    return Rewrite(text, after, tuple(notes))


def replace_keys(text: str, entries: Mapping[str, str]) -> str:
    """The text of a study.yaml with other entries for top-level keys.

    Args:
        entries: by key the YAML, or the comment, that replaces the key and its value.

    Raises:
        ConfigError: when the text lacks one of the keys.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits: list[Replacement] = []
    for name, entry in entries.items():
        pair = _pair(root, (name,))
        if pair is None:
            raise ConfigError(f"the template of a study must have the key `{name}`, but has none", "add it")
        edits.append((pair[0].start_mark.index, _end(pair[1]), entry))
    return _replaced(text, edits)


def read_back(path: Path, text: str) -> StudyConfig:
    """The study that `text` would be as the file `path`.

    Raises:
        ConfigError: when it is none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, "study.yaml")
        draft.write_bytes(text.encode())
        try:
            return load_config(draft)
        except ConfigError as error:
            raise ConfigError(error.message.replace(str(draft), str(path)), error.hint) from None


def _replaced(text: str, edits: Sequence[Replacement]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def entry_line(name: str, entry: Mapping[str, Any]) -> str:
    """One domain's entry on one line."""
    return f"{flow(name)}: {flow(dict(entry))}"


class _Dumper(yaml.SafeDumper):
    """Quotes all text that YAML 1.1 or 1.2 could take for something else."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def flow(value: Any) -> str:
    """A value as YAML on one line, quoted where needed."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=1_000_000, sort_keys=False
    )
    return text.removesuffix("...\n").strip()


def _domain_edit(text: str, root: Any, domain: str, entries: Mapping[str, Mapping[str, Any]], how: str) -> Replacement:
    parent = _node(root, ("domains",))
    key, value = _pair(root, ("domains", domain)) or (None, None)
    assert key is not None, "the study was loaded with this domain"
    start, end = key.start_mark.index, _end(value)
    lines = [entry_line(name, entry) for name, entry in entries.items()]
    if parent.flow_style:
        return start, end, ", ".join(lines)
    indent = " " * key.start_mark.column
    old = text[start:end].splitlines()
    verb = "filtered" if list(entries) == [domain] else "split"
    comment = [f"# {domain.splitlines()[0]}, {verb} {how}; before:", f"#   {old[0]}"]
    comment += [f"#   {line.removeprefix(indent)}" for line in old[1:]]
    return start, end, f"\n{indent}".join([*comment, *lines])


def _weight_edit(text: str, parent: Any, pair: tuple[Any, Any], shares: Mapping[str, float]) -> Replacement:
    key, value = pair
    weight = float(value.value)
    rounded = {name: round(weight * share, 6) for name, share in shares.items()}
    largest = max(rounded, key=lambda name: rounded[name])
    rounded[largest] = round(weight - sum(v for name, v in rounded.items() if name != largest), 6)
    lines = [f"{flow(name)}: {number:.6f}".rstrip("0").rstrip(".") for name, number in rounded.items()]
    glue = ", " if parent.flow_style else "\n" + " " * key.start_mark.column
    return key.start_mark.index, _end(value), glue.join(lines)


def _refuse_bounds(path: Path, root: Any, domain: str, names: Sequence[str]) -> None:
    for bound in ("min", "max"):
        pair = _pair(root, ("mixtures", bound, domain))
        if pair is not None:
            raise ConfigError(
                f"{path}:{pair[0].start_mark.line + 1}: mixtures.{bound} bounds domain `{domain}`, but nothing can "
                f"bound the sum of the {len(names)} parts it would be split into",
                f"remove this line, and bound the parts after the split, for example {bound}: {{{flow(names[0])}: "
                f"{pair[1].value}}}",
            )


def _node(root: Any, at: tuple[str, ...]) -> Any:
    """The value node at a path of keys, or None."""
    node = root
    for name in at:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == name), None)
    return node


def _pair(root: Any, at: tuple[str, ...]) -> tuple[Any, Any] | None:
    parent = _node(root, at[:-1])
    if not isinstance(parent, yaml.MappingNode):
        return None
    return next(((key, value) for key, value in parent.value if key.value == at[-1]), None)


def _end(node: Any) -> int:
    """Where a value ends in the text; the library's mark of a block lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
