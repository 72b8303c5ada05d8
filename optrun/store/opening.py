"""Opening a results file: what is verified, and what becomes of a file of an older format version."""

import sqlite3
from contextlib import closing
from pathlib import Path

from optrun.store import schema

OLD = "older_"
"""What the name of a table begins with while its rows are brought to the next version."""


def open_results(directory: Path, *, write: bool) -> sqlite3.Connection:
    """Open the results file of a run directory, in the tables of this version.

    An older file is upgraded for writing; readers read an upgraded copy, which goes when it is closed. Raises
    StoreError where the file is missing, damaged, of a newer format, or not one that optrun wrote.
    """
    connection = schema.connect(directory, write=write)
    try:
        return _upgraded(connection, write=write)
    except BaseException:
        connection.close()
        raise


def _upgraded(connection: sqlite3.Connection, *, write: bool) -> sqlite3.Connection:
    version = schema.check_content(connection)
    if version == schema.FORMAT_VERSION:
        return connection
    if not write:
        with closing(connection) as older:
            connection = sqlite3.connect("", isolation_level="IMMEDIATE", check_same_thread=False)
            older.backup(connection)
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for older_version in range(version, schema.FORMAT_VERSION):
                _upgrade(connection, older_version)
            schema.check_content(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring every table to the next version; StoreError where a row is damaged."""
    older = schema.OLDER[version]
    newer = schema.OLDER[version + 1].tables if version + 1 in schema.OLDER else schema.TABLES
    before, after = schema.types_of(older.tables), schema.types_of(newer)
    for table in older.tables:
        connection.execute(f"ALTER TABLE {table} RENAME TO {OLD}{table}")
    for table, columns in newer.items():
        connection.execute(schema.ddl(table, columns))
        if table not in older.tables:
            continue
        rows = schema.verified(
            connection.execute(f"SELECT * FROM {OLD}{table} ORDER BY rowid"), table, before[table]
        )
        if upgrade := older.upgrades.get(table):
            rows = map(upgrade, rows)
        marks = ", ".join("?" * (1 + len(after[table])))
        checked = schema.with_checksums(rows, after[table])
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", checked)
    for table in older.tables:
        connection.execute(f"DROP TABLE {OLD}{table}")
    connection.execute(f"PRAGMA user_version = {version + 1}")
