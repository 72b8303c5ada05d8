"""Tables that fit the terminal without cutting a value: titles are cut, and values folded, where it is narrow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from optrun.cli.text.console import GAP, table

LEAST_TITLE = 5
"""The columns that are left of a title where it has to be cut."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    cells: Sequence[str | Text]
    right: bool = False
    short: Sequence[str] = ()
    """The same in fewer digits, for narrow terminals."""
    spare: bool = False
    """Whether it goes where there is no room for all."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not any(map(str, self.cells))

    @property
    def whole(self) -> int:
        """How wide it is with its title."""
        return max(cell_len(self.title), self.values)

    @property
    def values(self) -> int:
        """How wide its values are, and what is left of its title."""
        return self._width(str(cell) for cell in self.cells)

    @property
    def words(self) -> int:
        """How wide the longest word of its values is, and what is left of its title."""
        return self._width(word for cell in self.cells for word in str(cell).split())

    def _width(self, texts: Iterable[str]) -> int:
        return max(min(cell_len(self.title), LEAST_TITLE), *map(cell_len, texts), 0)


@dataclass(frozen=True)
class Way:
    """Columns, and how wide each is to be at least."""

    columns: Sequence[Column]
    least: Sequence[int]

    def fits(self, room: int) -> bool:
        """Whether there is room for it."""
        return sum(self.least) + GAP * (len(self.least) - 1) <= room

    def table(self, room: int) -> Table:
        """Return a table that is as wide as its columns, or as the room is."""
        made = table(*("" for _ in self.columns))
        made.show_header = any(each.title for each in self.columns)
        for column, width, shown in zip(self.columns, self._widths(room), made.columns, strict=True):
            title = Text(column.title)
            title.truncate(width, overflow="ellipsis")
            shown.header, shown.width = title, width
            shown.justify = "right" if column.right else "left"
            shown.no_wrap, shown.overflow = False, "fold"
        for row in zip(*(each.cells for each in self.columns), strict=True):
            made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
        return made

    def _widths(self, room: int) -> list[int]:
        """Return how wide each column is: values have what there is before titles do, and narrow ones before wide."""
        left = room - GAP * (len(self.columns) - 1) - sum(self.least)
        widths = list(self.least)
        for wanted in ([each.values for each in self.columns], [each.whole for each in self.columns]):
            for width in range(max(wanted, default=0) + 1):
                for index, most in enumerate(wanted):
                    if left > 0 and widths[index] < min(width, most):
                        widths[index] += 1
                        left -= 1
        return widths
