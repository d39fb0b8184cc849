"""Laws by name, and what each name is used for.

A law is added by a `register` below. That lets it be asked for by `--law` everywhere; what else follows is said by the
arguments. It does not let `auto` blend it: which laws are tried on which tables is in `mixlab.laws.choice.candidates`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixlab.errors import ConfigError, did_you_mean, require_kind
from mixlab.laws.forms.base import Law
from mixlab.laws.forms.chinchilla import Chinchilla
from mixlab.laws.forms.effective import EffectiveData
from mixlab.laws.forms.gp import SUFFIX, WithGaussianProcess
from mixlab.laws.forms.joint import Joint, JointAdditive
from mixlab.laws.forms.mixing import LogLinear, PowerMix
from mixlab.laws.forms.regress import Constant, GradientBoosting, Linear
from mixlab.laws.forms.repetition import Repetition

RESERVED = ("auto", "isoflop", "two-step")  # what `--law` takes beside laws


@dataclass(frozen=True)
class Entry:
    """A law that can be asked for by name.

    Attributes:
        law: the law.
        compared: whether it is a row of every backtest, beside the law that was asked for.
        process: the same law with a Gaussian process that follows its residuals, asked for as `<name>+gp`; None where
            it has none.
    """

    law: Law
    compared: bool
    process: WithGaussianProcess | None


_ENTRIES: dict[str, Entry] = {}


def register(law: Law, *, compared: bool = True, process: bool = True) -> None:
    """Let a law be asked for by its name.

    Args:
        law: the law.
        compared: make it a row of every backtest: it is fitted there to the same rows, which takes its time.
        process: offer `<name>+gp` as well. A baseline has no theory whose residuals could be followed.

    Raises:
        ConfigError: when the name is taken.
    """
    if law.name in _ENTRIES or law.name in RESERVED or law.name.endswith(SUFFIX):
        raise ConfigError(f"the name `{law.name}` is taken: a law must have a name of its own", "choose another name")
    _ENTRIES[law.name] = Entry(law, compared, WithGaussianProcess(law) if process and not law.baseline else None)


register(Chinchilla())
register(LogLinear())
register(PowerMix())
register(EffectiveData("effective-data", coupled=True, concave=False))
register(EffectiveData("additive-data", coupled=False, concave=False))
register(EffectiveData("concave-data", coupled=True, concave=True))
register(Repetition("repetition", coupled=False, concave=False))
register(Repetition("effective-repetition", coupled=True, concave=False))
register(Repetition("concave-repetition", coupled=True, concave=True))
register(Joint())
register(JointAdditive())
register(Linear())
register(GradientBoosting())
register(WithGaussianProcess(Constant(), name="gp"))
register(Constant())


def entries() -> tuple[Entry, ...]:
    """All that is registered, in the order of registration."""
    return tuple(_ENTRIES.values())


def law_choices() -> tuple[str, ...]:
    """All that can be asked for by name."""
    processes = (entry.process for entry in entries())
    return (*_ENTRIES, *(process.name for process in processes if process is not None))


def get_entry(name: str) -> Entry:
    """What is registered under `name`; `<law>+gp` is registered with its law, and has no process but itself.

    Raises:
        ConfigError: with the nearest name.
    """
    require_kind("a law", name, str, "a name")
    require_kind("law", name, str, "a name")
    if name in _ENTRIES:
        return _ENTRIES[name]
    plain = _ENTRIES.get(name.removesuffix(SUFFIX))
    if plain is None or plain.process is None:
        raise ConfigError(f"no law is called `{name}`", did_you_mean(name, _ENTRIES))
    return Entry(plain.process, compared=False, process=None)


def get_law(name: str) -> Law:
    """The law called `name`.

    Raises:
        ConfigError: with the nearest name.
    """
    return get_entry(name).law
