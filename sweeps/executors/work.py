"""What any worker does, whoever started it: from a job to its records.

The policy is here and not in the executors: the corpus is opened once; whatever goes wrong in a job, a damaged shard
too, becomes its failed records with the reason, and the next job is tried; progress is passed on a few times a second
and to the last token; a job is given up between two chunks of training when it is told to stop.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixlab.errors import MixlabError, SweepError
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunRecord, RunSpec
from mixlab.study.folder import StudyFolder
from proxies.backend.choice import Backend, choose_backend, use_one_thread
from proxies.backend.stacking import stack_limit
from proxies.training.checkpoint import tokens_left
from proxies.training.texts import open_texts
from proxies.training.train import CorpusTokens, StoppedError, train_stack

Job = tuple[RunSpec, ...]  # runs trained together

REPORT_SECONDS = 0.3
TRACEBACK_FRAMES = 8


@dataclass(frozen=True)
class Work:
    """All that a worker has to be told before its first job; it can be pickled.

    Attributes:
        corpus: the prepared corpus.
        backend: device, engine and precision.
        checkpoints: folder for checkpoints, or None to keep none.
    """

    corpus: Path
    backend: Backend
    checkpoints: Path | None = None

    @classmethod
    def of(cls, folder: StudyFolder) -> Work:
        """A study's, with what its settings come to on this machine.

        Raises:
            ConfigError: when the study asks for a device or an engine that this machine does not have.
        """
        return cls(folder.corpus, choose_backend(folder.config.proxies), folder.checkpoints)

    def stack_limit(self, spec: RunSpec) -> int:
        """How many runs like `spec` a worker should train together: part of what a run comes to, down to rounding."""
        return stack_limit(spec, self.backend)

    def flops_left(self, job: Job) -> float:
        """Training FLOPs that `job` still takes, given the trunks that are kept (a stack's shortest)."""
        kept = self.checkpoints
        tokens = max(spec.trained_tokens if kept is None else tokens_left(kept, spec) for spec in job)
        return sum(training_flops(spec.shape, tokens) for spec in job)


class JobWorker:
    """Does jobs one after another, in the thread that asks first."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._thread: threading.Thread | None = None
        self._texts: CorpusTokens | None = None

    def do(
        self,
        job: Job,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[RunRecord, ...]:
        """Train the runs of `job` together.

        Args:
            job: what to train.
            on_progress: told how many more tokens each member has processed; the sum is all that it has.
            should_stop: asked before every chunk of steps, a fraction of a second each.

        Returns:
            One record per member, in order; all `failed`, with the reason, where anything went wrong.

        Raises:
            StoppedError: when `should_stop` said so; the job has no records then.
            SweepError: when another thread has asked before: what is set up for training is that thread's.
        """
        self._thread = self._thread or threading.current_thread()
        if self._thread is not threading.current_thread():
            raise SweepError("a JobWorker serves one thread, but two have asked it", "make one for each thread")
        work, progress = self._work, _Throttle(on_progress)
        try:
            if self._texts is None:
                use_one_thread(work.backend)
                self._texts = open_texts(work.corpus)
            records = train_stack(job, self._texts, work.backend, work.checkpoints, progress.add, should_stop)
        except StoppedError:
            raise
        except MixlabError as error:
            records = failed(job, f"{error.message} ({error.hint})" if error.hint else error.message)
        except Exception:
            records = failed(job, traceback.format_exc(limit=TRACEBACK_FRAMES))
        finally:
            progress.flush()
        return tuple(records)


def failed(job: Job, error: str) -> list[RunRecord]:
    """The records of a job that cannot be done."""
    return [RunRecord(spec=spec, status="failed", error=error) for spec in job]


class _Throttle:
    """Sums tokens and passes them on a few times a second, what is left at the end."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report, self._tokens, self._last = report, 0, time.monotonic()

    def add(self, tokens: int) -> None:
        self._tokens += tokens
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        tokens, self._tokens, self._last = self._tokens, 0, time.monotonic()
        if tokens:
            self._report(tokens)
