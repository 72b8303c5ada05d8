"""The settings of a sweep as columns, of which one is made when it is asked for."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import blocks
from optrun.store.blocks import Block, shared

SETTINGS = "settings"
"""The kind of their blocks, which are numbered by settings, and not by runs."""


MISSING = object()
"""Stands for the value of a parameter that a setting lacks."""


@dataclass(frozen=True)
class Values:
    """The values of a parameter: floats ``[n]``, or the places ``[n]`` of values in a list, by their text."""

    numbers: Array
    known: Sequence[Any] | None = None

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Values":
        """Return the column of plain values."""
        if all(type(value) is float for value in values):
            return cls(np.array(values, np.float64))
        places: dict[str, int] = {}
        known: list[Any] = []
        numbers: list[int] = []
        for value in values:
            text = repr(value)
            if text not in places:
                places[text] = len(known)
                known.append(value)
            numbers.append(places[text])
        return cls(np.array(numbers, np.int64), known)

    def __getitem__(self, place: int) -> Any:
        number = self.numbers[place]
        return float(number) if self.known is None else self.known[number]

    def listed(self) -> list[Any]:
        """Return all values."""
        known, numbers = self.known, self.numbers.tolist()
        return numbers if known is None else [known[number] for number in numbers]

    def distinct(self) -> list[Any]:
        """Return each value once, in the order in which they come."""
        numbers = self.numbers.view(np.int64) if self.known is None else self.numbers  # 0.0 and -0.0 are two
        _, first = np.unique(numbers, return_index=True)
        return [self[place] for place in np.sort(first)]


class SettingColumns(Sequence[Mapping[str, Any]]):
    """Settings, each a mapping of the values of swept parameters by their paths."""

    def __init__(self, paths: Sequence[Sequence[str]], codes: Array, columns: Mapping[str, Values]) -> None:
        self._paths, self._codes = paths, codes
        """Which paths there are, and which of these each setting has."""
        self._columns = columns
        """The values of each path; those of settings that lack it say nothing."""

    @classmethod
    def of(cls, settings: Iterable[Mapping[str, Any]]) -> "SettingColumns":
        """Return the columns of settings."""
        listed = list(settings)
        known: dict[tuple[str, ...], int] = {}
        codes = [known.setdefault(tuple(each), len(known)) for each in listed]
        paths = dict.fromkeys(path for each in known for path in each)
        columns = {path: Values.of([each.get(path, 0.0) for each in listed]) for path in paths}
        return cls([*known], np.array(codes, np.int64), columns)

    @property
    def paths(self) -> list[str]:
        """The paths of all, in the order in which they come."""
        numbers, first = np.unique(self._codes, return_index=True)
        return list(dict.fromkeys(path for code in numbers[np.argsort(first)] for path in self._paths[code]))

    @property
    def combinations(self) -> list[Sequence[str]]:
        """Which paths a setting has, each once."""
        return [self._paths[code] for code in np.flatnonzero(np.bincount(self._codes)).tolist()]

    def values(self, path: str) -> list[Any]:
        """Return the value of a parameter of each setting, MISSING where one lacks it."""
        own = [path in paths for paths in self._paths]
        listed = self._columns[path].listed()
        if all(own):
            return listed
        has = np.array(own)[self._codes].tolist()
        return [value if its else MISSING for value, its in zip(listed, has, strict=True)]

    def distinct(self, path: str) -> list[Any]:
        """Return each value of a parameter once, in the order in which they come."""
        values = self._columns[path]
        own = np.array([path in paths for paths in self._paths])[self._codes]
        return Values(values.numbers[own], values.known).distinct()

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "SettingColumns": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Any] | SettingColumns":
        if isinstance(index, slice):
            columns = {path: Values(of.numbers[index], of.known) for path, of in self._columns.items()}
            return SettingColumns(self._paths, self._codes[index], columns)
        return {path: self._columns[path][index] for path in self._paths[self._codes[index]]}

    def __len__(self) -> int:
        return len(self._codes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == its for one, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def write(self, db: sqlite3.Connection, first: int = 0) -> None:
        """Write them as blocks, from the setting of a number on; StoreError where a value cannot be stored."""
        for begin in range(0, len(self), blocks.MOST_RUNS):
            own = self[begin : begin + blocks.MOST_RUNS]
            numbers = range(first + begin, first + begin + len(own))
            known, arrays = [], {"paths": shared(own._codes)}
            for i, (path, values) in enumerate(own._columns.items()):
                used = values.numbers
                told: list[Any] | None = None
                if values.known is not None:
                    places, used = np.unique(used, return_inverse=True)
                    told = [values.known[place] for place in places]
                known.append([path, told])
                arrays[f"values{i}"] = shared(used)
            meta = {"paths": [list(each) for each in self._paths], "known": known}
            blocks.write(db, SETTINGS, numbers, meta, arrays)

    @classmethod
    def read(cls, db: sqlite3.Connection, first: int, count: int) -> "SettingColumns":
        """Return so many settings from a number on; StoreError where they are damaged or lost."""
        where = "first_run >= ? AND last_run < ?"
        parts = [cls._of_block(block) for block in blocks.read(db, SETTINGS, where, first, first + count)]
        if sum(map(len, parts)) != count:
            raise StoreError("the plan of the sweep is damaged: settings are lost")
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: "Sequence[SettingColumns]") -> "SettingColumns":
        """Return the settings of several parts, one after the other."""
        kinds = {tuple(paths): None for part in parts for paths in part._paths}
        places = {paths: place for place, paths in enumerate(kinds)}
        codes = [
            np.array([places[tuple(each)] for each in part._paths], np.int64)[part._codes] for part in parts
        ]
        columns = {}
        for path in dict.fromkeys(path for paths in kinds for path in paths):
            own = [part._columns.get(path, Values(np.zeros(len(part)))) for part in parts]
            if all(each.known is None for each in own):
                columns[path] = Values(np.concatenate([each.numbers for each in own]))
            else:
                columns[path] = Values.of([each[place] for each in own for place in range(len(each.numbers))])
        return cls([*kinds], np.concatenate(codes), columns)

    @classmethod
    def _of_block(cls, block: Block) -> "SettingColumns":
        paths, known = block.lists("paths", "known")
        if not isinstance(block.runs, range) or not all(
            isinstance(each, list) and all(isinstance(path, str) for path in each) for each in paths
        ):
            raise block.fault("does not tell its parameters")
        columns = {}
        for i, each in enumerate(known):
            if not isinstance(each, list) or len(each) != 2 or not isinstance(each[0], str):
                raise block.fault("does not tell its parameters")
            path, told = each
            if told is None:
                columns[path] = Values(np.array(block.column(f"values{i}", "f"), np.float64))
            elif isinstance(told, list):
                columns[path] = Values(block.codes(f"values{i}", len(told)), told)
            else:
                raise block.fault("does not tell its parameters")
        if not all({*each} <= columns.keys() for each in paths):
            raise block.fault("lacks values of its parameters")
        return cls(paths, block.codes("paths", len(paths)), columns)
