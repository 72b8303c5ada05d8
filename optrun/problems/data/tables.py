"""Text tables: their separator, their header, and the columns in use."""

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted
from optrun.problems.data.dataset import MANY, Dataset, listed, name_text
from optrun.problems.data.parts import no_part, part_named

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

MOST_DIGITS = 18
"""An integer with more digits may exceed 64 bits, and is no class."""

_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)?)?\Z")
"""Name that pandas gives to an unnamed column."""
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+\Z")
_WORD = re.compile(r"[^\W\d_]")
_MISSING = {"na", "nan", "null", "none", "n/a", "inf", "infinity"}


@dataclass(frozen=True)
class Layout:
    """A config's description of a table; None is inferred."""

    target: str | int | None = None
    """Name or index of the target column, by default the last."""
    header: bool | None = None
    """Whether the first line has the column names."""
    index: bool | None = None
    """Whether the first column is a row index, and left out."""
    split: str | int | None = None
    """Name or index of the column, or name of the array, that says the part of each sample."""


def is_table(path: Path) -> bool:
    """Whether a file name is that of a text table."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(name: str, path: Path, content: bytes, layout: Layout) -> Dataset:
    """Return the data set in a table.

    The separator is a comma, semicolon or tab, the most frequent one outside of quotes in the first line, or blanks if
    there is none. Targets are names if none of them is a number. Raises ConfigError, which names every unusable column,
    and which asks about the header if the first line may be a header or a sample.
    """
    rows, separator = _rows(path, content)
    first_line, cells = next(rows, (0, []))
    if not cells:
        raise error_in(path, "no line to read")
    first = [cell.strip() for cell in cells]
    split = None if layout.split is None else _column("split", layout.split, path, first, layout)
    column = _target_column(path, first, layout, split)
    used = [i for i in range(len(first)) if i not in (column, split) and not (i == 0 and layout.index)]
    body = _Body(path, first, used, column, separator, split)
    for line, cells in rows:
        body.add(line, cells)
    body.is_headed = _is_header(path, first, body, layout)
    if not body.is_headed:
        body.put_first(first_line, first)
    features, labels = body.features(), body.targets()
    names = first if body.is_headed else []
    if repeated := [name for name in names if name and names.count(name) > 1]:
        raise error_in(path, f"two columns are called {repeated[0]!r}", first_line)
    kept, notes = _without_index(features, used, names, layout)
    return Dataset(
        name,
        features if len(kept) == len(used) else features[:, kept],
        labels,
        columns=tuple(names[used[i]] for i in kept) if names else (),
        target=repr(names[column]) if names else f"column {column + 1}",
        target_name=names[column] if names else f"column {column + 1}",
        header="header" if names else "no header",
        parts=body.parts(),
        split="" if split is None else repr(names[split]) if names else f"column {split + 1}",
        notes=tuple(notes),
        is_labelled=False,
    )


def _rows(path: Path, content: bytes) -> tuple[Iterator[tuple[int, list[str]]], str]:
    """Return the rows with their line numbers, and the separator."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise error_in(path, f"not UTF-8 text at byte {error.start}") from None
    # A StringIO would need four bytes per character.
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    head: list[str] = []
    for line in text:
        head.append(line)
        if line.strip():
            break
    bare = re.sub(r'"[^"]*"', "", head[-1]).strip() if head else ""
    separator = max(",;\t", key=bare.count)
    if separator not in bare and " " in bare:
        separator = " "
    return _parsed(path, chain(head, text), separator), separator


def _parsed(path: Path, lines: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    if separator == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator == " ")
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise error_in(path, str(error), reader.line_num) from None


def _target_column(path: Path, first: Sequence[str], layout: Layout, split: int | None) -> int:
    """Return the target column, by default the last one but the split."""
    last = -2 if split == len(first) - 1 else -1
    wanted = last if layout.target is None else layout.target
    column = _column("target", wanted, path, first, layout)
    if column == split:
        raise ConfigError("split: the column is the target", field="split")
    return column


def _column(option: str, wanted: str | int, path: Path, first: Sequence[str], layout: Layout) -> int:
    """Return the column that an option names, by its name or index."""
    width = len(first)
    if isinstance(wanted, str):
        names = [] if layout.header is False or all(map(is_number, first)) else list(first)
        if names.count(wanted) != 1:
            known = (
                f"its columns are {', '.join(map(name_text, names))}"
                if names
                else "it has no header; give an index"
            )
            raise ConfigError(
                f"{option}: no single column {wanted!r} in {path.name!r}: {known}", field=option
            )
        return names.index(wanted)
    if not -width <= wanted < width:
        raise ConfigError(
            f"{option}: {path.name!r} has {counted(width, 'column')}, so none has the index {wanted}",
            field=option,
        )
    if wanted % width == 0 and layout.index:
        raise ConfigError(f"index: the first column is the {option}", field="index")
    return wanted % width


