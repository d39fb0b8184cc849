"""The house keeps its shape: which package may import which, where heavy libraries live, and no circles."""

from __future__ import annotations

import ast
import subprocess
import sys
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
# library -> the places (path prefixes) that may import it
HOMES = {
    "torch": ("proxies/pytorch/", "proxies/compute.py", "proxies/speed.py"),
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
    "lightgbm": ("mixlab/laws/regress.py",),
}


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
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
        if any(name.split(".")[0] == library for name in imports(path))
    ]
    assert all(user.startswith(HOMES[library]) for user in users), users


def test_no_import_circles() -> None:
    known = modules()
    graph = {name: (imports(path) & set(known)) - {name} for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in known:
        visit(name, ())


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
        "import sweeps.commands, proxies.commands, proxies.train, proxies.texts\n"
        "from mixlab.config import ProxyConfig\n"
        "from proxies.compute import resolve_compute\n"
        "compute = resolve_compute(ProxyConfig(device='cpu'))\n"
        "sys.exit(compute.engine == 'native' and 'torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
