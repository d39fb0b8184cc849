"""Which laws `auto` tries on a table.

A law is a candidate when all it needs varies in the rows, when nothing that varies is lost on it, and when there are
enough distinct mixtures for its coefficients: a flexible law can predict the next budget of the mixtures it has seen
and still be wrong about the ones it has not, where the optimum lies.
"""

from __future__ import annotations

import numpy as np

from mixlab.errors import FitError
from mixlab.laws.choice.rows import Data, groups_of_mixtures, require_support, states_supply, varying
from mixlab.laws.forms.base import Law
from mixlab.laws.forms.registry import get_law

# By what varies in the rows. Where both vary, what the laws miss about a mixture at one size is largely what they miss
# at the next, so a process follows their residuals. At one scale it learns what larger models may not share, and
# validation at that scale cannot tell: it follows the residuals there and fades elsewhere (`Features.fade`), and the
# laws are admitted by what they predict without it. `power-mix` is `concave-data` with beta at 1.
OF_SCALE: tuple[str, ...] = ("additive-data", "effective-data")
OF_MIXTURE: tuple[str, ...] = ("loglinear", "effective-data", "concave-data")
OF_BOTH: tuple[str, ...] = ("additive-data+gp", "effective-data+gp", "concave-data+gp", "joint+gp", "joint-additive+gp")
# Where unique tokens are stated these stand for the forms that take a repeat for fresh text. Rows that repeat nothing
# cannot tell the two apart, but a larger run of the best mixture may repeat what is scarce.
COUNTING_REPEATS = {
    "additive-data": "repetition",
    "effective-data": "effective-repetition",
    "concave-data": "concave-repetition",
}
BASELINES = ("linear",)
MIXTURES_PER_COEFFICIENT = 1  # distinct mixtures that each coefficient of a domain must rest on


def candidate_laws(data: Data) -> list[str]:
    """The names of the laws that the rows can carry, then those of the baselines.

    Raises:
        FitError: when there is no law, with the reason of the simplest one that fits the table.
    """
    present = varying(data.rows)
    mixtures = len(np.unique(groups_of_mixtures(data.rows.mixture)))
    names: list[str] = []
    refusal: FitError | None = None
    for name in (*_forms(present, states_supply(data.rows)), *BASELINES):
        law = get_law(name)
        if not law.baseline and (present - law.takes or law.needs - present - {"unique"} or not present):
            continue
        try:
            for target in data.losses:
                require_support(law, data.of(target))
            if not law.baseline and "mixture" in present:
                _require_mixtures(law, mixtures, len(data.rows.domains))
        except FitError as reason:
            refusal = refusal or reason
        else:
            names.append(name)
    if all(get_law(name).baseline for name in names):
        raise refusal or FitError(
            "no law fits these rows: nothing varies in them",
            "a fit needs runs that differ in model size, tokens or mixture",
        )
    return names


def _forms(present: frozenset[str], supply_stated: bool) -> tuple[str, ...]:
    """The laws for tables in which these vary, by name."""
    both = "mixture" in present and present & {"params", "tokens"}
    names = OF_BOTH if both else OF_MIXTURE if "mixture" in present else OF_SCALE
    return tuple(_counting_repeats(name) for name in names) if supply_stated else names


def _counting_repeats(name: str) -> str:
    """The law that tells repeats from fresh text, else the same."""
    plain, plus, suffix = name.partition("+")
    return COUNTING_REPEATS.get(plain, plain) + plus + suffix


def _require_mixtures(law: Law, mixtures: int, domains: int) -> None:
    """Refuse a law whose coefficients rest on too few distinct mixtures.

    Raises:
        FitError: when there are too few.
    """
    per_domain = law.size(domains) - law.size(0)
    needed = MIXTURES_PER_COEFFICIENT * per_domain
    if mixtures < needed:
        raise FitError(
            f"the law `{law.name}` has {per_domain} coefficients of domains and needs at least {needed} distinct "
            f"mixtures, but got {mixtures}",
            "add mixtures, or name the law to fit it anyway",
        )
