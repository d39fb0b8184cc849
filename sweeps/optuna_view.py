"""The Optuna study: one trial per mixture, its value the objective at the reference size and the largest budget.

Only the driver touches it, by ask and tell. It is a view of the ledger that Optuna's samplers and dashboards can use,
and it can be rebuilt from the ledger at any time. A trial's parameters are `x.<domain>` in 0..1, and its mixture is
their share of the sum, moved inside the bounds; near an optimum this searches better than logits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from mixlab.errors import SweepError
from mixlab.mixture import Mixture, MixtureSpace

MIXTURE_ATTRIBUTE = "mixture"


class OptunaView:
    """Ask for mixtures, tell their losses.

    Args:
        name: the study's name in the storage.
        storage: an Optuna storage URL, or a path for a sqlite file.
        space: the mixtures that may be trained.
        tokens: the longest run's tokens, for the caps.
        sampler: `tpe` or `gp`; who answers `ask` (`law` proposals come from outside, by `add`).
        seed: the sampler's seed is derived from it and the number of trials, so that a resumed study goes on to new
            points instead of repeating old ones.
    """

    def __init__(
        self, name: str, storage: str | Path, space: MixtureSpace, tokens: float, sampler: str, seed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = f"sqlite:///{storage}" if isinstance(storage, Path) else storage
        try:
            self._study = optuna.create_study(study_name=name, storage=url, load_if_exists=True, direction="minimize")
        except Exception as error:  # SQLAlchemy and drivers raise many kinds; all mean the same to the user
            raise SweepError(
                f"cannot open the Optuna storage {url}: {error}",
                "check the URL; a damaged optuna.db may be deleted, it is rebuilt from the ledger",
            ) from error
        self._space, self._tokens, self._seed = space, tokens, seed
        self._sampler = sampler
        self._distributions: dict[str, BaseDistribution] = {
            f"x.{domain}": FloatDistribution(0.0, 1.0) for domain in space.names
        }

    def ask(self) -> Mixture:
        """A new mixture from the sampler, as a running trial."""
        count = len(self._study.trials)
        seed = int(np.random.default_rng((self._seed, count)).integers(2**31))
        if self._sampler == "gp":
            self._study.sampler = optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
        else:
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        trial = self._study.ask(self._distributions)
        values = np.array([trial.params[name] for name in self._distributions])
        shares = values / values.sum() if values.sum() > 0 else np.full(len(values), 1 / len(values))
        mixture = Mixture.from_array(self._space.names, self._space.project(shares, self._tokens))
        trial.set_user_attr(MIXTURE_ATTRIBUTE, dict(mixture))
        return mixture

    def add(self, mixture: Mixture) -> None:
        """Make a running trial of a mixture that was chosen elsewhere, once."""
        if _key(mixture) in self._trials():
            return
        self._study.enqueue_trial(self._parameters(mixture))
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(MIXTURE_ATTRIBUTE, dict(mixture))

    def tell(self, mixture: Mixture, loss: float) -> None:
        """Finish the trial of `mixture`, once; a loss that is not finite fails it, as Optuna would rank -inf best."""
        self.add(mixture)
        trial = self._trials()[_key(mixture)]
        if trial.state.is_finished():
            return
        if math.isfinite(loss):
            self._study.tell(trial.number, loss)
        else:
            self._study.tell(trial.number, state=TrialState.FAIL)

    def running(self) -> list[Mixture]:
        """Mixtures asked for and not told."""
        return [
            Mixture(trial.user_attrs[MIXTURE_ATTRIBUTE])
            for trial in self._trials().values()
            if not trial.state.is_finished()
        ]

    def values(self) -> Sequence[float]:
        """Losses told so far."""
        return [trial.value for trial in self._study.trials if trial.value is not None]

    def _trials(self) -> dict[str, optuna.trial.FrozenTrial]:
        found = {}
        for trial in self._study.get_trials(deepcopy=False):
            if MIXTURE_ATTRIBUTE in trial.user_attrs:
                found[_key(Mixture(trial.user_attrs[MIXTURE_ATTRIBUTE]))] = trial
        return found

    def _parameters(self, mixture: Mixture) -> dict[str, float]:
        values = mixture.array(self._space.names)
        return {f"x.{name}": float(v / values.max()) for name, v in zip(self._space.names, values, strict=True)}


def _key(mixture: Mixture) -> str:
    text = ",".join(f"{name}={weight:.9f}" for name, weight in sorted(mixture.items()))
    return hashlib.sha256(text.encode()).hexdigest()
