"""Worker processes that do not run their parent's script again.

A process that is spawned imports the script that its parent runs, so a script (or a percent-script) that calls
`study.sweep()` at its top level would call it once more in every worker. Workers of ours need nothing of that script.
A forked process would not import it, but would inherit threads that do not run in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any


class WorkerProcess(SpawnProcess):
    """A spawned process that does not know its parent's script; what it is given must lie in importable modules."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # the name is the standard library's
        with _no_script():
            return SpawnProcess._Popen(process_obj)


class WorkerContext(SpawnContext):
    """The start method of our workers, for pools as well."""

    Process = WorkerProcess


WORKERS = WorkerContext()


@contextmanager
def _no_script() -> Iterator[None]:
    """`multiprocessing` tells a child the file of the module `__main__`, so for a moment there is one without."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
