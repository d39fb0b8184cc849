"""One spelling for the same text: Unicode NFC, "\\n" at every line end, no control and zero-width characters; and the
end of texts that are empty then.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Self

from mixlab.corpus.clean.cleaned import EMPTY
from mixlab.corpus.clean.step import Part, Step, StepSettings

# The tab and the newline stay, and so do the joiners U+200C and U+200D, which Persian, Indic scripts and emoji need.
_ASCII_CONTROLS = bytes(code for code in (*range(32), 127) if code not in (9, 10))
_C1_CONTROLS = re.compile(b"\xc2[\x80-\x9f]")
_OTHERS = "\u00ad\u200b\u2060\ufeff\u2028\u2029"
_DROPPED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")
_LINE_ENDS = re.compile("\r\n?|\u0085|\u2028|\u2029")


class Normalise(Step):
    """Puts every text into the one spelling."""

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        return cls() if settings.config.normalise else None

    def apply(self, part: Part) -> None:
        for place, before in enumerate(part.texts):
            after = normalise(before)
            if after is not before and after != before:
                part.change(place, after)
                part.note("normalised", 1, [before])


class EmptyText(Step):
    """Drops documents without any character but white space."""

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        return cls()

    def apply(self, part: Part) -> None:
        part.drop(EMPTY, [not text or text.isspace() for text in part.texts])


def normalise(text: str) -> str:
    """`text` in the one spelling; the same object where nothing changes."""
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _DROPPED.sub("", _LINE_ENDS.sub("\n", text)) if _has_controls(text) else text


def _has_controls(text: str) -> bool:
    """Whether a character may have to go; several times faster than looking for each by one expression."""
    data = text.encode()
    if len(data.translate(None, _ASCII_CONTROLS)) != len(data):
        return True
    return not text.isascii() and (any(each in text for each in _OTHERS) or bool(_C1_CONTROLS.search(data)))
