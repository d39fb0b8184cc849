"""The Optuna study: one trial per mixture, its value the objective at the reference size and the largest budget.

It is a view of the ledger that Optuna's samplers and dashboards can use, and it follows the ledger: what differs is
built anew. Only the driver touches it, by ask and tell. A trial's parameters are `x.<domain>` in 0..1, and its mixture
is their share of the sum, moved inside the bounds; near an optimum this searches better than logits.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mixlab.errors import MixlabError, SweepError, argument
from mixlab.mixture import Mixture, MixtureSpace

MIXTURE_ATTRIBUTE = "mixture"
JOURNAL = "journal:"
SAME_WEIGHT = 9  # decimals


def _qmc(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # its interface may change: pinned by constraints.txt
        return optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, deterministic_objective=False),
    "qmc": _qmc,
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


class OptunaView:
    """Ask for mixtures, tell their losses.

    Args:
        name: the study's name in the storage.
        storage: the study's own file (sqlite), an Optuna storage URL, `journal:FILE`, or a storage.
        space: the mixtures that may be trained.
        tokens: the longest run's tokens, for the caps.
        sampler: a name in `SAMPLERS`, who answers `propose`; other proposals come from outside, by `follow`.
        seed: the sampler's seed is derived from it and the number of trials, so that a resumed study goes on to new
            points instead of repeating old ones.

    Raises:
        SweepError: when the storage cannot be reached, here and in every method.
    """

    def __init__(
        self,
        name: str,
        storage: str | Path | BaseStorage,
        space: MixtureSpace,
        tokens: float,
        sampler: str,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._name, self._own = name, isinstance(storage, Path)
        self._label = str(storage) if isinstance(storage, (str, Path)) else type(storage).__name__
        self._space, self._tokens, self._sampler, self._seed = space, tokens, sampler, seed
        self._distributions: dict[str, BaseDistribution] = {
            f"x.{domain}": FloatDistribution(0.0, 1.0) for domain in space.names
        }
        with self._reaching():
            self._storage = _open(storage)
            self._study = self._create()

    def follow(self, losses: Mapping[Mixture, float | None]) -> None:
        """Make the study agree with what the ledger knows.

        Args:
            losses: by mixture; None where its run is not over. One that is not finite fails the trial, as Optuna
                would rank -inf best.

        Raises:
            SweepError: when a storage that others may use holds another loss for one of the mixtures.
        """
        with self._reaching():
            trials = self._trials()
            if any(_contradicts(trials.get(_rounded(mixture)), loss) for mixture, loss in losses.items()):
                self._begin_anew()
                trials = {}
            for mixture, loss in losses.items():
                number, state = self._trial(mixture, trials.get(_rounded(mixture)))
                if loss is None or state.is_finished():
                    continue
                if math.isfinite(loss):
                    self._study.tell(number, loss)
                else:
                    self._study.tell(number, state=TrialState.FAIL)

    def propose(self, count: int) -> list[Mixture]:
        """`count` new mixtures from the sampler, as running trials.

        Those that run already come first: they were proposed to a driver that was killed before it kept them.
        """
        with self._reaching():
            running = [_mixture(trial) for trial in self._trials().values() if not trial.state.is_finished()][:count]
            return running + [self._ask() for _ in range(count - len(running))]

    @property
    def losses(self) -> dict[Mixture, float]:
        """What was told, by mixture, in the order of the trials."""
        with self._reaching():
            return {_mixture(trial): trial.value for trial in self._trials().values() if trial.value is not None}

    def _ask(self) -> Mixture:
        seed = int(np.random.default_rng((self._seed, len(self._study.trials))).integers(2**31))
        self._study.sampler = SAMPLERS[self._sampler](seed)
        trial = self._study.ask(self._distributions)
        values = np.array([trial.params[name] for name in self._distributions])
        shares = values / values.sum() if values.sum() > 0 else np.full(len(values), 1 / len(values))
        mixture = Mixture.from_array(self._space.names, self._space.project(shares, self._tokens))
        trial.set_user_attr(MIXTURE_ATTRIBUTE, dict(mixture))
        return mixture

    def _trial(self, mixture: Mixture, known: FrozenTrial | None) -> tuple[int, TrialState]:
        """Number and state of a mixture's trial, which is started where there is none."""
        if known is not None:
            return known.number, known.state
        values = mixture.array(self._space.names)
        parameters = {
            f"x.{name}": float(value / values.max()) for name, value in zip(self._space.names, values, strict=True)
        }
        self._study.enqueue_trial(parameters)
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(MIXTURE_ATTRIBUTE, dict(mixture))
        return trial.number, TrialState.RUNNING

    def _trials(self) -> dict[Mixture, FrozenTrial]:
        """The trials that have a mixture, by its rounded weights."""
        trials = self._study.get_trials(deepcopy=False)
        return {_rounded(_mixture(trial)): trial for trial in trials if MIXTURE_ATTRIBUTE in trial.user_attrs}

    def _create(self) -> optuna.Study:
        return optuna.create_study(
            study_name=self._name, storage=self._storage, load_if_exists=True, direction="minimize"
        )

    def _begin_anew(self) -> None:
        if not self._own:
            raise SweepError(
                f"the study `{self._name}` in the Optuna storage {self._label} holds other losses than the ledger",
                f"delete it there, give another {argument('storage')}, or give this study another name",
            )
        optuna.delete_study(study_name=self._name, storage=self._storage)
        self._study = self._create()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except MixlabError:
            raise
        except Exception as error:  # SQLAlchemy and drivers raise many kinds; all mean the same to the user
            raise SweepError(
                f"cannot use the Optuna storage {self._label}: {error}",
                "check the URL; a damaged optuna.db may be deleted, it is rebuilt from the ledger",
            ) from error


def _open(storage: str | Path | BaseStorage) -> BaseStorage:
    if isinstance(storage, Path):
        storage = f"sqlite:///{storage}"
    if isinstance(storage, str) and storage.startswith(JOURNAL):
        return JournalStorage(JournalFileBackend(storage.removeprefix(JOURNAL)))
    return optuna.storages.get_storage(storage)


def _mixture(trial: FrozenTrial) -> Mixture:
    return Mixture(trial.user_attrs[MIXTURE_ATTRIBUTE])


def _rounded(mixture: Mixture) -> Mixture:
    """A mixture that is equal for weights that were written and read again somewhere."""
    return Mixture({name: round(mixture[name], SAME_WEIGHT) for name in sorted(mixture)})


def _contradicts(trial: FrozenTrial | None, loss: float | None) -> bool:
    """Whether a trial is over, with something else than `loss`."""
    if trial is None or loss is None or not trial.state.is_finished():
        return False
    if trial.value is None:
        return math.isfinite(loss)
    return not math.isclose(trial.value, loss, rel_tol=1e-9)
