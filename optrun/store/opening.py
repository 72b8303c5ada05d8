"""Opening a results file: what is verified, and what becomes of a file of an older format version."""

import sqlite3
from contextlib import closing
from pathlib import Path

from optrun.fallbacks import log
from optrun.store import schema


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
    log.debug("%d is an older format: it is %s", version, "upgraded" if write else "read as an upgraded copy")
    if not write:
        with closing(connection) as older:
            connection = sqlite3.connect("", isolation_level="IMMEDIATE", check_same_thread=False)
            older.backup(connection)
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for number in range(version, schema.FORMAT_VERSION):
                for statement in schema.OLDER[number].upgrade:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {schema.FORMAT_VERSION}")
            schema.check_content(connection)
    except BaseException:
        connection.close()
        raise
    return connection
