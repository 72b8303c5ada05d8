"""Samples of several files, each of which is a part of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean
from optrun.problems.data.columns import DataColumn, Table
from optrun.problems.data.dataset import Dataset


def joined(train: Dataset, others: Mapping[str, Dataset]) -> Dataset:
    """Return the samples of the training file and those of the files of other parts, by the names of the parts.

    The training file decides which columns are used, and whether they are numbers. Raises ConfigError for all columns
    in which another file differs.
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
    if train.target_name != other.target_name:
        yield f"its target is {other.target_name!r}, not {train.target_name!r}"
    if not isinstance(train.samples, Table) or not isinstance(other.samples, Table):
        shapes = [each.samples.shape[1:] for each in (train, other) if not isinstance(each.samples, Table)]
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            yield "its samples have another form than those for training"
        return
    names = other.samples.names
    for column in train.samples:
        is_number = column.words is None and column.name not in train.categories
        if column.name not in names:
            yield f"no column {column.name!r}.{did_you_mean(column.name, names)}".removesuffix(".")
        elif is_number and (words := other.samples[column.name].words) is not None:
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
