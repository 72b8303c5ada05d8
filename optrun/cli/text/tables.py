"""Tables that fit the terminal: titles may be cut and values wrapped, but no value is cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from optrun.cli.text.console import GAP, table

LEAST_TITLE = 5
"""The least width of a cut title."""


@dataclass(frozen=True)
class Column:
    title: str
    cells: Sequence[str | Text]
    right: bool = False
    short: Sequence[str] = ()
    """The cells with fewer digits, for narrow terminals."""
    spare: bool = False
    """Whether to drop the column on narrow terminals."""

    @property
    def is_empty(self) -> bool:
        """Whether all cells are empty."""
        return not any(map(str, self.cells))

    @property
    def full_width(self) -> int:
        """The width with the whole title."""
        return max(cell_len(self.title), self.value_width)

    @property
    def value_width(self) -> int:
        """The width of the values and a cut title."""
        return self._width(str(cell) for cell in self.cells)

    @property
    def word_width(self) -> int:
        """The width of the longest word of the values and a cut title."""
        return self._width(word for cell in self.cells for word in str(cell).split())

    def _width(self, texts: Iterable[str]) -> int:
        return max(min(cell_len(self.title), LEAST_TITLE), *map(cell_len, texts), 0)


@dataclass(frozen=True)
class TableLayout:
    """Columns, and the least width of each."""

    columns: Sequence[Column]
    least: Sequence[int]

    def fits(self, total: int) -> bool:
        """Whether the least widths fit into ``total``."""
        return sum(self.least) + GAP * (len(self.least) - 1) <= total

    def table(self, total: int) -> Table:
        """Return a table as wide as its columns, at most ``total``."""
        made = table(*("" for _ in self.columns))
        made.show_header = any(each.title for each in self.columns)
        for column, width, shown in zip(self.columns, self._widths(total), made.columns, strict=True):
            title = Text(column.title)
            title.truncate(width, overflow="ellipsis")
            shown.header, shown.width = title, width
            shown.justify = "right" if column.right else "left"
            shown.no_wrap, shown.overflow = False, "fold"
        for row in zip(*(each.cells for each in self.columns), strict=True):
            made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
        return made

    def _widths(self, total: int) -> list[int]:
        """Return the width of each column; free space goes to values before titles, and to narrow columns first."""
        left = total - GAP * (len(self.columns) - 1) - sum(self.least)
        widths = list(self.least)
        for wanted in ([c.value_width for c in self.columns], [c.full_width for c in self.columns]):
            for width in range(max(wanted, default=0) + 1):
                for index, most in enumerate(wanted):
                    if left > 0 and widths[index] < min(width, most):
                        widths[index] += 1
                        left -= 1
        return widths
