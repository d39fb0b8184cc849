"""Laws by name."""

from __future__ import annotations

from mixlab.errors import ConfigError, did_you_mean
from mixlab.laws.base import Law
from mixlab.laws.chinchilla import Chinchilla
from mixlab.laws.joint import EffectiveData, Joint, JointAdditive
from mixlab.laws.mixing import LogLinear
from mixlab.laws.regress import GradientBoosting, Linear

_LAWS: dict[str, Law] = {
    law.name: law
    for law in (Chinchilla(), LogLinear(), EffectiveData(), Joint(), JointAdditive(), Linear(), GradientBoosting())
}


def law_names() -> tuple[str, ...]:
    """All laws that predict a loss."""
    return tuple(_LAWS)


def get_law(name: str) -> Law:
    """The law called `name`.

    Raises:
        ConfigError: with the nearest name.
    """
    if name not in _LAWS:
        raise ConfigError(f"no law is called `{name}`", did_you_mean(name, _LAWS))
    return _LAWS[name]
