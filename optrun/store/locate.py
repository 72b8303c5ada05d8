"""Which run directory is meant: by its path, its id, the beginning of its id, or as the latest."""

import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from optrun.errors import StoreError, did_you_mean
from optrun.fallbacks import Fallback

RUNS = Path("runs")
LATEST = "latest"
BEST = "best"
"""In place of the number of a run of a sweep: that of its best setting, which only rankings know."""
RESULTS, CONFIG = "results.sqlite", "config.yaml"
"""The files of a run directory that tell what it is."""


def run_directories(root: Path = RUNS) -> list[Path]:
    """Return the run directories in a directory, whole or broken, the one made last first."""
    found: list[tuple[str, str]] = []
    entries: list[os.DirEntry[str]] = []
    with Fallback(f"{root} is not looked into", OSError):
        entries = list(os.scandir(root)) if root.exists() else []
    for entry in entries:
        # Of a link that leads to itself, the entry would raise OSError.
        if not entry.name.startswith(".") and os.path.isdir(entry.path):
            path = Path(entry.path)
            if is_run_directory(path):
                found.append((_created(path), entry.name))
    return [root / name for _, name in sorted(found, reverse=True)]


def find_run(text: str | Path, root: Path = RUNS) -> Path:
    """Return the run directory that a path, an id in ``root``, the beginning of one, or ``latest`` names.

    Raises StoreError where there is none, with the nearest id, and where there are several.
    """
    path = known_run(text, root)
    return path if path is not None else _by_prefix(str(text), root)


def find_numbered(text: str | Path, root: Path = RUNS) -> tuple[Path, int | None]:
    """Return the directory that a text such as `SWEEP:RUN` names, and the number of the run, None without one.

    Raises StoreError as `find_run` does.
    """
    name, number = _split(text, root)
    return find_run(name, root), number


def find_whole(text: str | Path, command: str, root: Path = RUNS) -> Path:
    """Return the run directory that a text names, for a command that takes no single run of a sweep.

    Raises StoreError as `find_run` does, and where it names such a run.
    """
    name, _, best = str(text).rpartition(":")
    if name and best == BEST and known_run(text, root) is None:
        raise StoreError(f"{text}: the sweep is taken as a whole: optrun {command} {name}")
    path, number = find_numbered(text, root)
    if number is not None:
        raise StoreError(
            f"{text}: run {number} of a sweep, which is taken as a whole: optrun {command} {path}"
        )
    return path


def known_numbered(text: str | Path, root: Path = RUNS) -> tuple[Path, int | None] | None:
    """Return the run directory that `DIR`, a whole id, `latest`, or one of them with `:RUN` names; None for others."""
    name, number = _split(text, root)
    path = known_run(name, root)
    return None if path is None or not is_run_directory(path) else (path, number)


def known_run(text: str | Path, root: Path = RUNS) -> Path | None:
    """Return the run directory that a path, a whole id in ``root``, or ``latest`` names; None for anything else.

    A path that is not a run directory is returned as well: who opens it says what is wrong. Raises StoreError for
    `latest` where there is no run, or a directory of this name.
    """
    path = Path(text)
    if str(text) == LATEST:
        runs = run_directories(root)
        if is_run_directory(path):
            latest = f"{runs[0]} or " if runs else ""
            raise StoreError(f"{LATEST}: a run directory here has this name: write {latest}{path.absolute()}")
        if not runs:
            raise StoreError(f"{root}: there are no runs yet")
        return runs[0]
    if is_run_directory(path):
        return path
    if path.name == str(text) and is_run_directory(root / path):
        return root / path
    return path if path.name != str(text) and path.is_dir() else None


def matching_runs(text: str | Path, root: Path = RUNS) -> list[Path]:
    """Return the run directories whose ids begin with a text, or with the last part of a path."""
    path = Path(text)
    return [
        run for run in run_directories(_folder(path, root)) if path.name and run.name.startswith(path.name)
    ]


def _by_prefix(text: str, root: Path) -> Path:
    matches = matching_runs(text, root)
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = [run.name for run in matches[:3]]
        raise StoreError(
            f"{text!r} begins {len(matches)} runs: {', '.join(names)}{', …' * (len(matches) > 3)}"
        )
    folder = _folder(Path(text), root)
    known = [run.name for run in run_directories(folder)[:1000]]
    hint = did_you_mean(Path(text).name, [*known, LATEST]) or f" `optrun ls` lists those in {folder}"
    raise StoreError(f"{text}: no such run.{hint}")


def _folder(path: Path, root: Path) -> Path:
    return path.parent if path.name != str(path) else root


def is_run_directory(path: Path) -> bool:
    """Whether a directory holds a run, whole or broken."""
    return any((path / name).exists() for name in (CONFIG, RESULTS))


def _created(directory: Path) -> str:
    """When a run was made, as its store says it: the times of its files are those of whoever copied it last."""
    results = (directory / RESULTS).absolute()
    # Nothing is asked of the file but its first event, which no writer changes: that needs no lock and no journal.
    with Fallback(
        f"{directory} does not tell when it was made: the time of its file counts", sqlite3.Error, OSError
    ):
        if results.is_file():
            with closing(sqlite3.connect(f"{results.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
                first = db.execute("SELECT time FROM events WHERE kind = 'created' ORDER BY event").fetchone()
                if first and isinstance(first[0], str):
                    return first[0]
    with suppress(OSError):
        modified = (directory / CONFIG if not results.exists() else results).stat().st_mtime
        return datetime.fromtimestamp(modified, UTC).isoformat(timespec="milliseconds")
    return ""


def _split(text: str | Path, root: Path) -> tuple[str, int | None]:
    """Return what `SWEEP:RUN` names, None where no run is named; StoreError where it is no number."""
    name, colon, number = str(text).rpartition(":")
    if not (colon and name) or Path(text).exists() or known_run(text, root) is not None:
        return str(text), None
    if number.isdecimal():
        return name, int(number)
    if (path := known_run(name, root)) is not None:
        raise StoreError(f"{path}: there is no run {number!r}: {_range(path)}")
    return str(text), None


def _range(path: Path) -> str:
    from optrun.store import Store  # a completion has no need of it

    with Store.open(path) as store:
        return f"the runs are 0 … {store.size - 1}"
