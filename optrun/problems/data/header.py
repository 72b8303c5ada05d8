"""Whether the first line of a table has the names of columns, and which columns number the rows."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.problems.data.cells import MISSING, is_number
from optrun.problems.data.columns import DataColumn
from optrun.problems.data.dataset import MANY, listed

_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)?)?\Z")
"""Name that pandas gives to an unnamed column."""
_WORD = re.compile(r"[^\W\d_]")


def has_header(file: str, first: Sequence[str], below: Sequence[DataColumn], target: int) -> bool:
    """Return whether the cells of the first line are names; ConfigError, which asks, if they may also be a sample."""
    numeric = [is_number(cell) for cell in first]
    if not any(numeric):
        # Words above the same words may be a sample: a column of words has no other name than its header.
        return not _is_asked(
            file, first, any(column.words and cell in column.words for cell, column in _pairs(first, below))
        )
    whole = all(cell.isdecimal() for cell, is_numeric in zip(first, numeric, strict=True) if is_numeric)
    if not all(numeric):
        # Words above numbers are column names, except words for missing values.
        words = any(
            _WORD.match(cell)
            and cell not in MISSING
            and cell.lower() not in ("na", "inf", "infinity")
            and _is_numeric(column)
            for cell, column in _pairs(first, below)
        )
        return whole and (words or (first[0] == "" and _is_numeric(below[0])))
    has_fractions = any(map(_is_mostly_fractions, below))
    has_names = bool(below[target].words) and not any(map(is_number, below[target].words or ()))
    counts = [*first] == [str(i) for i in range(len(first))]
    if counts and (has_fractions or has_names):
        return True
    return _is_asked(
        file, first, counts or (whole and (has_fractions or has_names or _is_unlike(first, below, target)))
    )


def names_of(first: Sequence[str]) -> list[str]:
    """Return a name for each column: its own, its number if it has none, or both if others are called so, too."""
    counts = Counter(first)
    return [
        f"column {i + 1}" if not name else f"{name} (column {i + 1})" if counts[name] > 1 else name
        for i, name in enumerate(first)
    ]


def _pairs(first: Sequence[str], below: Sequence[DataColumn]) -> Iterable[tuple[str, DataColumn]]:
    return zip(first, below, strict=True)


def _is_asked(file: str, first: Sequence[str], is_unclear: bool) -> bool:
    if is_unclear:
        raise ConfigError(
            f"header: {file!r}, line 1: are {listed(first)} the names of columns, or a sample? "
            "Set header: true or header: false",
            field="header",
        )
    return False


def _is_numeric(column: DataColumn) -> bool:
    return column.words is None and len(column) > 0


def _is_mostly_fractions(column: DataColumn) -> bool:
    if not _is_numeric(column) or column.values.dtype.kind == "i":
        return False
    return float(((column.values != np.floor(column.values)) & ~column.missing).mean()) > 0.5


def _is_unlike(first: Sequence[str], below: Sequence[DataColumn], target: int) -> bool:
    """Whether the first line increases and is far from the others, or has a class that no other line has."""
    if not all(_is_numeric(column) and not column.missing.any() for column in below):
        return False
    numbers = np.array([float(cell) for cell in first])
    classes = np.unique(below[target].values)
    if len(classes) <= MANY and len(classes) < len(below[target]) and numbers[target] not in classes:
        return True
    low = np.array([float(column.values.min()) for column in below])
    high = np.array([float(column.values.max()) for column in below])
    is_far = (numbers < 2 * low - high) | (numbers > 2 * high - low)
    return len(below[0]) > 2 and bool((np.diff(numbers) > 0).all() and is_far.all())


def row_numbers(
    names: Sequence[str], columns: Sequence[DataColumn], used: Sequence[int], index: bool | None
) -> tuple[list[int], list[str]]:
    """Return which of the used columns are no row index, and notes about those that are or may be one.

    ``names`` are those of the header, empty without one; ``index`` is False where a user keeps the index.
    """
    kept, notes = [], []
    for i in used:
        values = columns[i].values
        are_numbers = columns[i].words is None and not columns[i].missing.any() and len(values) > 2
        is_unnamed = bool(names) and bool(_UNNAMED.match(names[i]))
        numbers_rows = index is None and are_numbers and _are_row_numbers(values)
        # The unnamed first column of a pandas file is the index, even of a subset or in another order.
        is_first = index is None and is_unnamed and i == 0
        if is_unnamed and (numbers_rows or (is_first and are_numbers and _are_distinct_counts(values))):
            notes.append(
                f"column {i + 1} has no name and numbers the rows: it is left out, index: false keeps it"
            )
            continue
        if numbers_rows:
            name = repr(names[i]) if names and names[i] else f"column {i + 1}"
            notes.append(f"{name} numbers the rows" + (": index: true leaves it out" if i == 0 else ""))
        elif is_first:
            notes.append("column 1 has no name: index: true leaves it out")
        kept.append(i)
    return kept, notes


def _are_row_numbers(values: Array) -> bool:
    """Return whether values ``[N]`` are 0 … N - 1 or 1 … N in any order."""
    low = values.min()
    is_in_range = low in (0, 1) and values.max() == low + len(values) - 1
    return bool(is_in_range) and np.array_equal(np.sort(values), np.arange(low, low + len(values)))


def _are_distinct_counts(values: Array) -> bool:
    """Return whether values ``[N]`` are distinct integers ≥ 0."""
    are_counts = values.min() >= 0 and (values == np.floor(values)).all()
    return bool(are_counts) and len(np.unique(values)) == len(values)
