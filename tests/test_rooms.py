"""The rooms keep their shape: who may import whom, no circles, one meaning per name, libraries at home."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("mixlab", "proxies", "sweeps", "analysis")
MAY_IMPORT = {
    "mixlab": set(),
    "proxies": {"mixlab"},
    "sweeps": {"mixlab", "proxies"},
    "analysis": {"mixlab", "sweeps"},
}
MOST_FILES = 18  # in a folder, that a page can describe it
# library -> the places (path prefixes) that may import it
HOMES = {
    "torch": ("proxies/pytorch/", "proxies/backend/"),
    "safetensors": ("proxies/", "mixlab/corpus/"),
    "optuna": ("sweeps/",),
    "wandb": ("sweeps/",),
    "filelock": ("sweeps/", "mixlab/corpus/", "proxies/native/"),
    "matplotlib": ("analysis/",),
    "jinja2": ("analysis/",),
    "pyarrow": ("mixlab/corpus/",),
    "tokenizers": ("mixlab/corpus/",),
    "sklearn": ("mixlab/corpus/",),
    "py3langid": ("mixlab/corpus/clean/",),
    "fsspec": ("mixlab/corpus/",),
    "lightgbm": ("mixlab/laws/forms/regress.py",),
}


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, for_types: bool = True) -> set[str]:
    """The modules that a file imports, and whatever it imports from them; also those that only its types need."""
    tree = ast.parse(path.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    left_out = set() if for_types else {inner for node in typing for inner in ast.walk(node)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_packages_import_only_downwards() -> None:
    for name, path in modules().items():
        package = name.split(".")[0]
        used = {other.split(".")[0] for other in imports(path)} & set(OURS)
        assert used <= MAY_IMPORT[package] | {package}, f"{name} imports {used}"


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_live_in_their_rooms(library: str) -> None:
    users = [
        str(path.relative_to(ROOT))
        for path in modules().values()
        if any(name.split(".")[0] == library for name in imports(path, for_types=False))
    ]
    assert all(user.startswith(HOMES[library]) for user in users), users


def imported_modules(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports; `from package import module` is about the module."""
    found = imports(path) & set(known)
    return {one for one in found if not any(other.startswith(f"{one}.") for other in found)} - {name}


def refuse_circles(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_no_circle_between_files() -> None:
    known = modules()
    refuse_circles({name: imported_modules(name, path, known) for name, path in known.items()})


def test_no_circle_between_folders() -> None:
    known = modules()
    graph: dict[str, set[str]] = {str(path.parent.relative_to(ROOT)): set() for path in known.values()}
    for name, path in known.items():
        home = str(path.parent.relative_to(ROOT))
        graph[home] |= {str(known[other].parent.relative_to(ROOT)) for other in imported_modules(name, path, known)} - {
            home
        }
    refuse_circles(graph)


def test_every_folder_says_what_it_is_for_and_is_small() -> None:
    files = defaultdict(list)
    for path in modules().values():
        files[path.parent].append(path.name)
    for folder, names in files.items():
        purpose = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert purpose, f"{folder} does not say what it is for"
        assert len(purpose) > 60, f"{folder} does not say what may come in"
        assert len(names) <= MOST_FILES, f"{folder} has {len(names)} files"


def test_what_is_private_stays_in_its_package() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{name} imports {private} from {node.module}"


def test_a_public_class_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for name, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice


def test_help_needs_only_click() -> None:
    heavy = ["torch", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "wandb", "optuna", "pydantic", "rich"]
    script = (
        "import sys\n"
        "from mixlab.cli import app\n"
        "app.main(['--help'], standalone_mode=False)\n"
        f"loaded = [name for name in {heavy} if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "quickstart" in result.stdout


def test_the_native_engine_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "import sweeps.study, proxies.training.train, proxies.training.texts\n"
        "from mixlab.study.sweep import ProxyConfig\n"
        "from proxies.backend.choice import choose_backend\n"
        "backend = choose_backend(ProxyConfig(device='cpu'))\n"
        "sys.exit(backend.engine == 'native' and 'torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_no_name_of_a_constant_has_two_values() -> None:
    values: dict[str, set[str]] = {}
    for path in modules().values():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, ast.unparse(node.value)
                if name.isupper() and not name.startswith("_"):
                    values.setdefault(name, set()).add(value)
    assert not {name: found for name, found in values.items() if len(found) > 1}
