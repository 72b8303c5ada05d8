"""Open regular files only: opening a pipe or a device could block."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from optrun.fallbacks import Fallback


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading; OSError for anything else, such as a pipe or a device.

    Files of size 0 are read as empty: those of /proc report size 0, and some of them are endless.
    """
    # Without O_NONBLOCK, opening a pipe blocks until the pipe has a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        return io.BytesIO()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def files_digest(paths: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of all readable files in these paths; an empty string if there are none."""
    lines: list[str] = []
    for number, path in enumerate(map(Path, paths)):
        with Fallback(f"{path} is not read: no change of it is noticed", OSError, ValueError):
            for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if not each.is_dir():
                    digest = hashlib.sha256()
                    with open_regular(each) as file:
                        while part := file.read(1 << 20):
                            digest.update(part)
                    lines.append(f"{digest.hexdigest()}  {number}/{each.relative_to(path).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""
