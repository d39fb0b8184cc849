"""The documents are true: pages that follow from the code are up to date, links lead somewhere, commands exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mixlab.cli import COMMANDS, app
from mixlab.commands.options.common import LawType
from mixlab.exports.trainers import TRAINERS
from mixlab.laws.forms.registry import entries

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OPTIONS = DOCS / "options.txt"
TOP = ("README.md", "EXPERIMENTS.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted(DOCS.rglob("*.md"))]
OURS = ("mixlab", "proxies", "sweeps", "analysis", "benchmarks", "tests", "docs")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
PATH = re.compile(rf"(?<![\w/.-])((?:{'|'.join(OURS)})/[\w./*-]*)")


def load(path: Path) -> ModuleType:
    """A file that is in no package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load(DOCS / "generate.py")
rooms = load(ROOT / "tests" / "test_rooms.py")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def lines_of(page: Path) -> list[tuple[int, str, bool]]:
    """Lines with their numbers, and whether each is code."""
    found, fenced = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        found.append((number, line, fenced or fence or line.startswith("    ")))
    return found


def prose(page: Path) -> str:
    return "\n".join("" if code else line for _, line, code in lines_of(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings; a heading that occurs again gets a number."""
    found: list[str] = []
    for _, line, code in lines_of(page):
        if not code and (match := re.fullmatch(r"#+ (.*)", line)):
            found.append(generate.slug(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])))
    return {slug if found[:i].count(slug) == 0 else f"{slug}-{found[:i].count(slug)}" for i, slug in enumerate(found)}


def test_pages_that_follow_from_the_code_are_up_to_date(tmp_path: Path) -> None:
    # In a process of its own: click remembers how a command was first called, so other tests would change its help.
    subprocess.run([sys.executable, str(DOCS / "generate.py"), str(tmp_path)], check=True, cwd=ROOT)
    for page in generate.PAGES:
        assert (DOCS / page).read_text() == (tmp_path / page).read_text(), "run `python docs/generate.py`"


def test_every_key_of_a_study_is_explained() -> None:
    page = (DOCS / "study-yaml.md").read_text()
    assert not re.findall(r"^\| `\w+` \|.*\| +\|$", page, re.MULTILINE)


def test_every_law_and_every_trainer_is_in_the_documents() -> None:
    """Those that are registered: a row of the table of laws, a name in the section on exports."""
    laws = re.findall(r"^\| (`[^|]*`) \|", (DOCS / "laws.md").read_text(), re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", " ".join(laws)))
    assert {entry.law.name for entry in entries()} <= named, "add a row to the table in docs/laws.md"
    exports = (DOCS / "your-own-text.md").read_text().partition("\n## Export\n")[2].partition("\n## ")[0]
    assert set(TRAINERS) <= set(re.findall(r"`([^`]+)`", exports)), "add its name to docs/your-own-text.md"


def options_of(name: str) -> list[str]:
    """The arguments of a command, then its options, sorted."""
    command = command_called(name)
    arguments = [p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)]
    options = sorted("/".join(p.opts + p.secondary_opts) for p in command.params if isinstance(p, click.Option))
    return [*arguments, *options]


def command_called(name: str) -> click.Command:
    command = app.get_command(click.Context(app), name)
    assert command is not None, f"there is no command `mixlab {name}`"
    return command


def pinned_options() -> dict[str, list[str]]:
    pinned: dict[str, list[str]] = {}
    for line in OPTIONS.read_text().splitlines():
        if line and not line.startswith("#"):
            pinned.setdefault(line, []) if line[0] != " " else pinned[list(pinned)[-1]].append(line.strip())
    return pinned


def test_no_command_appears_or_vanishes_unnoticed() -> None:
    assert list(pinned_options()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_appears_or_vanishes_unnoticed(name: str) -> None:
    assert options_of(name) == pinned_options()[name], "callers rely on options: change docs/options.txt by hand"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_anchors(page: Path) -> None:
    for groups in LINK.findall(prose(page)):
        link = next(filter(None, groups))
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert not anchor or anchor in anchors(target), f"{link}: no heading has this anchor"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_reference_links_are_defined(page: Path) -> None:
    text = prose(page)
    used = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert used == set(re.findall(r"^\[([\w-]+)\]: ", text, re.MULTILINE))


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = (next(filter(None, groups)).partition("#")[0] for groups in LINK.findall(prose(page)))
        left += [(page.parent / link).resolve() for link in links if link and "://" not in link]
    assert seen >= set(PAGES), sorted(map(name_of, set(PAGES) - seen))


def command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The `mixlab ...` commands of a page, in code blocks and in `spans`, as words, with the lines they begin in."""
    pending, begun = "", 0
    for number, line, code in lines_of(page):
        if code and (pending or line.strip()):
            begun = begun if pending else number
            pending += line.strip().removeprefix("$ ")
            if pending.endswith("\\"):
                pending = pending[:-1] + " "
                continue
            for part in re.split(r";\s*(?:do |done)?", pending):
                if re.match(r"(?:\.venv/bin/)?mixlab [a-z]", part):
                    yield begun, shlex.split(part, comments=True)[1:]
            pending = ""
    text = prose(page)
    for span in re.finditer(r"`mixlab\s([a-z][^`]*)`", text):
        yield text.count("\n", 0, span.start()) + 1, shlex.split(span[1])


def generated(page: Path) -> bool:
    return page.name in generate.PAGES


@pytest.mark.parametrize("page", [page for page in PAGES if not generated(page)], ids=name_of)
def test_commands_and_options_in_the_documents_exist(page: Path) -> None:
    for number, (name, *words) in command_lines(page):
        where = f"{name_of(page)}:{number}: mixlab {shlex.join([name, *words])}"
        assert name in COMMANDS, where
        command = command_called(name)
        context = click.Context(command, info_name=name)
        try:
            given, rest, _ = command.make_parser(context).parse_args(list(words))
        except click.UsageError as error:
            pytest.fail(f"{where}: {error.format_message()}")
        assert not rest, where
        for parameter in command.params:
            value = given.get(parameter.name or "")
            if isinstance(parameter.type, (click.Choice, LawType)) and isinstance(value, str) and value.islower():
                parameter.type.convert(value, parameter, context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_and_scripts_in_the_documents_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for _, line, code in lines_of(page):
        said = [line.strip()] if code else re.findall(r"`([^`]+)`", line)
        for text in said:
            for target in re.findall(r"^make ([\w-]+)", text):
                assert target in targets, f"there is no `make {target}`"
            for script in re.findall(r"python ((?:benchmarks|docs)/\S+\.py)", text):
                assert (ROOT / script).is_file(), f"there is no {script}"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/laws.md"])
def test_paths_and_modules_of_ours_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for path in (match.rstrip(".") for match in PATH.findall(text)):
        assert list(ROOT.glob(path.rstrip("/"))), f"there is no {path}"
    for dotted in re.findall(rf"`((?:{'|'.join(OURS[:4])})(?:\.\w+)+)`", text):
        assert exists(dotted), f"there is no {dotted}"


def test_the_folders_of_the_architecture_are_those_of_the_code_in_their_order() -> None:
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("## Folders")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([\w/]+)` \|", section, re.MULTILINE)
    known = rooms.modules()
    homes = {name: str(path.parent.relative_to(ROOT)) for name, path in known.items()}
    assert sorted(listed) == sorted(set(homes.values()))
    for name, home in homes.items():
        for other in rooms.imported_modules(name, known[name], known):
            assert listed.index(homes[other]) <= listed.index(home), f"{name} imports {other}, which is further down"


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:count])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            found: object = importlib.import_module(".".join(parts[:count]))
            for name in parts[count:]:
                found = getattr(found, name, None)
            return found is not None
    return False


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs.csv, from a planted law over two domains, with a benchmark; logged.csv has its own names."""
    rng, rows = np.random.default_rng(0), []
    for run, h in enumerate(rng.dirichlet(np.ones(2), 3)):
        for n in (1e7, 3e7, 1e8, 2e8):
            for d in (2e8, 1e9, 5e9):
                loss = 1.5 + 200 * n**-0.35 + 400 * (d * (h @ [0.5, 1.0])) ** -0.3
                measured = loss * np.exp(0.002 * rng.standard_normal(2))
                row = {"run_id": f"{run}-{n:g}", "params": n, "tokens": d, "loss": measured.mean()}
                row |= {"mix.web": h[0], "mix.code": h[1], "loss.python": measured[0], "loss.prose": measured[1]}
                rows.append(row | {"acc.hellaswag": 0.25 + 0.75 / (1 + np.exp(2 * (loss - 2.6)))})
    folder = tmp_path_factory.mktemp("samples")
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "runs.csv", index=False)
    names = {"params": "n_params", "tokens": "tokens_B", "loss": "val/loss"}
    names |= {f"mix.{domain}": f"weights.{domain}" for domain in ("web", "code")}
    logged = frame.assign(tokens=frame["tokens"] / 1e9)[list(names)].rename(columns=names)
    logged.to_csv(folder / "logged.csv", index=False)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_samples_call_exists(page: Path) -> None:
    import mixlab

    for _, line, code in lines_of(page):
        for owner, name in re.findall(r"\b(mixlab|study)\.(\w+)\(", line) if code else ():
            assert hasattr(mixlab if owner == "mixlab" else mixlab.Study, name), f"there is no {owner}.{name}"


def samples(page: Path) -> list[str]:
    """Blocks of Python that run; those marked `notest` take too long."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if samples(page)], ids=name_of)
def test_python_samples_run(page: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples of a page one after another, as somebody would paste them."""
    monkeypatch.chdir(runs)
    names: dict[str, Any] = {}
    for sample in samples(page):
        exec(compile(sample, name_of(page), "exec"), names)
    plt.close("all")


def test_the_law_in_contributing_is_one() -> None:
    """What a newcomer would copy is fitted, and finds the truth that its own formula plants."""
    from mixlab.laws.forms.points import Observations, Points

    names: dict[str, Any] = {}
    exec(samples(ROOT / "CONTRIBUTING.md")[0], names)
    law, count = names["TokensOnly"](), 8
    at = Points.make(None, 1e7, np.geomspace(1e8, 1e10, count), 0)
    loss = law.formula(law.example(()), at, ())
    rows = Observations(at.mixture, at.params, at.tokens, at.unique, loss, (), np.arange(count))
    fit = law.fit(rows, np.ones((1, count)))
    assert fit.status == ("converged",)
    assert fit.natural() == pytest.approx(law.example(()), rel=1e-3)


def test_the_executor_in_contributing_is_one(tmp_path: Path) -> None:
    """What a newcomer would copy has as many workers as it says, and hands jobs to them."""
    from proxies.backend.choice import Backend
    from sweeps.executors.base import Finished
    from sweeps.executors.work import Work

    names: dict[str, Any] = {}
    exec(samples(ROOT / "CONTRIBUTING.md")[1], names)
    executor = names["ThreadsExecutor"](Work(tmp_path, Backend("cpu", "torch", "fp32")), 2)
    assert list(executor.run([(), (), ()])) == [Finished((), ())] * 3  # without runs, so that there is nothing to train


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_numbers_are_written_one_way(page: Path) -> None:
    """`.98` in tables of figures, `0.98` in prose."""
    for number, line, code in lines_of(page):
        if code or generated(page):
            continue
        plain = re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", "", line)
        if line.startswith("|") and page.parent.name == "experiments":
            assert not re.search(r"(?<![\d.])0\.\d", plain), f"{name_of(page)}:{number}: write .98 in tables"
        elif not line.startswith("|"):
            wrong = re.search(r"(?<![\w.)\]])\.\d", plain.replace("write .98,", ""))
            assert not wrong, f"{name_of(page)}:{number}: write 0.98 in prose"