class _Body:
    """The lines after the first one, as numbers."""

    def __init__(
        self,
        path: Path,
        first: Sequence[str],
        used: Sequence[int],
        column: int,
        separator: str,
        split: int | None,
    ) -> None:
        self._path = path
        self._first = first
        self._used = used
        self._column = column
        self._separator = separator
        self._split = split
        self._parts: list[str] = []
        self._no_part: tuple[int, str] | None = None
        self._numbers = array("d")
        self._labels: list[str] = []
        self._same: dict[str, str] = {}  # classes repeat, so equal labels share one string
        self._lines = array("q")
        self._bad: dict[int, tuple[int, str]] = {}
        self.is_headed = True

    def add(self, line: int, cells: Sequence[str]) -> None:
        """Add a row; ConfigError if it has another number of cells."""
        if len(cells) != len(self._first):
            raise error_in(
                self._path,
                f"{counted(len(cells), 'cell')}, where the first line has {len(self._first)}",
                line,
            )
        self._lines.append(line)
        label = cells[self._column].strip()
        self._labels.append(self._same.setdefault(label, label))
        self._numbers.extend(self._row(line, cells))
        if self._split is not None:
            word = cells[self._split]
            part = part_named(word)
            if part is None:
                self._no_part = self._no_part or (line, word)
            self._parts.append(part or "")

    def put_first(self, line: int, cells: Sequence[str]) -> None:
        """Insert a row before all others: the first line, if it is a sample."""
        numbers, lines, labels = self._numbers, self._lines, self._labels
        self._numbers, self._lines, self._labels = array("d"), array("q"), []
        parts, self._parts = self._parts, []
        bad, self._bad = self._bad, {}
        no_part, self._no_part = self._no_part, None
        self.add(line, cells)
        self._parts += parts
        self._no_part = self._no_part or no_part
        self._bad |= {column: where for column, where in bad.items() if column not in self._bad}
        self._numbers.extend(numbers)
        self._lines.extend(lines)
        self._labels += labels

    def _row(self, line: int, cells: Sequence[str]) -> list[float]:
        row = []
        for column in self._used:
            cell = cells[column]
            try:
                number = float(cell)
            except ValueError:
                number = math.nan
            if not math.isfinite(number) or "_" in cell:  # Python's own digit separator
                self._bad.setdefault(column, (line, cell))
            row.append(number)
        return row

    def matrix(self) -> Array:
        """Return the features ``[N, d]`` so far, without checks."""
        return np.frombuffer(self._numbers, np.float64).reshape(len(self._labels), len(self._used))

    def heads_numbers(self, column: int) -> bool:
        """Whether all cells of a column, except in the first line, are numbers."""
        if column == self._column:
            return bool(self._labels) and all(map(is_number, self._same))
        return column in self._used and column not in self._bad and bool(self._labels)

    def has_fractions(self) -> bool:
        """Whether a column consists mostly of fractions."""
        with np.errstate(invalid="ignore"):
            matrix = self.matrix()
            return bool(
                ((matrix != np.floor(matrix)) & np.isfinite(matrix)).mean(axis=0).max(initial=0) > 0.5
            )

    def is_unlike_first(self) -> bool:
        """Whether the first line increases and is far from the others, or has a class that no other line has."""
        if self._bad or not self.heads_numbers(self._column):
            return False
        below = np.array([float(label) for label in self._same])
        first = np.array([float(self._first[column]) for column in (*self._used, self._column)])
        if not (np.isfinite(below).all() and np.isfinite(first).all()):
            return False
        if len(below) <= MANY and len(below) < len(self._labels) and first[-1] not in below:
            return True
        matrix = self.matrix()
        low, high = np.append(matrix.min(axis=0), below.min()), np.append(matrix.max(axis=0), below.max())
        is_far = (first < 2 * low - high) | (first > 2 * high - low)
        return len(matrix) > 2 and bool((np.diff(first) > 0).all() and is_far.all())

    def has_names(self) -> bool:
        """Whether no target is a number."""
        return bool(self._labels) and not any(map(is_number, self._same))

    def features(self) -> Array:
        """Return the features ``[N, d]``; ConfigError, which names all unusable columns, if there are any."""
        if not self._bad:
            return self.matrix()
        bad = sorted(self._bad.items())
        column, (line, cell) = bad[0]
        if len(bad) == 1:
            raise error_in(self._path, f"{self._named(column)}: {_reason(cell, self._separator)}", line)
        columns = listed([f"{self._named(each)} ({found[1]!r}, line {found[0]})" for each, found in bad])
        remedy = _reason(cell, self._separator).partition("; ")[2]
        raise error_in(self._path, f"{len(bad)} columns have cells that are not numbers: {columns}; {remedy}")

    def targets(self) -> Array:
        """Return the targets ``[N]``: integers, real numbers or names."""
        labels, column = self._labels, self._named(self._column)
        numeric = {label: is_number(label) for label in self._same}
        if not any(numeric.values()):
            if "" in numeric:
                raise error_in(self._path, f"{column}: an empty target", self._lines[labels.index("")])
            return np.array(labels)
        if not all(numeric.values()):
            odd = next(i for i, label in enumerate(labels) if not numeric[label])
            raise error_in(
                self._path,
                f"{column}: {labels[odd]!r} is not a number, as other targets are",
                self._lines[odd],
            )
        whole = {label.lstrip("+-") for label in numeric}
        if all(label.isdecimal() and len(label) <= MOST_DIGITS for label in whole):
            return np.array([int(label) for label in labels], np.int64)
        values = np.array([float(label) for label in labels])
        if len(wrong := np.flatnonzero(~np.isfinite(values))):
            label = labels[wrong[0]]
            raise error_in(
                self._path, f"{column}: {_shortened(label)} is not finite", self._lines[int(wrong[0])]
            )
        return values

    def parts(self) -> Array | None:
        """Return the part of each sample ``[N]``, None without a split column; ConfigError for a word that is none."""
        if self._split is None:
            return None
        if self._no_part is not None:
            line, word = self._no_part
            raise error_in(self._path, f"{self._named(self._split)}: {no_part(_shortened(word))}", line)
        return np.array(self._parts)

    def _named(self, column: int) -> str:
        name = repr(self._first[column]) if self.is_headed and self._first[column] else ""
        return f"column {column + 1} {name}".rstrip()


