"""What goes wrong with a store, as one line that begins with its directory."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optrun.errors import StoreError, printable
from optrun.store.locate import RESULTS

READ_BYTES = 1 << 24


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
