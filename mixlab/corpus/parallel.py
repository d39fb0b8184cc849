"""Maps a function over items in worker processes; results come in the items' order, whatever the number of workers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from mixlab.errors import CorpusError, argument
from mixlab.processes import WORKERS

Item = TypeVar("Item")
Result = TypeVar("Result")

_state: Any = None


class WorkerLostError(CorpusError):
    """A worker process died; what had finished is kept."""


def ordered_map(
    function: Callable[[Any, Item], Result],
    items: Iterable[Item],
    workers: int,
    setup: Callable[..., Any],
    *arguments: Any,
) -> Iterator[Result]:
    """Yield function(state, item) in order; every process makes its own state by setup(*arguments).

    Items are taken only a little ahead of the results, so that memory does not grow with their number. With one worker
    all is done in this process. Functions, items, arguments and results are pickled, and workers are spawned.

    Raises:
        WorkerLostError: when a worker is killed.
    """
    if workers == 1:
        state = setup(*arguments)
        for item in items:
            yield function(state, item)
        return
    with ProcessPoolExecutor(workers, WORKERS, _start, (setup, arguments)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_call, function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise WorkerLostError(
                "a worker process was killed; the machine may be out of memory",
                f"run the same again to continue; where memory is short, lower {argument('workers')}",
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _start(setup: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _state
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _state = setup(*arguments)


def _end_with_parent() -> None:
    """A pool's workers wait forever when the process that feeds them is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _call(function: Callable[[Any, Item], Result], item: Item) -> Result:
    return function(_state, item)
