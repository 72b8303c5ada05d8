"""Data sets of tables: which columns are features, which is the target, and what is wrong with them."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted
from optrun.problems.data.cells import Cells, Decimal
from optrun.problems.data.column_finder import ColumnFinder
from optrun.problems.data.columns import DataColumn, Table
from optrun.problems.data.dataset import Dataset, listed
from optrun.problems.data.decimal_signs import (
    mixed_signs,
    sign_of,
    signs_in_words,
    thousands_sign,
    usual_sign,
)
from optrun.problems.data.faults import (
    MOST_LINES,
    feature_faults,
    inexact,
    place_of,
    places,
    shortened,
    target_faults,
    words_of,
)
from optrun.problems.data.header import has_header, names_of, row_numbers
from optrun.problems.data.layout import Layout
from optrun.problems.data.parts import no_part, part_named
from optrun.problems.data.text import RawTable

AUTO = "auto"
"""Among the categories, all columns of words."""

MOST_FAULTS = 25
"""Largest number of faults that a message shows."""


def read_table(name: str, path: Path, raw: RawTable, layout: Layout) -> Dataset:
    """Return the data set in a table; ConfigError, which says all that is wrong with it and how to mend it."""
    return _Reading(path, raw, layout).dataset(name)


class _Reading:
    """A table that is being understood."""

    def __init__(self, path: Path, raw: RawTable, layout: Layout) -> None:
        self.path, self.layout, self.first = path, layout, raw.first
        self.faults = list(raw.faults)
        width = len(self.first)
        self.finder = ColumnFinder(path.name, raw.first, raw.has_names, layout)
        split = None if layout.split is None else self.finder.index("split", layout.split)
        wanted = layout.target
        if wanted is None:
            wanted = -2 if split == width - 1 and width > 1 else -1
        target = self.finder.index("target", wanted)
        group = None if layout.group is None else self.finder.index("group", layout.group)
        for option, column in (("split", split), ("group", group)):
            if column == target:
                raise ConfigError(f"{option}: the column is the target", field=option)
        self.split, self.target, self.group = split, target, group
        self._usual = layout.usual or (usual_sign(raw.cells, raw.decimal), False)
        sign = self._sign_of(raw.cells)
        below = [each.column("", sign) for each in raw.cells]
        self.is_headed = self._is_headed(raw, below)
        lines, cells = raw.lines, raw.cells
        if not self.is_headed:
            lines = np.concatenate([[raw.first_line], lines])
            cells = [each.with_first(text) for each, text in zip(cells, self.first, strict=True)]
            sign = self._sign_of(cells)
            below = [each.column("", sign) for each in cells]
        self.sign, self.thousands = sign, thousands_sign(cells, sign)
        self.understood = [*raw.understood, *signs_in_words(sign, self.thousands)]
        self.own = list(self.first) if self.is_headed else [""] * width
        self.names, self.cells = names_of(self.own), cells
        self.first_line = f"line {raw.first_line}: " if raw.unit == "line" else ""
        columns = [
            DataColumn(name, each.values, each.words, each.is_whole)
            for name, each in zip(self.names, below, strict=True)
        ]
        self.faults += mixed_signs([self._label(i) for i, each in enumerate(cells) if each.has_points], sign)
        self.table = Table(tuple(columns), lines, raw.unit)

    def _sign_of(self, cells: Sequence[Cells]) -> Decimal | None:
        usual, has_thousands = self._usual
        shown, fault = sign_of(cells, usual, has_thousands=has_thousands)
        return self.layout.decimal or (None if fault else shown)

    def _is_headed(self, raw: RawTable, below: Sequence[DataColumn]) -> bool:
        layout = self.layout
        if raw.has_names or layout.header is not None:
            return raw.has_names or bool(layout.header)
        named = [layout.target, layout.split, layout.group, *(layout.features or ()), *(layout.drop or ())]
        if any(isinstance(each, str) for each in named):
            return True
        if self.split is not None and part_named(self.first[self.split]):
            return False
        return has_header(self.path.name, self.first, below, self.target)

    def _repeated(self, used: Collection[int]) -> Iterator[str]:
        """Yield a fault for each name that several of the columns have that are used."""
        places: dict[str, list[int]] = {}
        for i in sorted(used):
            places.setdefault(self.own[i], []).append(i)
        for name, several in places.items():
            if name and len(several) > 1:
                rest = ", ".join(map(str, several[1:]))
                yield (
                    f"{self.first_line}several columns are called {name!r}, those with the numbers "
                    f"{several[0]}, {rest}, counted from 0: leave out what is twice, such as by drop: [{rest}], or "
                    "give each a name of its own in the file"
                )

    def _matching(self, option: str, wanted: Sequence[str | int], among: Sequence[int]) -> list[int]:
        return self.finder.matching(option, wanted, names=self.names, own=self.own, among=among)

    def _label(self, i: int) -> str:
        return f"column {i + 1} {self.names[i]!r}" if self.own[i] else f"column {i + 1}"

    def dataset(self, name: str) -> Dataset:
        """Return the data set; ConfigError for all that is wrong with its lines and columns."""
        layout = self.layout
        others = [i for i in range(len(self.names)) if i not in (self.target, self.split, self.group)]
        used = [i for i in others if not (i == 0 and layout.index)]
        if layout.features is not None:
            used = self._matching("features", layout.features, others)
        elif layout.drop is not None:
            dropped = self._matching("drop", layout.drop, others)
            used = [i for i in used if i not in dropped]
        wanted = [each for each in layout.categories or () if each != AUTO or AUTO in self.names]
        chosen = self._matching("categories", wanted, [*used, self.target])
        categories = [self.names[i] for i in chosen]
        is_auto = layout.categories is None or len(wanted) < len(layout.categories)
        self._keep_codes([*chosen, *([] if self.group is None else [self.group])])
        columns = self.table.columns
        names = list(self.first) if self.is_headed else []
        kept, notes = row_numbers(names, columns, used, False if layout.features else layout.index)
        named = [self.target, *(each for each in (self.split, self.group) if each is not None)]
        self.faults = [*self._repeated({*kept, *named}), *self.faults]
        missing = layout.missing or "error"
        target = columns[self.target]
        absent = self.cells[self.target].words_for_missing(target.kind)
        if len(self.table):
            for i in kept:
                self.faults += feature_faults(
                    columns[i],
                    self._label(i),
                    self.table,
                    missing=missing,
                    absent=self.cells[i].words_for_missing(columns[i].kind),
                    categories=categories,
                    is_auto=is_auto,
                    decimal=self.sign,
                )
            is_category = target.name in categories
            self.faults += target_faults(
                target,
                self._label(self.target),
                self.table,
                missing=missing,
                absent=absent,
                is_category=is_category,
                decimal=self.sign,
            )
        parts = self._parts()
        groups = None if self.group is None else columns[self.group]
        if groups is not None and groups.missing.any():
            lacks = places(self.table, groups.missing)
            self.faults.append(f"{self._label(self.group or 0)}, the group, is missing in {lacks}")
        classes = [i for i in [*kept, self.target] if self.names[i] in categories]
        for i in dict.fromkeys([*classes, *([] if self.group is None else [self.group])]):
            self.faults += inexact(columns[i], self._label(i))
        if target.is_whole and target.name not in categories:
            self.faults += inexact(target, self._label(self.target))
        self._check()
        notes += self._lost_zeros([*kept, self.target], categories)
        said = f", such as {listed([*map(repr, absent)])}," if absent else ""
        rows, lacking = ~target.missing, {f"without a target{said}": int(target.missing.sum())}
        if missing == "drop" and kept:
            complete = ~np.any([columns[i].missing for i in kept], axis=0)
            lacking["with missing cells"] = int((rows & ~complete).sum())
            rows &= complete
        table = Table(tuple(columns[i] for i in kept), self.table.lines, self.table.unit)
        if not rows.all():
            table, target, parts = table.take(rows), target.take(rows), None if parts is None else parts[rows]
            notes = [
                *notes,
                *(
                    f"{counted(count, 'row')} {what} {'is' if count == 1 else 'are'} left out"
                    for what, count in lacking.items()
                    if count
                ),
            ]
        return Dataset(
            name,
            table,
            _targets(target.as_words() if target.name in categories else target),
            target=repr(target.name) if names and names[self.target] else target.name,
            target_name=target.name,
            header="header" if self.is_headed else "no header",
            understood=tuple(self.understood),
            parts=parts,
            groups=None if groups is None else groups.as_words().values[rows],
            split="" if self.split is None else self._split_name(),
            notes=tuple(notes),
            is_labelled=False,
            missing=missing,
            categories=tuple(categories),
            target_of=target.kind,
            decimal=self.sign,
            has_thousands=self.thousands in (",", "."),
        )

    def _keep_codes(self, chosen: Sequence[int]) -> None:
        """Read columns again so that 01 and 1 differ."""
        columns = list(self.table.columns)
        for i in chosen:
            columns[i] = self.cells[i].column(self.names[i], self.sign, keep_codes=True)
        self.table = Table(tuple(columns), self.table.lines, self.table.unit)

    def _lost_zeros(self, used: Sequence[int], categories: Sequence[str]) -> list[str]:
        """Return a note for each column of numbers that may be codes."""
        return [
            f"{name!r} is read as numbers, and {code!r} as {int(code)}: list it under categories if these are codes, "
            "whose zeros count"
            for i in used
            if (code := self.cells[i].code)
            and (name := self.names[i]) not in categories
            and self.table.columns[i].words is None
            and self.table.columns[i].is_whole
        ]

    def _split_name(self) -> str:
        assert self.split is not None
        return repr(self.names[self.split]) if self.is_headed else self.names[self.split]

    def _parts(self) -> Array | None:
        """Return the part of each row ``[N]``, None without a split column."""
        if self.split is None:
            return None
        column, label = self.table.columns[self.split].as_words(), self._label(self.split)
        wrong = [word for word in words_of(column)[0] if part_named(word) is None]
        for word in wrong[:MOST_LINES]:
            self.faults.append(f"{label}, {place_of(column, word, self.table)}: {no_part(shortened(word))}")
        if len(wrong) > MOST_LINES:
            self.faults.append(f"{label}: {len(wrong) - MOST_LINES:,} other words are no parts either")
        if column.missing.any():
            line = self.table.lines[column.missing][0]
            self.faults.append(f"{label}, {self.table.unit} {line}: {no_part('')}")
        found = np.array([part_named(word) or "" for word in [*(column.words or ()), ""]])
        return np.asarray(found[column.values])

    def _check(self) -> None:
        """Raise ConfigError for all faults."""
        if self.faults:
            count = len(self.faults)
            shown = self.faults if count <= MOST_FAULTS else self.faults[: MOST_FAULTS - 1]
            more = [f"… and {count - len(shown):,} others"] if len(shown) < count else []
            several = f"{count:,} faults:\n  " if count > 1 else ""
            read = f" ({', '.join(self.understood)})" if self.understood else ""
            said = f"data: {str(self.path)!r}{read}: {several}" + "\n  ".join([*shown, *more])
            raise ConfigError(said, field="data")


def _targets(column: DataColumn) -> Array:
    """Return the targets ``[N]``: integers, real numbers or words."""
    if column.words is not None:
        return np.array(column.words or ("",))[column.values]
    return column.values.astype(np.int64) if column.is_whole else column.values
