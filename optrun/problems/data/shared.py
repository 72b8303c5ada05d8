"""Tables that one process has read, for others that it starts: a sweep reads a large file once."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.fallbacks import Fallback
from optrun.problems.data.cells import Cells
from optrun.problems.data.text import RawTable

SHARED_FROM = 1 << 20
"""From this size in bytes on it takes longer to read a file than to copy what was read."""

MOST_KEPT = 4
"""Number of tables that a process keeps to share."""

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
                    np.savez(file, **_arrays(table))
                paths[key] = f"/proc/{os.getpid()}/fd/{descriptors[-1]}"
        yield paths
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def attach(paths: Mapping[Key, str]) -> None:
    """Have this process take these tables from the one that has published them."""
    _attached.update(paths)


def attached(key: Key) -> RawTable | None:
    """Return a table that another process has published; None if none has, or it is gone."""
    if key not in _attached:
        return None
    with (
        Fallback("a table is read again", OSError, ValueError, KeyError),
        np.load(_attached[key], allow_pickle=False) as arrays,
    ):
        return _table(arrays)
    return None


_PLAIN = ("first", "first_line", "understood", "faults", "unit", "has_names")


def _arrays(table: RawTable) -> dict[str, Any]:
    plain = {name: getattr(table, name) for name in _PLAIN}
    plain["cells"] = [[cells.is_whole, cells.are_words, list(cells.texts)] for cells in table.cells]
    arrays: dict[str, Any] = {
        "plain": np.frombuffer(json.dumps(plain).encode(), np.uint8),
        "lines": table.lines,
    }
    for i, cells in enumerate(table.cells):
        if cells.numbers is not None:
            arrays[f"numbers {i}"] = cells.numbers
        elif cells.codes is not None:
            arrays[f"codes {i}"] = cells.codes
    return arrays


def _table(arrays: Mapping[str, Array]) -> RawTable:
    plain = json.loads(arrays["plain"].tobytes())
    cells = []
    for i, (is_whole, are_words, texts) in enumerate(plain.pop("cells")):
        numbers, codes = f"numbers {i}", f"codes {i}"
        if numbers in arrays:
            cells.append(Cells(numbers=arrays[numbers], is_whole=is_whole))
        else:
            cells.append(Cells(arrays[codes], texts, is_whole=is_whole, are_words=are_words))
    return RawTable(cells=cells, lines=arrays["lines"], **plain)
