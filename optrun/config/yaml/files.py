"""Files of YAML."""

import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.reader import MAX_BYTES, decode, read
from optrun.config.yaml.tree import Document
from optrun.errors import unreadable
from optrun.forks import renew_after_fork
from optrun.regular_files import open_regular

STDIN = "-"
YAML = "*.y*ml"

_streams: dict[tuple[str, int, int], bytes] = {}
"""What was read from pipes, which can be read only once, by name, device and inode."""
_reading = threading.Lock()
renew_after_fork(globals(), "_reading")


def is_stream(source: str) -> bool:
    """Whether a config comes from a pipe or from standard input, and so has no directory of its own."""
    if source == STDIN or os.path.abspath(source).startswith(("/dev/", "/proc/")):
        return True
    return os.path.exists(source) and not os.path.isfile(source) and not os.path.isdir(source)


def directory_of(source: str) -> Path:
    """Return the directory to which paths in a config are relative: its file's, or for a pipe the working directory."""
    return Path() if is_stream(source) else Path(source).parent


def read_file(path: Path) -> Document:
    """Return the YAML document in a regular file; OSError where there is none, ConfigErrors where it is unreadable."""
    with open_regular(path) as file:
        raw = file.read(MAX_BYTES + 1)
    return read(decode(raw, str(path)), str(path))


def read_config(path: Path) -> Document:
    """Return the YAML document in a file, a pipe or standard input (-); ConfigErrors where it cannot be read."""
    source = str(path)
    try:
        return read(decode(_stream(source), source), source) if is_stream(source) else read_file(path)
    except OSError as error:
        raise ConfigErrors([Issue.at(Place(str(path)), (), unreadable(path, error, YAML))]) from None


def _stream(source: str) -> bytes:
    """Return what comes through a pipe, also when it is asked for again. Raises OSError."""
    found = None if source == STDIN else os.stat(source)
    key = (source, found.st_dev, found.st_ino) if found else (source, 0, id(sys.stdin))
    with _reading:
        if key in _streams:
            return _streams[key]
        with nullcontext(sys.stdin.buffer) if source == STDIN else open(source, "rb") as file:
            _streams[key] = file.read(MAX_BYTES + 1)
        return _streams[key]