def _is_header(path: Path, first: Sequence[str], body: _Body, layout: Layout) -> bool:
    """Return whether the first line is a header; ConfigError, which asks, if it may also be a sample."""
    if layout.header is not None:
        return layout.header
    if isinstance(layout.target, str) or isinstance(layout.split, str):
        return True
    if layout.split is not None and part_named(first[layout.split]):
        return False
    numeric = [is_number(cell) for cell in first]
    if not any(numeric):
        return True
    whole = all(cell.isdecimal() for cell, is_numeric in zip(first, numeric, strict=True) if is_numeric)
    if not all(numeric):
        # Words above numbers are column names, except words for missing values.
        words = any(
            _WORD.match(cell) and cell.lower() not in _MISSING and body.heads_numbers(i)
            for i, cell in enumerate(first)
        )
        return whole and (words or (first[0] == "" and body.heads_numbers(0)))
    counts = [*first] == [str(i) for i in range(len(first))]
    if counts and (body.has_fractions() or body.has_names()):
        return True
    if counts or (whole and (body.has_fractions() or body.has_names() or body.is_unlike_first())):
        raise ConfigError(
            f"header: {path.name!r}, line 1: are {listed(first)} the names of columns, or a sample? "
            "Set header: true or header: false",
            field="header",
        )
    return False


def _without_index(
    features: Array, used: Sequence[int], names: Sequence[str], layout: Layout
) -> tuple[list[int], list[str]]:
    """Return the positions of the features that are no row index, and notes about those that are or may be one."""
    kept, notes = [], []
    for i, column in enumerate(used):
        is_unnamed = bool(names) and bool(_UNNAMED.match(names[column]))
        numbers_rows = layout.index is None and len(features) > 2 and _are_row_numbers(features[:, i])
        # The unnamed first column of a pandas file is the index, even of a subset or in another order.
        is_first = layout.index is None and is_unnamed and column == 0
        if is_unnamed and (numbers_rows or (is_first and _are_distinct_counts(features[:, i]))):
            notes.append(
                f"column {column + 1} has no name and numbers the rows: it is left out, index: false keeps it"
            )
            continue
        if numbers_rows:
            name = repr(names[column]) if names and names[column] else f"column {column + 1}"
            notes.append(f"{name} numbers the rows" + (": index: true leaves it out" if column == 0 else ""))
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
    return bool(are_counts) and len(np.unique(values)) == len(values) > 2


def is_number(cell: str) -> bool:
    """Whether a cell is a number in Python's syntax, without digit separators."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _reason(cell: str, separator: str) -> str:
    """Return why a cell is no finite number, and after a semicolon the remedy."""
    if is_number(cell):
        return f"{_shortened(cell.strip())} is not finite; prepare with pandas: fill or drop such rows"
    said = f"{_shortened(cell.strip())!r} is not a number; "
    if separator != "," and _DECIMAL_COMMA.match(cell.strip()):
        return f"{said}decimal commas become points with pandas: read_csv(…, sep={separator!r}, decimal=',')"
    return (
        f"{said}prepare with pandas: drop the column, fill in what is missing or encode categories as numbers"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def error_in(path: Path, message: str, line: int | None = None) -> ConfigError:
    """Return the error for a file, or for a line of it."""
    where = f"{str(path)!r}, line {line}" if line else repr(str(path))
    return ConfigError(f"data: {where}: {message}", field="data")
