"""Samples of several files, each of which is a part of its own."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.problems.data.columns import DataColumn, Table
from optrun.problems.data.dataset import Dataset
from optrun.problems.data.layout import Layout


def layout_of_parts(train: Dataset, layout: Layout) -> Layout:
    """Return the layout of the files of other parts, given the training file, which decides what columns are used.

    They are found by their names, or by their numbers if it has no header.
    """
    table = train.samples
    if not isinstance(table, Table):
        return layout
    is_headed = train.header == "header"

    def column(name: str) -> str | int:
        number = re.fullmatch(r"column ([1-9]\d*)", name)
        return int(number[1]) - 1 if number else name

    categories = [each.name for each in table if each.words is not None or each.name in train.categories]
    if train.target_name in train.categories:
        categories.append(train.target_name)
    return Layout(
        column(train.target_name),
        is_headed,
        features=tuple(map(column, table.names)),
        categories=("auto", *map(column, categories)),
        missing=layout.missing,
        decimal=layout.decimal,
        usual=None if train.decimal is None else (train.decimal, train.has_thousands),
    )


def joined(train: Dataset, others: Mapping[str, Dataset]) -> Dataset:
    """Return the samples of the training file and those of the files of other parts, by the names of the parts.

    The others have been read by `layout_of_parts`. Raises ConfigError for all columns in which another file differs.
    """
    faults = [
        f"{other.shown!r}: {fault}" for other in others.values() for fault in _differences(train, other)
    ]
    if faults:
        raise ConfigError(f"split: {'; '.join(faults)}", field="split")
    everything = [train, *others.values()]
    sizes = [len(each.targets) for each in everything]
    return replace(
        train,
        samples=_samples(train.samples, [each.samples for each in others.values()]),
        targets=np.concatenate([each.targets for each in everything]),
        parts=np.repeat(["train", *others], sizes),
        split="files",
        notes=(*train.notes, *(f"{each.shown}: {note}" for each in others.values() for note in each.notes)),
    )


def _differences(train: Dataset, other: Dataset) -> Iterator[str]:
    if (train.targets.dtype.kind == "U") != (other.targets.dtype.kind == "U"):
        yield "its targets are words, or those for training are, and the others are numbers"
    if not isinstance(train.samples, Table) or not isinstance(other.samples, Table):
        shapes = [each.samples.shape[1:] for each in (train, other) if not isinstance(each.samples, Table)]
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            yield "its samples have another form than those for training"
        return
    for column in train.samples:
        is_number = column.words is None and column.name not in train.categories
        if is_number and (words := other.samples[column.name].words) is not None:
            yield f"column {column.name!r} has words, such as {words[0]!r}, where numbers are for training"


def _samples(train: Table | Array, others: list[Table | Array]) -> Table | Array:
    if not isinstance(train, Table):
        return np.concatenate([train, *(each for each in others if not isinstance(each, Table))])
    tables = [train, *(each for each in others if isinstance(each, Table))]
    columns = tuple(_column([table[column.name] for table in tables]) for column in train)
    return Table(columns, np.concatenate([table.lines for table in tables]), train.unit)


def _column(parts: list[DataColumn]) -> DataColumn:
    name = parts[0].name
    if all(part.words is None for part in parts):
        return DataColumn(name, np.concatenate([part.values for part in parts]), is_whole=parts[0].is_whole)
    parts = [part.as_words() for part in parts]
    words = sorted({word for part in parts for word in part.words or ()})
    place = {word: i for i, word in enumerate(words)}
    codes = [
        np.array([*(place[word] for word in part.words or ()), -1], np.int32)[part.values] for part in parts
    ]
    return DataColumn(name, np.concatenate(codes), tuple(words))
