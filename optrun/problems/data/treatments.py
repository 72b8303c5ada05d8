"""How a column becomes features: a number with a value for missing cells, or one feature for each category."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from optrun.arrays import Array
from optrun.problems.data.columns import DataColumn, Kind

Missing = Literal["error", "drop", "median", "mode", "indicator"]
"""What is done about missing cells: an error, without such rows, filled in, or filled in and marked."""


class _FillsIn:
    """What both treatments say of missing cells."""

    name: str
    fill: float | str | None
    indicator: bool

    @property
    def needs_all(self) -> bool:
        """Whether nothing stands for a missing cell."""
        return self.fill is None and not self.indicator

    @property
    def indicated(self) -> list[str]:
        """The name of the feature that says what is missing, if there is one."""
        return [f"{self.name} is missing"] if self.indicator else []


@dataclass(frozen=True)
class Number(_FillsIn):
    """A column of numbers as one feature."""

    name: str
    fill: float | None = None
    """What stands for a missing cell; None if there must be none."""
    indicator: bool = False
    """Whether a second feature says whether the cell was missing; only if some were in training."""

    @classmethod
    def fit(cls, column: DataColumn, missing: Missing) -> "Number":
        """Return the treatment given the training rows, at least one of which must have a number."""
        if missing in ("error", "drop"):
            return cls(column.name)
        present = column.values[~column.missing]
        if missing == "mode":
            distinct, counts = np.unique(present, return_counts=True)
            return cls(column.name, float(distinct[counts.argmax()]))
        is_indicated = missing == "indicator" and bool(column.missing.any())
        with np.errstate(over="ignore"):
            median = float(np.median(present))
        if math.isinf(median):  # the sum of the two in the middle overflows; that of their halves does not
            median = 2 * float(np.median(present / 2))
        return cls(column.name, median, is_indicated)

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return [self.name, *self.indicated]

    def encoded(self, column: DataColumn) -> list[Array]:
        """Return the features, each ``[N]``."""
        values = column.values.astype(np.float64, copy=False)
        if self.fill is not None:
            values = np.where(column.missing, self.fill, values)
        return [values, column.missing.astype(np.float64)] if self.indicator else [values]

    def to_json(self) -> dict[str, Any]:
        """Return the treatment as plain data."""
        return {"kind": "number", **asdict(self)}


@dataclass(frozen=True)
class Categories(_FillsIn):
    """A column of words as one feature for each: 1 where the cell has that word, else 0.

    A word that no training row has is 0 everywhere.
    """

    name: str
    values: tuple[str, ...]
    """The words of the training rows, sorted."""
    fill: str | None = None
    """The word that stands for a missing cell; None if there must be none, or it is 0 everywhere."""
    indicator: bool = False
    """Whether a last feature says whether the cell was missing."""
    of: Kind = "words"
    """What the cells of other tables are read as."""

    @classmethod
    def fit(cls, column: DataColumn, missing: Missing) -> "Categories":
        """Return the treatment given the training rows, at least one of which must have a word."""
        kind, column = column.kind, column.as_words()
        assert column.words is not None
        counts = np.bincount(column.values[column.values >= 0], minlength=len(column.words))
        values = tuple(word for word, count in zip(column.words, counts, strict=True) if count)
        is_indicated = missing == "indicator" and bool(column.missing.any())
        is_filled = missing not in ("error", "drop") and not is_indicated
        return cls(
            column.name, values, column.words[int(counts.argmax())] if is_filled else None, is_indicated, kind
        )

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return [*(f"{self.name}={value}" for value in self.values), *self.indicated]

    def encoded(self, column: DataColumn) -> list[Array]:
        """Return the features, each ``[N]``."""
        place = self._places(column)
        return [(place == i).astype(np.float64) for i in range(len(self.features))]

    def unknown(self, column: DataColumn) -> Array:
        """Return whether each cell has a word that no training row had, ``[N]``."""
        return np.asarray(self._places(column) == _UNKNOWN)

    def _places(self, column: DataColumn) -> Array:
        column = column.as_words()
        assert column.words is not None
        of_word = {value: i for i, value in enumerate(self.values)}
        places = [of_word.get(word, _UNKNOWN) for word in column.words]
        if self.indicator:
            places.append(len(self.values))
        else:
            places.append(_NOTHING if self.fill is None else of_word[self.fill])
        return np.array(places)[column.values]  # the code -1 of a missing cell is the last place

    def to_json(self) -> dict[str, Any]:
        """Return the treatment as plain data."""
        return {"kind": "categories", **asdict(self), "values": list(self.values)}


_UNKNOWN, _NOTHING = -1, -2

Treatment = Number | Categories


def treatment_from_json(plain: Mapping[str, Any]) -> Treatment:
    """Return the treatment of what its `to_json` has returned."""
    given = {name: value for name, value in plain.items() if name != "kind"}
    if plain["kind"] == "categories":
        return Categories(**given | {"values": tuple(given["values"])})
    return Number(**given)
