"""study.yaml edited as text: a domain's entry gives way to those of its sub-domains, and all comments stay."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mixlab.errors import ConfigError
from mixlab.study.config import load_config

Edit = tuple[int, int, str]


@dataclass(frozen=True)
class Rewrite:
    """A study.yaml before and after, and in plain words what else than the domain's entry was changed."""

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
                notes.append(f"the weight of `{domain}` in {'.'.join(at)} is shared by its parts as they share tokens")
    after = text
    for start, end, new in sorted(edits, reverse=True):
        after = after[:start] + new + after[end:]
    _check(path, after)
    return Rewrite(text, after, tuple(notes))


def entry_line(name: str, entry: Mapping[str, Any]) -> str:
    """One domain's entry on one line."""
    return f"{flow(name)}: {flow(dict(entry))}"


def flow(value: Any) -> str:
    """A value as YAML on one line, quoted where needed."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _domain_edit(text: str, root: Any, domain: str, entries: Mapping[str, Mapping[str, Any]], how: str) -> Edit:
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


def _weight_edit(text: str, parent: Any, pair: tuple[Any, Any], shares: Mapping[str, float]) -> Edit:
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
                f"{path}:{pair[0].start_mark.line + 1}: mixtures.{bound} bounds domain `{domain}`, and cannot bound "
                f"the sum of the {len(names)} parts it is split into",
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


def _check(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, "study.yaml")
        draft.write_bytes(text.encode())
        try:
            load_config(draft)
        except ConfigError as error:
            message = re.sub(re.escape(str(draft)), str(path), error.message)
            raise ConfigError(f"the split would leave no valid study: {message}", error.hint) from None
