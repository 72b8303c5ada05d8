"""The rows of a results file, each with its checksum.

A row begins with a CRC-32 of its other cells, so that damage which SQLite cannot see is noticed when it is read.
"""

import operator
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optrun.errors import StoreError
from optrun.store.schema import FORMAT_VERSION, Row, made

_ORDERS = {"curves": "run, kind, first_step, column_index", "blocks": "kind, first_run"}
_PLAIN: dict[type, Callable[[Any], Any]] = {int: operator.index, str: str, bytes: bytes}


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Write rows, each with its checksum; a row of the same primary key is replaced."""
    marks = ", ".join("?" * (1 + len(_types(table))))
    connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", checked(table, rows))


def _types(table: str) -> tuple[type, ...]:
    return made(FORMAT_VERSION)[1][table]


def checked(table: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows of a table, each with its checksum before it."""
    types = _types(table)
    for row in rows:
        cells = row
        if tuple(map(type, row)) != types:
            # SQLite would take a NumPy integer for a blob.
            cells = tuple(_PLAIN[kind](cell) for cell, kind in zip(row, types, strict=True))
        yield checksum(canonical_bytes(cells)), *cells


def select(
    connection: sqlite3.Connection, table: str, where: str = "true", values: tuple[Any, ...] = ()
) -> list[Row]:
    """Return rows in the order of their primary key; raises StoreError as `scan` does."""
    return list(scan(connection, table, where, values))


def scan(
    connection: sqlite3.Connection, table: str, where: str = "true", values: tuple[Any, ...] = ()
) -> Iterator[Row]:
    """Iterate over rows in the order of their primary key; no other process writes until it is through.

    Raises StoreError where a row is damaged or its cells are of another type.
    """
    order = _ORDERS.get(table, "rowid")
    types = _types(table)
    for crc, *cells in connection.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", values):
        if tuple(map(type, cells)) != types:
            raise StoreError(f"a row of the table {table} has cells of the wrong type")
        if crc != checksum(canonical_bytes(cells)):
            raise StoreError(f"a row of the table {table} is damaged: its checksum does not match")
        yield tuple(cells)


@contextmanager
def at_once(connection: sqlite3.Connection) -> Iterator[None]:
    """Read what there is at one moment: no other process writes meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def canonical_bytes(row: Sequence[Any]) -> list[bytes]:
    """Return a form of a row in which no two different rows of a table are alike."""
    *cells, last = row
    if isinstance(last, bytes):  # no other cell of a table is a blob
        return [canonical_text([*cells, len(last)]), last]
    return [canonical_text([*cells, last])]


def canonical_text(cells: list[Any]) -> bytes:
    """Return the canonical form of cells, with the length of a blob in its place."""
    return ascii(cells).encode()


def checksum(parts: Iterable[bytes | memoryview]) -> int:
    """Return the checksum of a row, given its canonical form."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc
