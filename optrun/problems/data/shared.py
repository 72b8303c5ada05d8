"""Tables that one process has read, for others that it starts: a sweep reads a large file once."""

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.fallbacks import Fallback
from optrun.problems.data.cells import Cells
from optrun.problems.data.text import RawTable

SHARED_FROM = 1 << 20
"""From this size in bytes on it takes longer to read a file than to copy what was read."""

MOST_KEPT = 4
"""Number of tables that a process keeps to share."""

BLOCK = 64
"""Bytes to a multiple of which the arrays of a table begin."""

Key = tuple[str, int, int]
"""A file: its path, when it was changed, in nanoseconds, and its size."""

_read: dict[Key, RawTable] = {}
_attached: dict[Key, str] = {}


def keep(key: Key, table: RawTable) -> None:
    """Keep a table that this process has read, if it is large."""
    if key[2] >= SHARED_FROM:
        _read[key] = table
        for oldest in list(_read)[:-MOST_KEPT]:
            del _read[oldest]


@contextmanager
def published() -> Iterator[Mapping[Key, str]]:
    """Return paths under which other processes of this user find the tables that are kept, until the end.

    They are in memory, and gone with this process. Empty where the system cannot do that.
    """
    paths: dict[Key, str] = {}
    descriptors = []
    try:
        with Fallback("each process reads the tables itself", OSError, AttributeError):
            for key, table in _read.items():
                descriptors.append(os.memfd_create("optrun-table"))
                with os.fdopen(os.dup(descriptors[-1]), "wb") as file:
                    _write(file, table)
                paths[key] = f"/proc/{os.getpid()}/fd/{descriptors[-1]}"
        yield paths
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def attach(paths: Mapping[Key, str]) -> None:
    """Have this process take these tables from the one that has published them."""
    _attached.update(paths)


def attached(key: Key) -> RawTable | None:
    """Return a table that another process has published, in the same memory; None if none has, or it is gone."""
    if key not in _attached:
        return None
    with (
        Fallback("a table is read again", OSError, ValueError, KeyError),
        open(_attached[key], "rb") as file,
    ):
        return _table(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return None


_PLAIN = ("first", "first_line", "understood", "faults", "unit", "has_names", "decimal")


def _write(file: BinaryIO, table: RawTable) -> None:
    """Write a line of JSON, padded to whole blocks, and then each array of the table in blocks of its own."""
    arrays = [table.lines, *(_values(cells) for cells in table.cells)]
    plain = {name: getattr(table, name) for name in _PLAIN}
    plain["arrays"] = [[each.dtype.str, len(each)] for each in arrays]
    plain["cells"] = [
        [cells.numbers is not None, cells.is_whole, cells.are_words, list(cells.texts)]
        for cells in table.cells
    ]
    head = np.frombuffer(json.dumps(plain).encode() + b"\n", np.uint8)
    for each in (head, *arrays):
        file.write(np.ascontiguousarray(each).data)
        file.write(bytes(-each.nbytes % BLOCK))


def _values(cells: Cells) -> Array:
    values = cells.codes if cells.numbers is None else cells.numbers
    assert values is not None
    return values


def _table(content: mmap.mmap) -> RawTable:
    head = content.readline()
    plain, start = json.loads(head), len(head)
    arrays = []
    for dtype, count in plain.pop("arrays"):
        start += -start % BLOCK
        arrays.append(np.frombuffer(content, dtype, count, start))
        start += arrays[-1].nbytes
    lines, *columns = arrays
    cells = [
        Cells(numbers=values, is_whole=is_whole)
        if are_numbers
        else Cells(values, texts, is_whole=is_whole, are_words=are_words)
        for values, (are_numbers, is_whole, are_words, texts) in zip(columns, plain.pop("cells"), strict=True)
    ]
    return RawTable(cells=cells, lines=lines, **plain)
