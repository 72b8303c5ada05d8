"""The preparation of samples: what the training samples tell about it, applied to any others, and plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted, did_you_mean
from optrun.problems.data.cells import Decimal, is_number
from optrun.problems.data.columns import Kind, Table
from optrun.problems.data.dataset import listed
from optrun.problems.data.faults import places as places_of
from optrun.problems.data.faults import shortened
from optrun.problems.data.scaling import Scaling
from optrun.problems.data.treatments import Categories, Missing, Number, Treatment, treatment_from_json

VERSION = 1
"""Of the plain data; another one is refused."""

MOST_NUMBERS = 1 << 27
"""Largest number of features of all samples of a table, 1 GiB: a column may have a category for each row."""


@dataclass(frozen=True)
class Target:
    """What is predicted: one of several classes, or a real number."""

    name: str = ""
    """The column; empty if it has no name."""
    classes: tuple[int | str, ...] = ()
    """The classes, in the order of the outputs; empty for a real number."""
    scaling: Scaling | None = None
    """Of a real number; None if it is not scaled."""
    weights: tuple[float, ...] = ()
    """Those of the classes in the loss; empty if all have the same."""
    of: Kind = "numbers"
    """What the cells of other tables are read as."""

    def decoded(self, outputs: Array) -> Array:
        """Return predictions ``[...]`` in the words or units of the data: of class indices, or of scaled numbers."""
        if self.classes:
            return np.array(self.classes)[outputs]
        return outputs if self.scaling is None else self.scaling.invert(outputs)

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain data."""
        scaling = None if self.scaling is None else self.scaling.to_json()
        plain = {"name": self.name, "classes": list(self.classes), "scaling": scaling, "of": self.of}
        return plain | ({"weights": list(self.weights)} if self.weights else {})

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the target of what `to_json` has returned."""
        scaling = None if plain["scaling"] is None else Scaling.from_json(plain["scaling"])
        weights = tuple(plain.get("weights", ()))
        return cls(plain["name"], tuple(plain["classes"]), scaling, weights, plain.get("of", "numbers"))


@dataclass(frozen=True)
class Preparation:
    """Makes the features of a problem from samples, as its training samples were made: plain data, without any sample.

    Samples are rows of a table, whose columns are found by their names, or an array ``[N, *shape]``.
    """

    shape: tuple[int, ...]
    """The shape of the features of one sample."""
    columns: tuple[Treatment, ...] = ()
    """The columns that are used, in order, and how; empty for an array."""
    scaling: Scaling | None = None
    """Of the features; None if they are not scaled."""
    target: Target = Target()
    decimal: Decimal | None = None
    """The decimal sign of the numbers of a text table; None if no number shows it.

    Other tables have their own; this one is that of numbers that may have either.
    """
    has_thousands: bool = False
    """Whether the other sign separates thousands."""

    @classmethod
    def fit(
        cls,
        samples: Table | Array,
        train: Array,
        *,
        standardize: bool,
        missing: Missing = "error",
        categories: Sequence[str] = (),
        target: Target | None = None,
        decimal: Decimal | None = None,
        has_thousands: bool = False,
    ) -> Self:
        """Return the preparation that the rows ``train [n]`` of samples tell: the other rows have no influence.

        Columns of words, and the numeric ones among ``categories``, become one feature for each word. Raises
        ConfigError if a column has no value in training.
        """
        columns: tuple[Treatment, ...] = ()
        if isinstance(samples, Table):
            training = samples.take(train)
            if empty := [column.name for column in training if column.missing.all()]:
                raise ConfigError(
                    f"data: no training sample has a value of {', '.join(map(repr, empty))}: drop "
                    f"{'it' if len(empty) == 1 else 'them'}",
                    field="data",
                )
            columns = tuple(
                Number.fit(column, missing)
                if column.words is None and column.name not in categories
                else Categories.fit(column, missing)
                for column in training
            )
        made = cls((), columns)
        features = made._encoded(samples)
        scaling = Scaling.fit(features[train]) if standardize else None
        return cls(features.shape[1:], columns, scaling, target or Target(), decimal, has_thousands)

    @property
    def names(self) -> list[str]:
        """The names of the features; empty for an array."""
        return [name for treatment in self.columns for name in treatment.features]

    def features(self, samples: Table | Array) -> Array:
        """Return the features ``[N, *shape]`` of samples as float64.

        Raises ConfigError, which names all of them, if columns lack, have words in place of numbers or are infinite, or
        if cells are missing for which nothing stands.
        """
        if isinstance(samples, Table):
            samples = self._chosen(samples)
        elif self.columns or samples.shape[1:] != self.shape:
            expected = (
                f"the columns {', '.join(each.name for each in self.columns)}" if self.columns else self.shape
            )
            raise ConfigError(
                f"data: samples of shape {samples.shape[1:]}, where {expected} are expected", field="data"
            )
        elif not np.isfinite(samples).all():
            row, *place = np.argwhere(~np.isfinite(samples))[0].tolist()
            raise ConfigError(
                f"data: feature {', '.join(map(str, place))} of sample {row} is not finite", field="data"
            )
        features = self._encoded(samples)
        return features if self.scaling is None else self.scaling.apply(features)

    def unknown(self, samples: Table | Array) -> dict[str, int]:
        """Return by column how many cells have a word that no training sample had; such columns only."""
        return {each.name: int(rows.sum()) for each, rows in self._unknown(samples)}

    def unknown_words(self, samples: Table | Array) -> list[str]:
        """Return a note for each column with words that no training sample had."""
        notes = []
        for each, rows in self._unknown(samples):
            assert isinstance(samples, Table)
            column, count = samples[each.name].as_words(), int(rows.sum())
            word = (column.words or ())[column.values[rows.argmax()]]
            cells = f"all {counted(count, 'cell')}" if count == len(rows) > 1 else counted(count, "cell")
            known = f", in place of {listed([*map(repr, each.values)])}" if rows.all() else ""
            notes.append(
                f"{cells} of {each.name!r} {'has a word' if count == 1 else 'have words'} that no training sample "
                f"has, such as {shortened(word)!r}{known}: all features of the column are 0 there"
            )
        return notes

    def _unknown(self, samples: Table | Array) -> Iterator[tuple[Categories, Array]]:
        """Yield the columns of words with cells ``[N]`` that no training sample had."""
        if isinstance(samples, Table):
            for each in self.columns:
                if isinstance(each, Categories) and (rows := each.unknown(samples[each.name])).any():
                    yield each, rows

    def _chosen(self, table: Table) -> Table:
        """Return the columns that are used; ConfigError for all that is wrong with them."""
        known = set(table.names)
        others = known - {each.name for each in self.columns}
        wrong: list[str] = []
        for each in self.columns:
            if each.name not in known:
                wrong.append(
                    f"no column {each.name!r}.{did_you_mean(each.name, sorted(others))}".removesuffix(".")
                )
                continue
            column = table[each.name]
            if isinstance(each, Number) and column.words is not None:
                are_odd = np.array([not is_number(word) for word in column.words])
                places = np.flatnonzero(~column.missing & (are_odd | are_odd.all())[column.values])
                word = column.words[column.values[places[0]]]
                wrong.append(
                    f"{each.name!r} has {counted(len(places), 'word')} in place of numbers, such as "
                    f"{word!r} in {table.unit} {table.lines[places[0]]}"
                )
            elif isinstance(each, Number) and (rows := np.isinf(column.values)).any():
                wrong.append(f"{each.name!r} is not finite ({places_of(table, rows)})")
            elif each.needs_all and column.missing.any():
                wrong.append(
                    f"{each.name!r} lacks {counted(int(column.missing.sum()), 'value')} "
                    f"({places_of(table, column.missing)}), and none was filled in for training: leave out such rows, "
                    "or train with missing: median"
                )
        if wrong:
            raise ConfigError(f"data: {'; '.join(wrong)}", field="data")
        return Table(tuple(table[each.name] for each in self.columns), table.lines, table.unit)

    def complete(self, samples: Table | Array) -> Array:
        """Return whether each sample has all cells for which nothing stands, ``[N]``."""
        rows = np.ones(len(samples), bool)
        if isinstance(samples, Table):
            names = {each.name for each in self.columns if each.needs_all}
            for column in samples:
                if column.name in names:
                    rows &= ~column.missing
        return rows

    def _encoded(self, samples: Table | Array) -> Array:
        """Return the features ``[N, *shape]`` before they are scaled."""
        if not isinstance(samples, Table):
            return samples.astype(np.float64, copy=False)
        width = len(self.names)
        if self.columns and len(samples) * width > MOST_NUMBERS:
            widest = max(self.columns, key=lambda each: len(each.features))
            raise ConfigError(
                f"data: {len(samples):,} samples × {width:,} features are more than {MOST_NUMBERS:,} numbers: "
                f"{widest.name!r} alone becomes {len(widest.features):,} features: drop it",
                field="data",
            )
        parts = [part for each in self.columns for part in each.encoded(samples[each.name])]
        # Rows are contiguous: sums over the samples, as of the mean, depend on the memory order in their last bits.
        features = np.empty((len(samples), len(parts)))
        for i, part in enumerate(parts):
            features[:, i] = part
        return features

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, of which `from_json` makes the same one to the bit."""
        return {
            "version": VERSION,
            "shape": list(self.shape),
            "columns": [each.to_json() for each in self.columns],
            "scaling": None if self.scaling is None else self.scaling.to_json(),
            "target": self.target.to_json(),
            "decimal": self.decimal,
            "has_thousands": self.has_thousands,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the preparation of what `to_json` has returned; ConfigError for that of another version of optrun."""
        if plain.get("version") != VERSION:
            raise ConfigError(f"preparation: version {plain.get('version')!r} is unknown, {VERSION} is known")
        scaling = None if plain["scaling"] is None else Scaling.from_json(plain["scaling"])
        columns = tuple(map(treatment_from_json, plain["columns"]))
        target = Target.from_json(plain["target"])
        signs = plain.get("decimal"), plain.get("has_thousands", False)
        return cls(tuple(plain["shape"]), columns, scaling, target, *signs)
