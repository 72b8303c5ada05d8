"""Files of YAML."""

from pathlib import Path

from optrun.config.errors import ConfigErrors, Issue, Place
from optrun.config.reader import MAX_BYTES, decode, read
from optrun.config.tree import Document
from optrun.errors import nearest


def read_file(path: Path) -> Document:
    """Return the YAML document in a file; OSError where there is none, ConfigErrors where it is not readable."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    return read(decode(raw, str(path)), str(path))


def read_config(path: Path) -> Document:
    """Return the YAML document in a file; ConfigErrors where it cannot be read."""
    try:
        return read_file(path)
    except OSError as error:
        raise ConfigErrors([Issue.at(Place(str(path)), (), unreadable(path, error))]) from None


def unreadable(path: Path, error: OSError) -> str:
    """Return why a file cannot be read, and which one beside it may be meant."""
    reason = (error.strerror or str(error)).lower()
    beside = [str(other) for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = nearest(str(path), beside) if isinstance(error, FileNotFoundError) else None
    return reason if near is None else f"{reason}. Did you mean {near!r}?"
