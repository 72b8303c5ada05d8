"""Samples for a model that has been trained: columns by name in any order, with or without the target."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted, did_you_mean
from optrun.problems.data.cells import Cells, Decimal, is_number
from optrun.problems.data.columns import DataColumn, Kind, Table, number_text
from optrun.problems.data.dataset import listed
from optrun.problems.data.decimal_signs import (
    mixed_signs,
    sign_of,
    signs_in_words,
    thousands_sign,
    usual_sign,
)
from optrun.problems.data.faults import shortened
from optrun.problems.data.files import read_arrays, read_raw
from optrun.problems.data.header import names_of
from optrun.problems.data.preparation import Preparation, Target
from optrun.problems.data.text import RawTable
from optrun.problems.data.treatments import Number
from optrun.registry import PathOrName

if TYPE_CHECKING:
    import pandas as pd

_NUMBERED = re.compile(r"column [1-9]\d*\Z")


@dataclass(frozen=True)
class NewSamples:
    """Samples as a preparation takes them, and their targets where there are any."""

    samples: Table | Array
    targets: DataColumn | Array | None = None
    """``[N]``"""
    ignored: Sequence[str] = ()
    """The columns that the model does not use."""
    understood: Sequence[str] = ()
    """What is unusual about the file, such as its separator."""

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: Array) -> "NewSamples":
        """Return some rows, given as indices or a mask."""
        samples = self.samples.take(rows) if isinstance(self.samples, Table) else self.samples[rows]
        targets = self.targets
        if targets is not None:
            targets = targets.take(rows) if isinstance(targets, DataColumn) else targets[rows]
        return replace(self, samples=samples, targets=targets)

    def place(self, row: int) -> str:
        """Return where a row is, such as ``line 3``."""
        if isinstance(self.samples, Table):
            return f"{self.samples.unit} {self.samples.lines[row]}"
        return f"sample {row}"


def read_samples(source: str, preparation: Preparation, decimal: Decimal | None = None) -> NewSamples:
    """Return the samples of a file or of a data set by name; ``decimal`` is as of `given_samples`.

    Raises ConfigError if they cannot be read, or are a table where the model was trained on none, or the reverse.
    """
    if not PathOrName.is_path(source) and not Path(source).exists():
        from optrun.problems.data import load

        dataset = load(source)
        return NewSamples(dataset.samples, dataset.targets)
    path = Path(source)
    if not path.exists():
        raise ConfigError(f"data: {source!r}: no such file", field="data")
    try:
        kinds = _kinds(preparation)
        raw = read_raw(path, [name for name, kind in kinds.items() if kind != "numbers"])
        if raw is None:
            values, targets = read_arrays(path)
            return replace(given_samples(values, preparation), targets=targets)
        if not preparation.columns:
            raise ConfigError(
                f"data: {source!r} is a table, and the model was trained on arrays of shape {preparation.shape}, whose "
                "columns have no names: give such an array, X of an NPZ file",
                field="data",
            )
    except OSError as error:
        raise ConfigError(
            f"data: {source!r} cannot be read: {error.strerror or error}", field="data"
        ) from None
    return _samples(raw, preparation, decimal, f"{source!r}: ")


def given_samples(
    values: "Array | pd.DataFrame | Any", preparation: Preparation, decimal: Decimal | None = None
) -> NewSamples:
    """Return samples that are given as an array ``[N, *shape]`` or as a data frame of pandas.

    The columns of an array are those of training, in their order, as those of a data frame are where the model was
    trained on an array. The decimal sign of numbers as texts is ``decimal``, or else the one that they show, or that of
    training. Raises ConfigError for anything else.
    """
    if preparation.columns and hasattr(values, "columns") and hasattr(values, "iloc"):
        return _samples(_of_frame(cast("pd.DataFrame", values)), preparation, decimal)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        or_frame = " or a data frame" if preparation.columns else ", as in training,"
        raise ConfigError(f"data: an array of numbers{or_frame} is expected, not {array.dtype}", field="data")
    array = array.astype(np.float64)
    columns = preparation.columns
    if not columns:
        return NewSamples(array)
    if not all(isinstance(each, Number) for each in columns):
        words = [each.name for each in columns if not isinstance(each, Number)]
        raise ConfigError(f"data: {listed(words)} are words: give a table, or a data frame", field="data")
    if array.shape[1:] != (len(columns),):
        names = listed([each.name for each in columns])
        raise ConfigError(
            f"data: samples of shape {array.shape[1:]}, where {counted(len(columns), 'column')} are expected: {names}",
            field="data",
        )
    table = tuple(DataColumn(each.name, array[:, i]) for i, each in enumerate(columns))
    return NewSamples(Table(table, np.arange(1, len(array) + 1), "row"))


def _kinds(preparation: Preparation) -> dict[str, Kind]:
    """Return by column what its cells are, as the training samples tell; the target is among the columns."""
    kinds: dict[str, Kind] = {preparation.target.name: preparation.target.of}
    return kinds | {
        each.name: "numbers" if isinstance(each, Number) else each.of for each in preparation.columns
    }


def _samples(
    raw: RawTable, preparation: Preparation, decimal: Decimal | None, source: str = ""
) -> NewSamples:
    """Return the samples of a table, read as those of training; ConfigError for what is wrong with it."""
    kinds = _kinds(preparation)
    used = [each.name for each in preparation.columns]
    # Columns are numbered where the training table had no header.
    is_headed = raw.has_names or not all(map(_NUMBERED.match, used))
    cells, lines = raw.cells, raw.lines
    if not is_headed:
        cells = [each.with_first(text) for each, text in zip(cells, raw.first, strict=True)]
        lines = np.concatenate([[raw.first_line], lines])
    first = raw.first if is_headed else [""] * len(raw.first)
    names, faults = names_of(first), list(raw.faults)
    if twice := [name for name in kinds if name and first.count(name) > 1]:
        faults.append(f"several columns are called {' and '.join(map(repr, twice))}")
    numbers = {name: each for name, each in zip(names, cells, strict=True) if kinds.get(name) == "numbers"}
    if decimal is not None:
        sign: Decimal | None = decimal
        faults += mixed_signs([repr(name) for name, each in numbers.items() if each.has_points], sign)
    else:
        usual = preparation.decimal or usual_sign(numbers.values(), raw.decimal)
        sign, fault = sign_of([*numbers.values()], usual, has_thousands=preparation.has_thousands)
        faults += [fault] if fault else []
    if faults:
        raise ConfigError(f"data: {source}{'; '.join(faults)}", field="data")
    columns = [
        each.read_as(kinds.get(name, "numbers"), name, sign) for name, each in zip(names, cells, strict=True)
    ]
    table = Table(tuple(columns), lines, raw.unit)
    target = preparation.target.name
    ignored = [name for name in names if name not in kinds]
    found = table[target] if target in names and target not in used else None
    understood = [*raw.understood, *signs_in_words(sign, thousands_sign(numbers.values(), sign))]
    return NewSamples(table, found, ignored, understood)


def _of_frame(frame: "pd.DataFrame") -> RawTable:
    cells = []
    for i in range(len(frame.columns)):
        series = frame.iloc[:, i]
        missing = series.isna().to_numpy(bool)
        if series.dtype.kind in "fiu":
            values = series.to_numpy(np.float64, na_value=np.nan) if missing.any() else series.to_numpy()
            cells.append(Cells(numbers=values, is_whole=True))  # in memory a number has no decimal sign
            continue
        words = ["" if gone else str(cell) for cell, gone in zip(series.tolist(), missing, strict=True)]
        places = {word: i for i, word in enumerate(dict.fromkeys(words))}
        cells.append(Cells(np.array([places[word] for word in words], np.int32), list(places)))
    names, lines = list(map(str, frame.columns)), np.arange(1, len(frame) + 1)
    return RawTable(names, 0, cells, lines, unit="row", has_names=True)


def known_targets(new: NewSamples, target: Target) -> tuple[Array, Array]:
    """Return the rows ``[n]`` that have a target, and their targets ``[n]``: class indices, or numbers.

    Raises ConfigError if there are no targets, or if some are none that the model knows.
    """
    found = new.targets
    if found is None:
        name = f" {target.name!r}" if target.name else ""
        hint = ""
        if isinstance(new.samples, Table):
            hint = did_you_mean(target.name, new.samples.names)
        raise ConfigError(
            f"data: there is no target{name} to compare with.{hint}".removesuffix("."), field="data"
        )
    column = found if isinstance(found, DataColumn) else _column_of(found, target)
    rows = np.flatnonzero(~column.missing)
    if not len(rows):
        raise ConfigError("data: no row has a target", field="data")
    column = column.take(rows)
    if not target.classes:
        if column.words is not None:
            odd = np.array([not is_number(word) for word in column.words])
            row = np.flatnonzero((odd | odd.all())[column.values])[0]
            word = shortened(column.words[column.values[row]])
            raise ConfigError(
                f"data: the target {word!r} in {new.place(rows[row])} is no number", field="data"
            )
        return rows, column.values.astype(np.float64)
    column = column.as_words()
    assert column.words is not None
    places = {_text(each): i for i, each in enumerate(target.classes)}
    occurring = [column.words[code] for code in np.unique(column.values)]
    if unknown := [word for word in occurring if word not in places]:
        known = listed([_text(each) for each in target.classes])
        row = np.flatnonzero(column.values == column.words.index(unknown[0]))[0]
        raise ConfigError(
            f"data: the model knows no class {listed([repr(shortened(word)) for word in unknown])} "
            f"({new.place(rows[row])}), only {known}",
            field="data",
        )
    return rows, np.array([places.get(word, -1) for word in column.words])[column.values]


def _column_of(targets: Array, target: Target) -> DataColumn:
    if targets.dtype.kind == "b" and target.of == "booleans":
        targets = targets.astype(str)
    if targets.dtype.kind != "U":
        return DataColumn("", targets)
    words, codes = np.unique(targets, return_inverse=True)
    return DataColumn("", codes.ravel().astype(np.int32), tuple(words.tolist()))


def _text(value: int | str) -> str:
    return value if isinstance(value, str) else number_text(value)
