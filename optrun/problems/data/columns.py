"""Raw columns of a table: numbers or words, as they were read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from optrun.arrays import Array

Kind = Literal["numbers", "booleans", "words"]
"""What the cells of a column are read as."""


@dataclass(frozen=True, eq=False)
class DataColumn:
    """A column of N cells: numbers, of which NaN is missing, or codes of words, of which -1 is missing."""

    name: str
    values: Array
    """``[N]``: float64 or int64 numbers, or int32 codes."""
    words: tuple[str, ...] | None = None
    """The words that the codes stand for, sorted; None for numbers."""
    is_whole: bool = False
    """Whether all numbers are written as whole ones, which may be classes."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def kind(self) -> Kind:
        """What the cells are: the words True and False alone are booleans."""
        if self.words is None:
            return "numbers"
        return "booleans" if {*self.words} <= {"True", "False"} else "words"

    @cached_property
    def missing(self) -> Array:
        """Whether each cell is missing, ``[N]``."""
        if self.words is not None:
            return np.asarray(self.values < 0)
        if self.values.dtype.kind == "f":
            return np.isnan(self.values)
        return np.zeros(len(self.values), bool)

    def take(self, rows: Array) -> "DataColumn":
        """Return some rows, given as indices or a mask."""
        return DataColumn(self.name, self.values[rows], self.words, self.is_whole)

    def as_words(self) -> "DataColumn":
        """Return numbers as words, whole ones without a point, so that 1 and 1.0 are the same word."""
        if self.words is not None:
            return self
        distinct, codes = np.unique(self.values, return_inverse=True)
        texts = ["" if number != number else number_text(number) for number in distinct.tolist()]
        order = {text: i for i, text in enumerate(sorted(text for text in texts if text))}
        place = np.array([order.get(text, -1) for text in texts], np.int32)
        return DataColumn(self.name, place[codes.ravel()], tuple(order))


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length; each has a name of its own, such as ``column 3`` where the file gives none."""

    columns: tuple[DataColumn, ...]
    lines: Array
    """The number of each row's line, for messages, ``[N]``."""
    unit: str = "line"
    """What a line is called: those of a binary file are rows."""

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[DataColumn]:
        return iter(self.columns)

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @cached_property
    def _named(self) -> dict[str, DataColumn]:
        return {column.name: column for column in reversed(self.columns)}

    def __getitem__(self, name: str) -> DataColumn:
        return self._named[name]

    def take(self, rows: Array) -> "Table":
        """Return some rows, given as indices or a mask."""
        return Table(tuple(column.take(rows) for column in self.columns), self.lines[rows], self.unit)

    def matrix(self) -> Array:
        """Return columns of numbers as float64 ``[N, d]``."""
        made = np.empty((len(self), len(self.columns)))
        for i, column in enumerate(self.columns):
            made[:, i] = column.values
        return made


def number_text(number: float) -> str:
    """Return the shortest text of a number, of a whole one without a point."""
    if isinstance(number, int):
        return str(number)
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e18 else repr(float(number))
