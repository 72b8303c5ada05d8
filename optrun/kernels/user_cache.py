"""Files that may be lost, in this user's cache directory: written whole, and read where nobody else could write."""

import hashlib
import os
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from optrun.fallbacks import Fallback
from optrun.regular_files import open_regular

_DIGEST = hashlib.sha256().digest_size
"""Bytes at the beginning of a file: the digest of the rest."""
ABANDONED_SECONDS = 3600.0
"""No file takes so long to be written."""


def directory(name: str) -> Path:
    """Return the directory of the files of one kind."""
    home = Path(os.devnull)  # of a user without one: nothing is kept
    with Fallback("no home directory: nothing is kept for later processes", RuntimeError):
        home = found if (found := Path.home()).is_absolute() else home
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = given if given.is_absolute() else home / ".cache"
    return base / "optrun" / name


def is_own(directory: Path) -> bool:
    """Return whether nobody but this user can write in a directory, or put another in its place.

    Else nothing is kept there. The levels above are the directory of optrun, and that of all programs, which may be
    root's, and where others may make files of their own, but not touch those of this user.
    """
    if sys.platform == "win32":
        return True
    above, base = directory.parent.stat(), directory.parent.parent.stat()
    shared = base.st_mode & stat.S_IWOTH and not base.st_mode & stat.S_ISVTX
    return (
        directory.lstat().st_uid == os.geteuid()
        and _is_own(directory.stat(), above)
        and base.st_uid in (os.geteuid(), 0)
        and not shared
    )


def read(path: Path) -> bytes | None:
    """Return what was written to a file; None where it cannot be read, is damaged, or is not this user's alone."""
    if not path.exists():
        return None
    with Fallback(f"{path} is not read", OSError, ValueError), open_regular(path) as file:
        if not (_is_own(os.fstat(file.fileno())) and is_own(path.parent)):
            raise PermissionError("others can write there")
        digest, content = file.read(_DIGEST), file.read()
        if digest != hashlib.sha256(content).digest():
            raise ValueError("damaged")
        return content
    return None


def write(path: Path, content: bytes) -> None:
    """Write a file at once, where its directory is this user's alone and can be written."""
    with Fallback(f"{path} is not kept for later processes", OSError):
        for parent in (path.parent.parent, path.parent):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_own(path.parent):
            raise PermissionError("others can write there")
        _collect(path.parent)
        handle, written = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(written, path)
        except BaseException:
            os.unlink(written)
            raise


def _collect(directory: Path) -> None:
    """Remove what processes that were killed while they wrote have left."""
    for left in directory.glob(f"{tempfile.gettempprefix()}????????"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                left.unlink()


def _is_own(*found: os.stat_result) -> bool:
    """Return whether nobody but this user can write there: what is read may be run."""
    return sys.platform == "win32" or all(
        each.st_uid == os.geteuid() and not each.st_mode & 0o022 for each in found
    )
