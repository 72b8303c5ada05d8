"""`export`: write curves to a file or stdout."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from optrun.analysis.leaderboard import plan_of, single
from optrun.errors import ConfigError, StoreError, did_you_mean
from optrun.store import FORMATS, TABLES, Store, export, export_all
from optrun.store.directory import OWN_FILES, write_output
from optrun.store.locate import RESULTS, find_numbered

BINARY = ("npz", "parquet")


def export_run(run_directory: Path, format: str | None, output: str) -> None:
    """Write the curves of a run, or of all runs of a sweep; ConfigError for an invalid format or file."""
    suffix = Path(output).suffix.removeprefix(".").lower()
    if format is None and suffix and output != "-" and suffix not in (*FORMATS, "txt"):
        known = ", ".join(f".{each}" for each in FORMATS)
        raise ConfigError(
            f"{output}: unknown suffix .{suffix}, not one of {known}; --format csv writes CSV into any file"
        )
    format = format or (suffix if suffix in FORMATS else "csv")
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}: {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}")
    path, number = find_numbered(run_directory)
    with Store.open(path) as store:
        write: Callable[[BinaryIO], None]
        plan = plan_of(store)
        is_whole = number is None and (store.size > 1 or plan is not None)
        if is_whole and format in TABLES:
            settings = [plan.setting(run) for run in range(store.size)] if plan else []
            write = partial(export_all, store, format, settings=settings)
        elif is_whole and store.size > 1:
            raise ConfigError(
                f"{path}: {format} is for one run, such as {path}:0; for a whole sweep use csv or parquet"
            )
        else:
            run = single(store, number)
            write = partial(export, store, run, format)
        if output != "-":
            _write_file(Path(output), write)
        elif format in BINARY and sys.stdout.isatty():
            raise ConfigError(f"{format} is binary: give a file with -o")
        else:
            write(sys.stdout.buffer)


def _write_file(file: Path, write: Callable[[BinaryIO], None]) -> None:
    if file.name in OWN_FILES and (file.absolute().parent / RESULTS).exists():
        raise ConfigError(f"{file} is a file of a run directory: give another")
    try:
        write_output(file, write)
    except StoreError:
        raise
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
