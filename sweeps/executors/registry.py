"""The executors by name; the command line's choices follow from here."""

from __future__ import annotations

from collections.abc import Callable

from mixlab.errors import ConfigError, did_you_mean
from mixlab.study.folder import StudyFolder
from sweeps.executors.base import Executor
from sweeps.executors.local import LocalExecutor
from sweeps.executors.serial import SerialExecutor

# An entry builds an executor for a study with so many workers (None: as many as it thinks best), or raises a
# ConfigError where it cannot have so many. Its name is that of the file that holds the class.
EXECUTORS: dict[str, Callable[[StudyFolder, int | None], Executor]] = {
    "local": LocalExecutor.of,
    "serial": SerialExecutor.of,
}


def make_executor(name: str, folder: StudyFolder, workers: int | None = None) -> Executor:
    """The executor `name` for a study.

    Raises:
        ConfigError: when there is none of this name, or it cannot have so many workers.
    """
    if name not in EXECUTORS:
        raise ConfigError(f"there is no executor `{name}`", did_you_mean(name, EXECUTORS))
    return EXECUTORS[name](folder, workers)
