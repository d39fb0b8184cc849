"""What a search and a sweep take as given, worked out once: objective, space of mixtures, supply, prior, law, target.

Sweep, search and proof read these facts and no others, so that they cannot come to different priors or bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.objective import Objective
from mixlab.study.config import StudyConfig
from mixlab.study.target import TargetConfig


@dataclass(frozen=True)
class Facts:
    """The facts of a study, or of a bare table of runs.

    Attributes:
        objective: weights over the losses that are to be small.
        space: the mixtures that the target run may have: bounds, and caps by its supply; None without mixtures.
        supply: unique tokens that the target run will have, by domain, or of all text under `tokens` without mixtures;
            `inf` where not known.
        prior: the mixture that a design is drawn around: `proportional` (to the supply), `uniform`, or weights; None
            where nobody states one.
        law: by name, or `auto`.
        target: the big run, where one is stated.
        seed: of everything random.
    """

    objective: Objective
    space: MixtureSpace | None
    supply: Mapping[str, float]
    prior: str | Mapping[str, float] | None = None
    law: str = "auto"
    target: TargetConfig | None = None
    seed: int = 0

    @classmethod
    def of_study(cls, config: StudyConfig, unique: Mapping[str, float], domains: Sequence[str] | None = None) -> Facts:
        """What a study states.

        Args:
            config: its study.yaml.
            unique: unique tokens that there are by domain; the target has them too where `supply` does not say more.
            domains: those of the mixtures, in order; absent: all that may be trained on.

        Raises:
            InfeasibleError: when no mixture keeps the bounds.
        """
        names = tuple(domains) if domains is not None else config.trained
        stated = {name: config.domains[name].supply for name in config.trained}
        supply = {**unique, **{name: tokens for name, tokens in stated.items() if tokens is not None}}
        supply = {name: supply.get(name, float("inf")) for name in names}
        # A domain for evaluation alone that was trained on before may be among `domains`, and keeps its maximum of 0.
        lower, upper = config.mixtures.bounds({*config.trained, *names})
        linear = tuple(part for one in config.mixtures.linear if (part := one.among(names)) is not None)
        mixtures = config.mixtures
        space = MixtureSpace(
            as_domains(supply), lower, upper, mixtures.max_epochs, linear, max_domains=mixtures.max_domains
        )
        prior = config.mixtures.prior
        if not isinstance(prior, str):
            prior = {name: weight for name, weight in prior.items() if name in config.trained}
        return cls(
            objective=Objective.over(config.objective_weights),
            space=space,
            supply=supply,
            prior=prior,
            law=config.target.law if config.target is not None else "auto",
            target=config.target,
            seed=config.seed,
        )

    def prior_in(self, space: MixtureSpace, tokens: float = 0.0) -> Mixture | None:
        """The prior, `proportional` and `uniform` moved inside the bounds of `space` and its caps at `tokens`.

        It need not keep a limit on domains.

        Raises:
            InfeasibleError: when no mixture keeps them.
            ConfigError: when it is `proportional` and the supply of a domain is not known.
        """
        if self.prior is None:
            return None
        if self.prior == "uniform":
            return space.uniform(tokens)
        if self.prior == "proportional":
            return space.proportional(tokens, self.supply)
        assert not isinstance(self.prior, str)
        return Mixture.normalized(self.prior)


def as_domains(supply: Mapping[str, float]) -> tuple[Domain, ...]:
    """The domains of a space, with their unique tokens."""
    return tuple(Domain(name, tokens) for name, tokens in supply.items())
