"""Run directories: made whole or not at all, written by one process at a time, synchronised with the disk."""

import errno
import os
import re
import secrets
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from optrun.errors import StoreError
from optrun.fallbacks import Fallback, log
from optrun.store.locate import CONFIG, RESULTS
from optrun.store.store_errors import store_errors

ATTEMPTS = 100
YOUNG_SECONDS = 3600.0
"""What is younger is left alone: of machines that share a file system, one alone may see that it is held."""
LOCK_ATTEMPTS, LOCK_PAUSE = 20, 0.005
OWN_FILES = (CONFIG, RESULTS, "metrics.csv", "summary.csv")
OWN_NAMES = "|".join(map(re.escape, OWN_FILES))
HELD = (
    "exists already, and holds a run: optrun resume {} continues it where it was interrupted; "
    "else name another, or remove it"
)
TAKEN = "exists already and is not an empty directory: name another, or remove it"


def new_id(name: str) -> str:
    """Return `<UTC yyyymmdd-hhmmss>-<slug of the name>-<4 hex>`."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug(name)}-{secrets.token_hex(2)}"


def slug(name: str) -> str:
    """Return the part of a run directory's name that tells of its config's."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name)[:40].strip("-") or "run"


def create_directory(parent: Path, name: str, directory: Path | None, fill: Callable[[Path], None]) -> Path:
    """Create a run directory and return its path: ``directory``, or a new id in ``parent``.

    ``fill`` writes the content under a hidden name, which is then renamed: whoever is killed on the way
    leaves no run directory. Raises StoreError where ``directory`` holds something already.
    """
    if directory is None:
        make_parent(parent)
    else:
        check_free(directory)
        if directory.parent == parent:
            make_parent(parent)
        parent = directory.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
    collect(parent)
    with _staging(parent) as staging:
        fill(staging)
        for file in staging.iterdir():
            sync(file)
        sync(staging)
        names = [directory] if directory else (parent / new_id(name) for _ in range(ATTEMPTS))
        path = next((path for path in names if _renamed(staging, path)), None)
        if path is None:
            raise StoreError(TAKEN if directory else "no name is left for another run in this second")
    sync(parent)
    return path


def lock(directory: Path) -> int | None:
    """Take the writer's lock of a run directory; it ends with the returned descriptor, or its process.

    Raises StoreError where another process holds it for longer than one that only looks at it.
    """
    if sys.platform == "win32":
        log.debug("%s: no writer's lock on Windows", directory)
        return None
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_PAUSE)
            else:
                return descriptor
        raise StoreError("the run is being written by another process")
    except BaseException:
        os.close(descriptor)
        raise


def is_being_written(directory: Path, *, unknown: bool = True) -> bool:
    """Whether a process holds the writer's lock of a run directory; ``unknown`` where locks cannot be asked about.

    Raises StoreError where the directory is gone.
    """
    if sys.platform == "win32":
        return unknown
    import fcntl

    with store_errors(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Shared, so that two who look at once do not take each other for the writer.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # such as a file system without locks
        return unknown
    finally:
        os.close(descriptor)
    return False


def remove_directory(directory: Path, check: Callable[[], None] | None = None) -> None:
    """Remove a run directory, which disappears at once and as a whole; symbolic links in it are not followed.

    ``check`` is called while nobody can write; what it raises keeps the directory. Raises StoreError where it is
    being written, or is itself a symbolic link.
    """
    if directory.is_symlink():
        raise StoreError("a symbolic link is not removed, nor what it points to")
    held = lock(directory)
    try:
        if check is not None:
            check()
        doomed = directory.with_name(f".gone-{secrets.token_hex(8)}")
        directory.rename(doomed)
        shutil.rmtree(doomed)
    finally:
        if held is not None:
            os.close(held)


def collect(
    directory: Path, *, names: str = OWN_NAMES, dry_run: bool = False, locked: bool = False
) -> list[Path]:
    """Remove what commands that were killed have left in a directory under hidden names, and return it.

    ``names`` is a pattern of the files that they would have become: other hidden files may be somebody's own. What a
    process holds open stays, and what is so young that it may not have come to that: nothing is, in a run directory
    whose writer's lock is held here.
    """
    if sys.platform == "win32":
        return []  # where nobody knows who holds what
    import fcntl

    pattern = re.compile(rf"\.(new-|gone-|({names})\.)[0-9a-f]{{16}}")
    found = []
    with Fallback(f"{directory}: what killed commands have left is not looked for", OSError):
        for entry in list(os.scandir(directory)):
            if not pattern.fullmatch(entry.name) or entry.is_symlink():
                continue
            with suppress(OSError):
                is_directory = entry.is_dir()
                if is_directory is not entry.name.startswith((".new-", ".gone-")):
                    continue
                if not locked and time.time() - entry.stat().st_mtime < YOUNG_SECONDS:
                    continue
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not dry_run:
                        shutil.rmtree(entry.path) if is_directory else os.unlink(entry.path)
                    found.append(Path(entry.path))
                finally:
                    os.close(descriptor)
    return found


def replace_file(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file, or leave the one of that name as it was."""
    staging = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    collect(path.parent, names=re.escape(path.name))
    try:
        with staging.open("xb") as stream:
            _hold(stream.fileno())
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_output(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write what a user asked for: like `replace_file`, but through a link, a pipe or a device.

    Directories that are not there are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as stream:
            write(stream)
    else:
        replace_file(path, write)


def sync(path: Path) -> None:
    """Wait until a file, or a directory's list of names, is on the disk."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_parent(parent: Path) -> None:
    """Make a directory of runs, which Git ignores, unless it is there."""
    if parent.is_dir():
        return
    parent.mkdir(parents=True, exist_ok=True)
    (parent / ".gitignore").write_text("*\n", encoding="utf-8")


def check_free(directory: Path) -> None:
    """Raise StoreError where a run directory cannot be made: the place is taken, or the current directory."""
    if not os.path.lexists(directory):
        return
    if directory.is_symlink() and directory.is_dir() and not any(directory.iterdir()):
        raise StoreError(f"is a link to a directory: name {os.path.realpath(directory)} itself")
    if directory.is_symlink() or not directory.is_dir() or any(directory.iterdir()):
        raise StoreError(HELD.format(directory) if (directory / RESULTS).exists() else TAKEN)
    if directory.samefile(os.curdir):
        raise StoreError("a run cannot take the place of the current directory: name a new one inside it")


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    staging = parent / f".new-{secrets.token_hex(8)}"
    try:
        staging.mkdir()
    except OSError as error:  # nobody knows the hidden name
        raise OSError(error.errno, error.strerror, str(parent)) from error
    held = _held(staging)
    try:
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _held(directory: Path) -> int | None:
    """Return a descriptor that tells others that a process lives which is at work in a directory."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    _hold(descriptor)
    return descriptor


def _hold(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        with Fallback("this file system has no locks", OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _renamed(staging: Path, path: Path) -> bool:
    try:
        staging.rename(path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise OSError(error.errno, error.strerror, str(path)) from error  # nobody knows the hidden name
    return True
