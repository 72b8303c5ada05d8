"""The tables of a results file, and how a file is opened without trusting it.

Every row begins with a CRC-32 of its other cells, so that damage which SQLite cannot see is noticed when the
row is read. The blob comes last in its row: SQLite then reads the cells before it without touching its pages.
"""

import operator
import os
import sqlite3
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from optrun.errors import StoreError
from optrun.errors import printable as printable
from optrun.fallbacks import log
from optrun.store.locate import RESULTS

FORMAT_VERSION = 2
APPLICATION_ID = 0x6F70_7472  # "optr"
CACHE_KIB = 1 << 12
READ_BYTES = 1 << 24
MOST_FAULTS = 20
"""Those that are told of the pages of a file, of which damage may make thousands."""
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
TABLES = RESULT_TABLES | OTHER_TABLES


Row = tuple[Any, ...]
Types = tuple[type, ...]


@dataclass(frozen=True)
class OlderFormat:
    """An older format version: its ``tables``, as TABLES were then, and what makes them those of the next version.

    ``upgrade`` are statements. Who changes cells with them gives their rows new checksums.
    """

    tables: Mapping[str, str]
    upgrade: Sequence[str]


FIRST = OlderFormat(
    TABLES
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

OLDER: dict[int, OlderFormat] = {1: FIRST}
"""The older format versions by number. Who changes TABLES adds one to FORMAT_VERSION and an entry here, whose tables
are written out where they are not those of now."""

_PLAIN: dict[type, Callable[[Any], Any]] = {int: operator.index, str: str, bytes: bytes}
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")


@contextmanager
def store_errors(directory: Path, *, creates: bool = False) -> Iterator[None]:
    """Turn what is raised inside into a StoreError of one line that begins with the directory.

    ``creates`` is for a directory that is not there before all has gone well.
    """
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{directory}: {error}") from error.__cause__
    # SQLite quotes what is damaged in its messages, and not all of it decodes.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if _is(error, sqlite3.SQLITE_FULL):
            raise StoreError(f"{directory}: the disk is full") from error
        if not creates and not os.path.exists(directory):
            raise StoreError(f"{directory}: the run directory has been removed or renamed") from error
        if _is(error, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            _read_through(directory / RESULTS)
        raise StoreError(f"{directory}: {RESULTS}: {printable(str(error))}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or directory}: {error.strerror or error}") from error
    except OverflowError as error:
        raise StoreError(f"{directory}: {error}") from error


def _is(error: Exception, *codes: int) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _read_through(file: Path) -> None:
    """Raise StoreError where a file cannot be read, which SQLite takes for damage."""
    try:
        with file.open("rb") as stream:
            while stream.read(READ_BYTES):
                pass
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror or error}") from error


def initialise(path: Path) -> sqlite3.Connection:
    """Create a results file without rows and return its connection.

    Nothing is synchronised: until the directory has its final name, the file does not count.
    """
    connection = _connect(path, "rwc")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("BEGIN")
    for name, columns in TABLES.items():
        connection.execute(ddl(name, columns))
    return connection


def ddl(name: str, columns: str) -> str:
    """Return the statement that makes a table: SQLite keeps its text, and files are known by it."""
    return f"CREATE TABLE {name} (crc INTEGER NOT NULL, {' '.join(columns.split())})"


def connect(directory: Path, *, write: bool) -> sqlite3.Connection:
    """Open the results file of a run directory; rows are verified as they are read, all but the pages here.

    Raises StoreError where it is missing, damaged, of a newer format, or not one that optrun wrote.
    """
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
        check_content(connection)
        # Unlike FULL it also waits until the removal of the journal has reached the disk, which ends a transaction.
        connection.execute("PRAGMA synchronous = EXTRA")
        if write:
            # Of a transaction that does not fit, new pages are written early, without a wait for the disk.
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Write rows, each with its checksum; a row of the same primary key is replaced."""
    insert_checked(connection, table, checked(table, rows))


def insert_checked(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Write rows that have their checksums; a row of the same primary key is replaced."""
    marks = ", ".join("?" * (1 + len(_reference()[1][table])))
    connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)


def checked(table: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows of a table, each with its checksum before it."""
    types = _reference()[1][table]
    for row in rows:
        cells = row
        if tuple(map(type, row)) != types:
            # SQLite would take a NumPy integer for a blob.
            cells = tuple(_PLAIN[kind](cell) for cell, kind in zip(row, types, strict=True))
        yield checksum(canonical_bytes(cells)), *cells


def select(
    connection: sqlite3.Connection, table: str, where: str = "true", values: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    """Return rows in the order of their primary key; raises StoreError as `scan` does."""
    return list(scan(connection, table, where, values))


def scan(
    connection: sqlite3.Connection, table: str, where: str = "true", values: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Iterate over rows in the order of their primary key; no other process writes until it is through.

    Raises StoreError where a row is damaged or its cells are of another type.
    """
    order = "run, kind, first_step, column_index" if table == "curves" else "rowid"
    types = _reference()[1][table]
    for crc, *cells in connection.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", values):
        if not all(isinstance(cell, kind) for cell, kind in zip(cells, types, strict=True)):
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
    blobs = [cell for cell in row if isinstance(cell, bytes)]
    cells = [len(cell) if isinstance(cell, bytes) else cell for cell in row] if blobs else list(row)
    return [canonical_text(cells), *blobs]


def canonical_text(cells: list[Any]) -> bytes:
    """Return the canonical form of cells, with the length of a blob in its place."""
    return ascii(cells).encode()


def checksum(parts: Iterable[bytes | memoryview]) -> int:
    """Return the checksum of a row, given its canonical form."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    # A store is used by one thread at a time, but not always by the one that opened it.
    connection = sqlite3.connect(
        uri, uri=True, timeout=30, isolation_level="IMMEDIATE", check_same_thread=False
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


def check_content(connection: sqlite3.Connection) -> int:
    """Return the format version of a file; StoreError where its header or its tables are not those of it."""
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(f"{RESULTS} is not a results file of optrun")
    version = _pragma(connection, "user_version")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{RESULTS} has format version {version}, and this optrun reads up to {FORMAT_VERSION}: "
            "update optrun"
        )
    older = OLDER.get(version)
    if (older is None and version != FORMAT_VERSION) or _pragma(connection, "journal_mode") != "delete":
        raise StoreError(f"{RESULTS} is damaged: optrun writes another header")
    if _schema(connection) != (_made(older.tables) if older else _reference())[0]:
        raise StoreError(f"{RESULTS} has other tables than optrun writes")
    return int(version)


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


def _schema(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@cache
def _reference() -> tuple[list[Row], dict[str, Types]]:
    return _made(TABLES)


def _made(tables: Mapping[str, str]) -> tuple[list[Row], dict[str, Types]]:
    """What SQLite makes of tables: the schema, and by table the types of the cells after the checksum."""
    python = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
    with closing(sqlite3.connect(":memory:")) as connection:
        for table, columns in tables.items():
            connection.execute(ddl(table, columns))
        types = {}
        for table in tables:
            found = connection.execute(f"PRAGMA table_info({table})").fetchall()
            types[table] = tuple(python[column[2]] for column in found[1:])
        return _schema(connection), types
