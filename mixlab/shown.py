"""How results show themselves: a line, a page of text, a table in a notebook, a frame, and plain data.

A result says what it has to say once, as parts that `rich` prints: the command line prints them on a terminal,
`summary()` gives them as text.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType
    from rich.table import Table

SUMMARY_WIDTH = 100  # characters, where no width is asked for


class Shown(ABC):
    """A result that people look at."""

    @abstractmethod
    def parts(self) -> Iterator[RenderableType]:
        """What it says, in order: sentences and tables."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Its main table."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, as `--json` prints it."""

    @abstractmethod
    def __repr__(self) -> str:
        """One line."""

    @property
    def notes(self) -> Sequence[str]:
        """What has to be said beside it."""
        return ()

    def show(self, console: Console) -> None:
        """Print the parts; the notes are the caller's, who may have another place for them."""
        for part in self.parts():
            console.print(part, highlight=False)

    def summary(self, width: int = SUMMARY_WIDTH) -> str:
        """The parts and the notes as plain text of so many columns."""
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        console = Console(file=text, width=width, no_color=True, force_terminal=False, force_jupyter=False)
        self.show(console)
        for note in self.notes:
            console.print(f"note: {note}", highlight=False, markup=False)
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        import pandas as pd

        most = pd.get_option("display.max_rows")  # a long table is cut as a frame of pandas is
        table: str = self.to_frame().to_html(border=0, index=False, float_format="{:.4g}".format, max_rows=most)
        return f"<p>{html.escape(repr(self))}</p>{table}" + (f"<ul>{notes}</ul>" if notes else "")


def table(title: str | None, headings: Sequence[str], left: Sequence[str] = (), **options: Any) -> Table:
    """A table of `rich` in our style: headings on the left are words, the others numbers; the first is of words."""
    from rich.table import Table

    found = Table(title=title, title_justify="left", **options)
    for number, heading in enumerate(headings):
        found.add_column(heading, justify="left" if number == 0 or heading in left else "right")
    return found
