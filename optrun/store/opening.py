"""Opening a results file without trusting it, and bringing one of an older format version up to date."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from optrun.errors import StoreError
from optrun.fallbacks import log
from optrun.store import schema, verified
from optrun.store.blocks import ReadConnection
from optrun.store.locate import RESULTS

APPLICATION_ID = 0x6F70_7472  # "optr"
CACHE_KIB = 1 << 12
MOST_FAULTS = 20
"""Those that are told of the pages of a file, of which damage may make thousands."""
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")


def initialise(path: Path) -> sqlite3.Connection:
    """Create a results file without rows and return its connection.

    Nothing is synchronised: until the directory has its final name, the file does not count.
    """
    connection = _connect(path, "rwc")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {schema.FORMAT_VERSION}")
    connection.execute("BEGIN")
    for name, columns in schema.TABLES.items():
        connection.execute(schema.ddl(name, columns))
    return connection


def open_results(directory: Path, *, write: bool) -> sqlite3.Connection:
    """Open the results file of a run directory, in the tables of this version; what it holds is verified when read.

    An older file is upgraded for writing; readers read an upgraded copy, which goes when it is closed. Raises
    StoreError where the file is missing, damaged, of a newer format, or not one that optrun wrote.
    """
    connection = found = connect(directory, write=write)
    try:
        with verified.at_once(found):  # a writer may upgrade it between two reads
            version = _check_content(found)
            if version < schema.FORMAT_VERSION and not write:
                connection = _connect(None)
                found.backup(connection)
        if connection is not found:
            found.close()
        if version < schema.FORMAT_VERSION:
            how = "upgraded" if write else "read as an upgraded copy"
            log.debug("%s: %d is an older format: it is %s", directory, version, how)
            _upgrade(connection, version)
    except BaseException:
        found.close()
        connection.close()
        raise
    return connection


def connect(directory: Path, *, write: bool) -> sqlite3.Connection:
    """Open the results file of a run directory, whatever it holds, after the last write has been undone if need be."""
    path = directory / RESULTS
    _check_files(path)
    connection = _connect(path, "rw" if write else "ro")
    try:
        try:
            _pragma(connection, "schema_version")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            log.debug("%s: the last write was cut short, and is undone", path)
            _roll_back(path)
        # Unlike FULL it also waits until the removal of the journal has reached the disk, which ends a transaction.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(
            "PRAGMA fullfsync = ON"
        )  # of macOS, whose fsync does not wait for the disk's own cache
        if write:
            # Of a transaction that does not fit, new pages are written early, without a wait for the disk.
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path | None, mode: str = "") -> sqlite3.Connection:
    """Connect to a file; to a temporary one where no path is given."""
    uri = f"{path.absolute().as_uri()}?mode={mode}" if path else ""
    # A store is used by one thread at a time, but not always by the one that opened it.
    factory = ReadConnection if mode in ("", "ro") else sqlite3.Connection
    connection = sqlite3.connect(
        uri, uri=True, timeout=30, isolation_level="IMMEDIATE", check_same_thread=False, factory=factory
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _check_files(path: Path) -> None:
    for file in (path, journal := path.with_name(f"{RESULTS}-journal")):
        with suppress(FileNotFoundError):  # a writer's journal comes and goes
            if not stat.S_ISREG(file.lstat().st_mode):
                raise StoreError(f"{file.name} is not a regular file")
    if not path.exists():
        raise StoreError(f"not a run directory, for it has no {RESULTS}")
    if os.path.lexists(path.with_name(f"{RESULTS}-wal")):
        raise StoreError(f"{RESULTS}-wal is not a file that optrun writes")
    _check_journal(journal)


def _check_journal(journal: Path) -> None:
    """Refuse a journal that names a super-journal: SQLite would delete the file of that name, anywhere."""
    with suppress(FileNotFoundError), journal.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - len(_SUPER_JOURNAL)))
        if stream.read() == _SUPER_JOURNAL:
            raise StoreError(f"{journal.name} names other files, which optrun never writes")


def _check_content(connection: sqlite3.Connection) -> int:
    """Return the format version of a file; StoreError where its header or its tables are not those of it."""
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(f"{RESULTS} is not a results file of optrun")
    version = int(_pragma(connection, "user_version"))
    if version > schema.FORMAT_VERSION:
        raise StoreError(
            f"{RESULTS} has format version {version}, and this optrun reads up to {schema.FORMAT_VERSION}: "
            "update optrun"
        )
    if (
        version not in (*schema.OLDER, schema.FORMAT_VERSION)
        or _pragma(connection, "journal_mode") != "delete"
    ):
        raise StoreError(f"{RESULTS} is damaged: optrun writes another header")
    if schema.found_in(connection) != schema.made(version)[0]:
        raise StoreError(f"{RESULTS} has other tables than optrun writes")
    return version


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file to this version in one transaction."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for number in range(version, schema.FORMAT_VERSION):
            for statement in schema.OLDER[number].upgrade:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.FORMAT_VERSION}")
        _check_content(connection)


def page_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with the pages of a file, such as that one has lost rows; all of it is read."""
    for (text,) in connection.execute(f"PRAGMA integrity_check({MOST_FAULTS})"):
        yield from (line for line in text.splitlines() if line != "ok" and not line.startswith("***"))


def _roll_back(path: Path) -> None:
    """Undo the last write of a process that died in it; a read-only connection cannot."""
    try:
        with closing(_connect(path, "rw")) as connection:
            _pragma(connection, "schema_version")
    except sqlite3.Error as error:
        raise StoreError(
            f"{RESULTS}: the last write was cut short and cannot be undone here ({error}): "
            "copy the run directory to where it can be written"
        ) from error


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
