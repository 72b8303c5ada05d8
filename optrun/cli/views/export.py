"""`export`: write a table of runs, or a run whole, to a file or stdout."""

import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import BinaryIO

from optrun.analysis.best_run import find_numbered
from optrun.analysis.chosen_runs import choose, stored_table
from optrun.analysis.leaderboard import plan_of
from optrun.analysis.run_columns import RunColumns
from optrun.api.cards import card_of
from optrun.errors import ConfigError, StoreError, did_you_mean
from optrun.store import BINARY, FORMATS, PAGES, PARAM_FORMATS, Store, export, write_params, write_table
from optrun.store.directory import OWN_FILES, write_output
from optrun.store.locate import RESULTS
from optrun.store.run_table import check_what

PARAMS, SAFETENSORS = "params", "safetensors"


def export_run(
    run_directory: Path,
    what: str | None,
    format: str | None,
    output: str,
    where: str | None = None,
    sort: str | None = None,
) -> None:
    """Write a table of a run or of a sweep, by default the curves; ConfigError for an invalid format or file.

    Where nothing says what is wanted, JSON and NPZ of a single run hold all of it.
    """
    if what is None and SAFETENSORS in (format, Path(output).suffix.removeprefix(".")):
        what = PARAMS  # which it holds alone
    if what == PARAMS:
        _export_params(run_directory, format_of(format, output, [*FORMATS, SAFETENSORS]), output, where, sort)
        return
    format = format_of(format, output)
    rows = check_what(what or "curves")
    if format in PAGES and rows != "runs":
        raise ConfigError(
            f"{format} is for a page, and {rows} may have thousands of rows: --what runs, or another of "
            + ", ".join(each for each in FORMATS if each not in PAGES)
        )
    path, number = find_numbered(run_directory)
    with Store.open(path) as store:
        is_one = number is not None or (store.size == 1 and plan_of(store) is None)
        write: Callable[[BinaryIO], None]
        if is_one and format in ("json", "npz") and (what, where, sort) == (None, None, None):
            write = partial(export, store, number or 0, format)
        else:
            write = partial(write_table, stored_table(store, rows, number, where, sort), format)
        written_as(format, output, write)


def _export_params(
    run_directory: Path, format: str, output: str, where: str | None, sort: str | None
) -> None:
    """Write the parameters of a run or of the runs of a sweep; ConfigError for a format of tables."""
    if format not in PARAM_FORMATS:
        raise ConfigError(
            f"params are arrays, and no table for {format}: a file.npz or file.safetensors, or --format npz"
        )
    path, number = find_numbered(run_directory)
    with Store.open(path) as store:
        columns = RunColumns.of(store, number)
        runs = [columns.records[index].run for index in choose(columns, where, sort)]
        is_one = number is not None or (store.size == 1 and plan_of(store) is None)
        write = partial(write_params, store, runs, format, numbered=not is_one, card=partial(card_of, store))
        written_as(format, output, write)


def written_as(format: str, output: str, write: Callable[[BinaryIO], None]) -> None:
    """Write to a file, or to stdout for ``-``; ConfigError for a binary format on a terminal."""
    if output != "-":
        _write_file(Path(output), write)
    elif format in (*BINARY, *PARAM_FORMATS) and sys.stdout.isatty():
        raise ConfigError(f"{format} is binary: give a file with -o")
    else:
        write(sys.stdout.buffer)


def format_of(format: str | None, output: str, known: Collection[str] = FORMATS) -> str:
    """Return the format of a file: as given, else its ending, else csv; ConfigError for one that is not known."""
    suffix = Path(output).suffix.removeprefix(".").lower()
    if format is None and suffix and output != "-" and suffix not in known:
        endings = ", ".join(f".{each}" for each in known)
        raise ConfigError(
            f"{output}: unknown ending .{suffix}, not one of {endings}; --format csv writes CSV into any file"
        )
    format = format or (suffix if suffix in known else "csv")
    if format not in known:
        raise ConfigError(f"unknown format {format!r}: {', '.join(known)}.{did_you_mean(format, known)}")
    return format


def check_not_own(file: Path) -> None:
    """Raise ConfigError for a file of a run directory."""
    if file.name in OWN_FILES and (file.absolute().parent / RESULTS).exists():
        raise ConfigError(f"{file} is a file of a run directory: give another")


def _write_file(file: Path, write: Callable[[BinaryIO], None]) -> None:
    check_not_own(file)
    try:
        write_output(file, write)
    except StoreError:
        raise
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
