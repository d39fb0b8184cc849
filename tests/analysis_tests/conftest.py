"""The planted table that the tests of this folder share."""

from __future__ import annotations

import pytest
from helpers.planted_runs import planted_table

from mixlab.runs.table import Runs


@pytest.fixture(scope="session")
def planted() -> Runs:
    return planted_table()
