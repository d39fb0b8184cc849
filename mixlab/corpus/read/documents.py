"""Documents: the text of a row, and the group that it belongs to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mixlab.corpus.read.readers import BadRowError, Record, no_field, records

ID_STEM = "id-stem"

# (text, group)
Document = tuple[str, str]


def documents(
    paths: Iterable[str],
    text_field: str = "text",
    group_field: str | None = None,
    base_dir: Path | str = ".",
    skipped: Counter[str] | None = None,
) -> Iterator[Document]:
    """Yield (text, group) of every document, in the order of `records`.

    Documents with equal `group` belong to one side of a split: the value of `group_field`, or with "id-stem" the `id`
    up to its last "-", or the SHA-256 of the document's own text.

    Raises:
        CorpusError: as `records` does, and where a row lacks the text or the group.
    """
    wanted = wanted_columns(text_field, group_field)
    for where, record in records(paths, base_dir, wanted, skipped):
        try:
            yield document(record, where, text_field, group_field)
        except BadRowError as error:
            if skipped is None:
                raise
            skipped[error.reason] += 1


def wanted_columns(text_field: str, group_field: str | None, *more: str | None) -> list[str]:
    """The columns that a domain's documents are made of, each once."""
    names = (text_field, "id" if group_field == ID_STEM else group_field, *more)
    return list(dict.fromkeys(name for name in names if name))


def document(record: Record, where: str, text_field: str, group_field: str | None) -> Document:
    """(text, group) of a record, as `documents` yields them; raises BadRowError."""
    if text_field not in record:
        raise no_field(where, text_field, record, "text_field")
    text = record[text_field]
    if not isinstance(text, str):
        raise BadRowError(
            f"{where}: field `{text_field}` must be text, but is {type(text).__name__}",
            "set text_field to the field that holds the text",
            "no text",
        )
    data = utf8(text, where)
    if group_field is None:
        return text, hashlib.sha256(data).hexdigest()
    name = "id" if group_field == ID_STEM else group_field
    if name not in record:
        raise no_field(where, name, record, "group_field")
    group = record[name]
    if isinstance(group, bool) or not isinstance(group, (str, int)):
        hint = "set group_field to a field that holds text or a number in every row"
        message = f"{where}: field `{name}` must be text or a whole number, but is {group!r:.60}"
        raise BadRowError(message, hint, "no group")
    key = str(group)
    utf8(key, where)
    # An id without "-" is its own stem.
    return text, key.rpartition("-")[0] or key if group_field == ID_STEM else key


def utf8(text: str, where: str) -> bytes:
    """`text` as UTF-8.

    Raises:
        BadRowError: on a lone surrogate, which JSON escapes can spell and UTF-8 cannot.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"{where}: a lone surrogate at character {error.start}"
        raise BadRowError(message, "remove the escape there, one of \\ud800 to \\udfff", "lone surrogate") from None
