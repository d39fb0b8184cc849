"""Masks what leads to a person: e-mail addresses, public IP addresses, telephone numbers.

Telephone numbers are taken only in spellings that little else has: with a leading "+", or three, three and four digits
with dots, dashes or brackets.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.clean.step import Part, Step, StepSettings
from mixlab.corpus.clean.words import TextArrays

_EMAIL_HINT = re.compile(r"@[A-Za-z0-9-]+\.[A-Za-z]")
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])")
_IPV4_HINT = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|(?:\+?1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?![\w-]|\.\d)"
)


class MaskPii(Step):
    """Puts a token in the place of what leads to a person, in the documents that nothing has dropped."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = kinds

    @classmethod
    def of(cls, settings: StepSettings) -> Self | None:
        return cls(settings.config.pii) if settings.config.pii else None

    def apply(self, part: Part) -> None:
        worth = may_hold(part.arrays)
        for place, text in enumerate(part.texts):
            kinds = [kind for kind in self._kinds if worth[kind][place]]
            if kinds and not part.is_dropped(place):
                self._mask(part, place, text, kinds)

    def _mask(self, part: Part, place: int, text: str, kinds: Sequence[str]) -> None:
        counts: Counter[str] = Counter()
        masked = mask(text, kinds, counts)
        found = +counts
        for kind, count in found.items():
            at = max(masked.find(f"<{kind}>") - 60, 0)
            part.note(kind, count, [masked[at : at + 140]])
        if found:
            part.change(place, masked)


def may_hold(arrays: TextArrays) -> dict[str, NDArray[np.bool_]]:
    """By kind, the documents that a search is worth while in, shape (count,): all that hold one, and some others."""
    codes = arrays.codes
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    inner = np.concatenate([digit, np.zeros(8, dtype=bool)])
    size = len(codes)
    after = [inner[ahead : ahead + size] for ahead in range(8)]
    dotted = after[0] & np.append(codes[1:] == ord("."), False) & after[2]
    separator = (codes == ord("-")) | (codes == ord("."))
    tail = after[0] & after[1] & after[2] & np.append(separator[3:], [False] * 3) & after[4] & after[5] & after[6]
    plus = (codes == ord("+")) & after[1]

    def count(found: NDArray[np.bool_]) -> NDArray[np.float64]:
        return arrays.per_document(arrays.documents_at(np.flatnonzero(found)))

    colons = np.array(["::" in text or text.count(":") >= 7 for text in arrays.lowered], dtype=bool)
    return {
        "email": np.array(["@" in text for text in arrays.lowered], dtype=bool) | arrays.cut,
        "ip": (count(dotted) >= 3) | colons | arrays.cut,
        "phone": (count(tail) > 0) | (count(plus) > 0) | arrays.cut,
    }


def mask(text: str, kinds: Collection[str], counts: Counter[str]) -> str:
    """`text` with `<email>`, `<ip>` and `<phone>` in place of what is found; `counts` grows by kind."""
    for kind in kinds:
        text = _MASKS[kind](text, counts)
    return text


def _email(text: str, counts: Counter[str]) -> str:
    if not _EMAIL_HINT.search(text):
        return text
    text, found = _EMAIL.subn("<email>", text)
    counts["email"] += found
    return text


def _ip(text: str, counts: Counter[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        try:
            public = ipaddress.ip_address(match[0]).is_global
        except ValueError:
            return match[0]
        # Numbers of sections and versions have short parts; a public IPv6 address starts with four digits.
        longest = len(match[0].split(":")[0]) == 4 if ":" in match[0] else re.search(r"\d\d", match[0])
        if not public or not longest:
            return match[0]
        counts["ip"] += 1
        return "<ip>"

    if text.count(".") >= 3 and _IPV4_HINT.search(text):
        text = _IPV4.sub(replace, text)
    if "::" in text or text.count(":") >= 7:
        text = _IPV6.sub(replace, text)
    return text


def _phone(text: str, counts: Counter[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if not 8 <= sum(character.isdigit() for character in match[0]) <= 15:
            return match[0]
        counts["phone"] += 1
        return "<phone>"

    return _PHONE.sub(replace, text)


_MASKS: dict[str, Callable[[str, Counter[str]], str]] = {"email": _email, "ip": _ip, "phone": _phone}
