"""The tables of a results file, now and in older format versions.

The blob comes last in its row: SQLite then reads the cells before it without touching its pages.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

FORMAT_VERSION = 3
LAST_STEP = 1 << 53
"""Beyond it steps are no floats any more, and no run comes there."""

# The results proper: what two executions of one config must agree on to the last byte.
RESULT_TABLES = {
    "runs": "run INTEGER PRIMARY KEY, seed INTEGER NOT NULL, config TEXT NOT NULL",
    "states": """run INTEGER PRIMARY KEY, status TEXT NOT NULL, reason TEXT NOT NULL, steps INTEGER NOT NULL,
        summary TEXT NOT NULL""",
    # One row is one segment of one column of the curves or evaluations of a run, which `kind` tells apart.
    "curves": """run INTEGER NOT NULL, kind TEXT NOT NULL, first_step INTEGER NOT NULL,
        column_index INTEGER NOT NULL, last_step INTEGER NOT NULL, name TEXT NOT NULL, "values" BLOB NOT NULL,
        PRIMARY KEY (run, kind, first_step, column_index)""",
    "params": "run INTEGER PRIMARY KEY, arrays BLOB NOT NULL",
}
# What depends on how, when and where the runs were executed; and, among the events, the plan of a sweep and its
# decisions at rungs, which it goes on with.
OTHER_TABLES = {
    "checkpoints": "run INTEGER PRIMARY KEY, meta TEXT NOT NULL, arrays BLOB NOT NULL",
    "environments": "attempt INTEGER PRIMARY KEY, environment TEXT NOT NULL",
    "events": """event INTEGER PRIMARY KEY, time TEXT NOT NULL, attempt INTEGER NOT NULL, kind TEXT NOT NULL,
        run INTEGER NOT NULL, details TEXT NOT NULL""",
}
# What many runs of a sweep have of the results, as columns in one row: a run has rows of its own, or a place there.
BLOCKS = {
    "blocks": """kind TEXT NOT NULL, first_run INTEGER NOT NULL, last_run INTEGER NOT NULL, meta TEXT NOT NULL,
        arrays BLOB NOT NULL, PRIMARY KEY (kind, first_run)""",
}
TABLES = RESULT_TABLES | OTHER_TABLES | BLOCKS

Row = tuple[Any, ...]


@dataclass(frozen=True)
class OlderFormat:
    """An older format version: its ``tables``, as TABLES were then, and what makes them those of the next version.

    ``upgrade`` are statements; where they change cells, they give their rows new checksums.
    """

    tables: Mapping[str, str]
    upgrade: Sequence[str]


def ddl(name: str, columns: str) -> str:
    """Return the statement that makes a table: SQLite keeps its text, and files are known by it."""
    return f"CREATE TABLE {name} (crc INTEGER NOT NULL, {' '.join(columns.split())})"


_SECOND = RESULT_TABLES | OTHER_TABLES
SECOND = OlderFormat(_SECOND, [ddl(name, columns) for name, columns in BLOCKS.items()])

FIRST = OlderFormat(
    _SECOND
    | {
        "curves": """run INTEGER NOT NULL, kind TEXT NOT NULL, first INTEGER NOT NULL, position INTEGER NOT NULL,
            last INTEGER NOT NULL, name TEXT NOT NULL, "values" BLOB NOT NULL,
            PRIMARY KEY (run, kind, first, position)""",
        "checkpoints": "pack INTEGER PRIMARY KEY, meta TEXT NOT NULL, arrays BLOB NOT NULL",
        "environments": "attempt INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL",
    },
    (
        "ALTER TABLE curves RENAME first TO first_step",
        "ALTER TABLE curves RENAME position TO column_index",
        "ALTER TABLE curves RENAME last TO last_step",
        "ALTER TABLE checkpoints RENAME pack TO run",
        "ALTER TABLE environments RENAME fingerprint TO environment",
    ),
)

OLDER: dict[int, OlderFormat] = {1: FIRST, 2: SECOND}
"""The older format versions by number. Who changes TABLES adds one to FORMAT_VERSION and an entry here, whose tables
are written out where they are not those of now."""


def found_in(connection: sqlite3.Connection) -> list[Row]:
    """Return what SQLite tells of the tables and indexes of a file."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@cache
def made(version: int) -> tuple[list[Row], dict[str, tuple[type, ...]]]:
    """Return what `found_in` a file of a version, and by table the types of the cells after the checksum."""
    tables = OLDER[version].tables if version in OLDER else TABLES
    python = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
    with closing(sqlite3.connect(":memory:")) as connection:
        for table, columns in tables.items():
            connection.execute(ddl(table, columns))
        of = {table: connection.execute(f"PRAGMA table_info({table})").fetchall()[1:] for table in tables}
        types = {table: tuple(python[column[2]] for column in columns) for table, columns in of.items()}
        return found_in(connection), types
