"""`mixlab.open_study`: a study folder from Python, one method for each command that works on a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mixlab.api.fit import Fit, fit
from mixlab.api.given import Quantity, Weights, quantity, weights
from mixlab.api.keep import keep_in_study
from mixlab.api.proposals import Proposals
from mixlab.api.propose import RUNS, propose
from mixlab.api.recommend import recommend
from mixlab.corpus.prepare.progress import ReadingProgress
from mixlab.corpus.prepare.run import Prepared, prepare_corpus
from mixlab.runs.read import read_runs
from mixlab.runs.table import Runs
from mixlab.search.recommendation import Recommendation
from mixlab.study.config import StudyConfig
from mixlab.study.folder import StudyFolder
from mixlab.upward import resolve
from proxies.scoring import DocumentScores, score_study
from proxies.training.perplexity import MOST_TOKENS
from sweeps.driver import SweepResult, Watcher
from sweeps.driver import sweep as make_sweep
from sweeps.progress import ProgressWatcher
from sweeps.proof import read_mixes
from sweeps.status import SweepStatus, sweep_status
from sweeps.verification import Verification
from sweeps.verify import verify as make_verification


class Study:
    """A study: its folder, and what can be done with it.

    Each method does what the command of its name does, and writes the same files, so that a study may be begun in
    Python and continued on the command line. All may be interrupted; the same call continues.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"<Study {self.config.name} in {self.folder.root}: {len(self.config.domains)} domains>"

    @property
    def config(self) -> StudyConfig:
        """What study.yaml says."""
        return self.folder.config

    @property
    def runs(self) -> Runs:
        """The run table that `sweep` has written.

        Raises:
            RunTableError: when there is none yet.
        """
        return read_runs(self.folder.root)

    def prepare(
        self,
        *,
        force: bool = False,
        workers: int | None = None,
        on_bad_row: Literal["error", "skip"] | None = None,
        progress: bool = True,
    ) -> Prepared:
        """Read, clean, split and tokenise the text; see `mixlab.corpus.prepare.run.prepare_corpus`."""
        domains = len(self.config.domains)
        with _shown(progress, lambda: ReadingProgress(domains)) as told:
            return prepare_corpus(self.folder, force=force, workers=workers, on_bad_row=on_bad_row, progress=told)

    def status(self, *, executor: str = "local", workers: int | None = None) -> SweepStatus:
        """What of the first round ran, what is left, and what that will cost; see `sweeps.status.sweep_status`."""
        return sweep_status(self.folder, executor=executor, workers=workers)

    def sweep(
        self,
        *,
        executor: str = "local",
        workers: int | None = None,
        storage: str | None = None,
        progress: bool = True,
    ) -> SweepResult:
        """Train the proxies that are not trained yet; see `sweeps.driver.sweep`."""
        with _watcher(progress, "sweep") as watcher:
            return make_sweep(self.folder, executor=executor, workers=workers, storage=storage, watcher=watcher)

    def fit(self, target: str | None = None, **options: Any) -> Fit:
        """Fit laws to the runs, and write fit.json. By default to the study's objective, with the study's law.

        Args:
            target: a loss column alone.
            options: keywords of `mixlab.fit`.
        """
        fitted = fit(self.folder.root, target, **options)
        keep_in_study(self.folder.root, "fit", fitted)
        return fitted

    def recommend(self, flops: Quantity | None = None, *, fit: Fit | None = None, **options: Any) -> Recommendation:
        """The best mixture, N and D at a budget; writes recommendation.json, which `verify` will prove.

        Args:
            flops: the budget; absent: the study's target.
            fit: a fit of this study; absent: a new one.
            options: keywords of `mixlab.recommend`.
        """
        answer = recommend(fit or self.fit(), flops, **options)
        keep_in_study(self.folder.root, "recommendation", answer)
        return answer

    def propose(self, count: int = RUNS, *, fit: Fit | None = None, **options: Any) -> Proposals:
        """The runs to make next, or the advice to stop.

        Args:
            count: the most runs.
            fit: a fit of this study; absent: a new one where the runs can carry a law.
            options: keywords of `mixlab.propose`.
        """
        return propose(fit or self.folder.root, count, **options)

    def verify(
        self,
        flops: Quantity | None = None,
        *,
        seeds: int = 3,
        mixes: Mapping[str, Weights] | Sequence[str | Path] = (),
        executor: str = "local",
        workers: int | None = None,
        progress: bool = True,
    ) -> Verification:
        """Train the recommendation and the baselines beyond the sweep; see `sweeps.verify.verify`.

        Args:
            flops: training FLOPs of each run; absent: 4 times the sweep's largest budget.
            seeds: runs per mixture.
            mixes: mixtures of your own to compare with: by name, or files that hold one each (YAML or JSON).
            executor, workers: as for `sweep`.
            progress: show progress on stderr.
        """
        own = mixes if isinstance(mixes, Mapping) else read_mixes([Path(path) for path in mixes])
        with _watcher(progress, "verify") as watcher:
            return make_verification(
                self.folder,
                flops=quantity(flops, "flops"),
                seeds=seeds,
                mixes={name: weights(one) or {} for name, one in own.items()},
                executor=executor,
                workers=workers,
                watcher=watcher,
            )

    def score(
        self,
        *,
        domains: Sequence[str] = (),
        checkpoint: str | Path | None = None,
        max_tokens: int = MOST_TOKENS,
        path: str | Path | None = None,
    ) -> DocumentScores:
        """Perplexity of every document under a trained proxy; see `proxies.scoring.score_study`."""
        model, file = (None if one is None else Path(one) for one in (checkpoint, path))
        return score_study(self.folder, domains, model, max_tokens, file)

    def report(self, path: str | Path | None = None, **options: Any) -> Path:
        """Write one self-contained HTML page about the study; see `mixlab.report`."""
        file, _ = resolve("analysis.report.draw:report")(self.folder.root, path, **options)
        return Path(file)


def open_study(directory: str | Path) -> Study:
    """A study that exists.

    Raises:
        ConfigError: when the folder has no study.yaml, or a wrong one.
    """
    study = Study(StudyFolder.open(directory))
    _ = study.config  # a mistake in study.yaml is found here
    return study


@contextmanager
def _shown(progress: bool, make: Callable[[], Any]) -> Iterator[Any]:
    """What shows progress, where it is wanted."""
    if not progress:
        yield None
        return
    with make() as found:
        yield found


@contextmanager
def _watcher(progress: bool, title: str) -> Iterator[Watcher]:
    with _shown(progress, lambda: ProgressWatcher(title)) as found:
        yield found or Watcher()
