"""Laws by name."""

from __future__ import annotations

from mixlab.errors import ConfigError, did_you_mean
from mixlab.laws.forms.base import Law
from mixlab.laws.forms.chinchilla import Chinchilla
from mixlab.laws.forms.effective import EffectiveData
from mixlab.laws.forms.gp import SUFFIX, WithGaussianProcess
from mixlab.laws.forms.joint import Joint, JointAdditive
from mixlab.laws.forms.mixing import LogLinear, PowerMix
from mixlab.laws.forms.regress import Constant, GradientBoosting, Linear
from mixlab.laws.forms.repetition import Repetition

_PLAIN: tuple[Law, ...] = (
    Chinchilla(),
    LogLinear(),
    PowerMix(),
    EffectiveData("effective-data", coupled=True, concave=False),
    EffectiveData("additive-data", coupled=False, concave=False),
    EffectiveData("concave-data", coupled=True, concave=True),
    Repetition("repetition", coupled=False, concave=False),
    Repetition("effective-repetition", coupled=True, concave=False),
    Repetition("concave-repetition", coupled=True, concave=True),
    Joint(),
    JointAdditive(),
)
_BASELINES: tuple[Law, ...] = (Linear(), GradientBoosting(), WithGaussianProcess(Constant(), name="gp"), Constant())
_LAWS: dict[str, Law] = {law.name: law for law in (*_PLAIN, *_BASELINES)}


def law_names() -> tuple[str, ...]:
    """Laws and baselines that predict a loss, without the forms with a Gaussian process."""
    return tuple(_LAWS)


def law_choices() -> tuple[str, ...]:
    """All that can be asked for by name: `<law>+gp` adds a Gaussian process to any law but a baseline."""
    return (*_LAWS, *(law.name + SUFFIX for law in _PLAIN))


def get_law(name: str) -> Law:
    """The law called `name`.

    Raises:
        ConfigError: with the nearest name.
    """
    plain = name.removesuffix(SUFFIX)
    if plain not in _LAWS or (plain != name and _LAWS[plain] in _BASELINES):
        raise ConfigError(f"no law is called `{name}`", did_you_mean(name, _LAWS))
    return WithGaussianProcess(_LAWS[plain]) if plain != name else _LAWS[plain]
