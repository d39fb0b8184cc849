"""The pages of docs/ that follow from the code: commands.md from `--help`, study-yaml.md from the models of study.yaml.

    python docs/generate.py            # rewrites both
    python docs/generate.py FOLDER     # writes them there

`tests/test_docs.py` fails where they are out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import yaml

from mixlab.cli import COMMANDS, app
from mixlab.study.cleaning import STANDARD, STANDARD_QUALITY, CleaningConfig, QualityConfig
from mixlab.study.config import StudyConfig
from mixlab.study.section import Quantity, Section, Weight

DOCS = Path(__file__).parent
WIDTH = 100  # of a line of `--help`
MADE = "<!-- Made by `python docs/generate.py`; edit the code, not this page. -->\n"
PRESETS: dict[type[Section], Mapping[str, Any]] = {CleaningConfig: STANDARD, QualityConfig: STANDARD_QUALITY}
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false"}
CLEANING = "corpus.cleaning"
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def commands_page() -> str:
    """Every command as `mixlab COMMAND --help` shows it, in the order of `mixlab --help`."""
    top = click.Context(app, info_name="mixlab", terminal_width=WIDTH, help_option_names=["-h", "--help"])
    parts = [
        f"# Commands\n\n{MADE}\nWhat `mixlab COMMAND --help` shows. Exit codes and `--json` are described in "
        "[a table of runs](a-table-of-runs.md#output-and-exit-codes).\n"
    ]
    parts.append("\n".join(f"- [`mixlab {name}`](#mixlab-{name}): {text}" for name, (_, text) in COMMANDS.items()))
    for name in COMMANDS:
        command = app.get_command(top, name)
        assert command is not None
        shown = command.get_help(click.Context(command, info_name=name, parent=top))
        parts.append(f"\n## mixlab {name}\n\n```text\n{shown}\n```")
    return "\n".join(parts) + "\n"


def study_page() -> str:
    """A table of keys for every section of study.yaml, with the docstrings of the models."""
    parts = [
        f"# study.yaml\n\n{MADE}\nEvery key of a study file. `mixlab init` writes one with comments. An unknown key is "
        "an error that names its line and the nearest key. A quantity may be written `1e12`, `150K` or `2.5T`.\n"
    ]
    return "\n".join([*parts, *_sections(StudyConfig, "")])


def _sections(model: type[Section], path: str) -> list[str]:
    """The section's heading, text and table, then those of the sections in it."""
    text, meanings = attributes(model)
    hints = get_type_hints(model, include_extras=True)
    inner = {name: found for name, hint in hints.items() if (found := _inside(hint, f"{path}.{name}".lstrip(".")))}
    standard = PRESETS.get(model)
    head = ["key", "value", "default", *(["in `standard`"] if standard is not None else []), "meaning"]
    rows = []
    for name, field in model.model_fields.items():
        limits = [] if hints[name] in (Quantity, Weight) else _limits(field.metadata)
        value = ", ".join([kind(hints[name]), *limits])
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        preset = [] if standard is None else ["on" if standard.get(name) == {} else _default(standard.get(name))]
        link = f"See [`{inner[name][1]}`](#{slug(inner[name][1])})." if name in inner else ""
        rows.append([f"`{name}`", value, default, *preset, f"{meanings.get(name, '')} {link}".strip()])
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])
    done = [f"## {f'`{path}`' if path else 'Top level'}\n\n{text}\n\n{table}\n"]
    for section, where in inner.values():
        if where.startswith(path):  # a domain's cleaning has the keys of the corpus's
            done += _sections(section, where)
    return done


def attributes(model: type[Section]) -> tuple[str, dict[str, str]]:
    """The docstring of a section: what comes before `Attributes:`, and the meaning of each key."""
    text, _, listed = (inspect.getdoc(model) or "").partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", "\n" + listed):
        names, colon, meaning = entry.strip().partition(": ")
        said = " ".join(meaning.split())
        for name in names.split(", ") if colon else ():
            meanings[name] = said[:1].upper() + said[1:]
    return text.strip(), meanings


def kind(hint: Any) -> str:
    """What a value may be, in words."""
    if hint in (Quantity, Weight):
        return "quantity" if hint is Quantity else "0 to 1"
    if hint in NAMES:
        return NAMES[hint]
    if hint in PRESETS:
        return "section or `standard`"
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not type(None)]
    if origin in (Union, UnionType):
        return " or ".join(kind(part) for part in parts)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {kind(parts[0])}"
    if origin is dict:
        return f"{'name' if parts[0] is str else 'n'}: {kind(parts[1])}"
    return "section"


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _inside(hint: Any, path: str) -> tuple[type[Section], str] | None:
    """The section that a hint holds, and its path; in a mapping it lies below a name."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return hint, CLEANING if hint is CleaningConfig else path
    below = f"{path}.<name>" if get_origin(hint) is dict else path
    return next((found for part in get_args(hint) if (found := _inside(part, below))), None)


def _limits(metadata: Iterable[Any]) -> list[str]:
    """What a value must be above or below, in words."""
    found = [(sign, getattr(one, name)) for one in metadata for name, sign in LIMITS.items() if hasattr(one, name)]
    return [f"{sign} {limit:,}" for sign, limit in found]


def _default(value: Any) -> str:
    """A default as it would be written in study.yaml."""
    if value is None or isinstance(value, Section) or value in ((), {}):
        return "-"
    if value is True or value is False:
        return str(value).lower()
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{yaml.safe_dump(plain, default_flow_style=True, width=1000).splitlines()[0]}`"


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands_page, "study-yaml.md": study_page}

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else DOCS
    for page, make in PAGES.items():
        (folder / page).write_text(make(), encoding="utf-8")
