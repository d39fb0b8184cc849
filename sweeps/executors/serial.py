"""No workers at all: jobs are made one after another in this process, where a debugger sees them.

A job's progress comes when it ends. Ctrl-C stops it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

from mixlab.errors import ConfigError
from mixlab.study.folder import StudyFolder
from sweeps.executors.pool import PoolExecutor
from sweeps.executors.work import Work


class SerialExecutor(PoolExecutor):
    """Makes jobs in this process."""

    @classmethod
    def of(cls, folder: StudyFolder, workers: int | None) -> SerialExecutor:
        """A study's.

        Raises:
            ConfigError: when more than one worker is asked for.
        """
        if workers not in (None, 1):
            raise ConfigError(f"the executor `serial` has 1 worker, but {workers} were asked for", "use `local`")
        return cls(Work.of(folder))

    def pool(self) -> futures.Executor:
        return _Here()


class _Here(futures.Executor):
    """Calls at once, in the thread that asks."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        done: futures.Future[Any] = futures.Future()
        done.set_result(fn(*args, **kwargs))
        return done
