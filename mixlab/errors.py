"""What can go wrong for a user, as one family of exceptions.

Every error says what was required and what was given (`message`) and what to do next (`hint`). The command
line prints both and exits with the class's `exit_code`; anything that is not a `MixlabError` is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHORT = 40  # characters of a value that a message repeats


class MixlabError(Exception):
    """A failure the user can act on.

    Args:
        message: what was required and what was given.
        hint: what to do next, one sentence in the imperative.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # which a traceback shows, in a notebook as well


class ConfigError(MixlabError):
    """A study file, an option or a mixture that cannot be meant."""

    exit_code = 2


class CorpusError(MixlabError):
    """Text or token shards that are missing, damaged or empty."""

    exit_code = 2


class RunTableError(MixlabError):
    """A run table without what the command needs."""

    exit_code = 2


class InfeasibleError(MixlabError):
    """No mixture or model meets all constraints at once."""

    exit_code = 2


class FitError(MixlabError):
    """The runs cannot support the answer; the hint says which runs are missing."""

    exit_code = 4


class WriteError(MixlabError):
    """A file that could not be written; what was there before is whole."""

    exit_code = 1


class SweepError(MixlabError):
    """A sweep that could not go on (locked, out of disk, every attempt failed)."""

    exit_code = 1


def require_kind(
    name: str, value: object, kinds: type | tuple[type, ...], wanted: str, hint: str | None = None
) -> None:
    """Refuse a value that is of no kind that can be meant.

    Raises:
        ConfigError: naming what was given.
    """
    if not isinstance(value, kinds) or isinstance(value, bool):
        text = repr(value)
        shown = text if len(text) <= SHORT and "\n" not in text else f"a {type(value).__name__}"
        raise ConfigError(f"{name} must be {wanted}, but got {shown}", hint)


def argument(name: str, option: str | None = None) -> str:
    """An argument as both a hint's readers know it: by its name in Python and by the option of a command."""
    return f"`{name}` (of a command, `{option or '--' + name.replace('_', '-')}`)"


def did_you_mean(given: object, known: Iterable[str]) -> str | None:
    """The closest of `known` to `given` as a hint, or the whole list when nothing is close."""
    options = list(known)
    close = get_close_matches(str(given), options, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(options)}" if options else None
