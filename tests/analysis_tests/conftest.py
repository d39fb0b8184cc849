"""The planted table that the tests of this folder share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mixlab.runs.table import Runs


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    path = Path(__file__).with_name("analysis_synthetic.py")
    spec = importlib.util.spec_from_file_location("analysis_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def planted(synthetic: ModuleType) -> Runs:
    table: Runs = synthetic.planted_table()
    return table
