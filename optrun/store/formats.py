"""Results in the formats of others: a run whole, or a table of runs."""

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import StringIO
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.errors import UnknownNameError, did_you_mean
from optrun.store.blobs import write_npz
from optrun.store.directory import replace_file
from optrun.store.excel import write_excel
from optrun.store.parameters import snapshots_of
from optrun.store.parquet import write_parquet
from optrun.store.run_table import STEP, RunTable, in_order
from optrun.store.store import Store
from optrun.store.store_errors import store_errors
from optrun.store.text import (
    ROWS,
    heading,
    inert,
    lines,
    write_csv_table,
    write_json_rows,
    write_latex,
    write_markdown,
)
from optrun.store.types import FIRST_COLUMNS

METRICS, SUMMARY = "metrics.csv", "summary.csv"


def export(store: Store, run: int, format: str, stream: BinaryIO) -> None:
    """Write one run whole to a stream.

        csv   the curves: columns step, loss, lr, then the other metrics as they were recorded
        npz   the curves by name, the evaluations as eval/…, the final parameters as params/…, kept ones as step10/…
        json  one object: run, seed, config, status, reason, steps, summary, curves, evaluations; NaN is null

    Raises UnknownNameError for another format, StoreError where the run is missing or damaged.
    """
    if format not in WHOLE:
        raise UnknownNameError(f"unknown export format {format!r}.{did_you_mean(format, WHOLE)}")
    WHOLE[format](store, run, stream)


def write_table(table: RunTable, format: str, stream: BinaryIO) -> None:
    """Write a table of runs to a stream in one of FORMATS.

    Raises UnknownNameError for another format, StoreError where a run is damaged, MissingExtraError, and ConfigError
    where the format cannot hold so many rows.
    """
    if format not in FORMATS:
        raise UnknownNameError(
            f"unknown format {format!r}: {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}"
        )
    FORMATS[format](table, stream)


def write_csv(store: Store, run: int = 0) -> None:
    """Write or replace the run directory's metrics.csv, whole or not at all."""
    lines = _csv(store.curves(run))
    with store_errors(store.path):
        replace_file(store.path / METRICS, lambda stream: stream.writelines(lines))


def write_summary(store: Store, columns: Sequence[tuple[str, Iterable[Any]]]) -> None:
    """Have summary.csv hold one row per run: it is written where it differs, whole or not at all."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(inert(name) for name, _ in columns)
    known = lru_cache(1 << 16)(inert)
    cells = ([known(cell) if type(cell) is str else cell for cell in column] for _, column in columns)
    writer.writerows(zip(*cells, strict=True))
    path, content = store.path / SUMMARY, text.getvalue().encode()
    with store_errors(store.path):
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, lambda stream: stream.writelines([content]))


def _write_csv(store: Store, run: int, stream: BinaryIO) -> None:
    stream.writelines(_csv(store.curves(run)))


def _csv(curves: Mapping[str, Array]) -> Iterator[bytes]:
    names = in_order(curves or FIRST_COLUMNS)
    yield heading(names)
    count = len(curves.get(STEP, ()))
    for start in range(0, count, ROWS):
        part = {name: values[start : start + ROWS] for name, values in curves.items()}
        yield lines(part, names, min(ROWS, count - start))


def _write_npz(store: Store, run: int, stream: BinaryIO) -> None:
    evaluations = {f"eval/{name}": values for name, values in store.evaluations(run).items()}
    params = {f"params/{name}": values for name, values in store.params(run).items()}
    whole = store.curves(run) | evaluations | params
    write_npz(stream, chain(whole.items(), snapshots_of(store, run)))


def _write_json(store: Store, run: int, stream: BinaryIO) -> None:
    record = store.run(run)
    document = {
        "run": run,
        "seed": record.seed,
        "config": record.config,
        "status": record.status,
        "reason": record.reason,
        "steps": record.steps,
        "summary": record.summary,
        "curves": dict(_lists(store.curves(run))),
        "evaluations": dict(_lists(store.evaluations(run))),
    }
    stream.write(json.dumps(document, allow_nan=False).encode())
    stream.write(b"\n")


def _lists(curves: dict[str, Array]) -> Iterator[tuple[str, list[Any]]]:
    for name, values in curves.items():
        numbers: list[Any] = values.tolist()
        for index in np.flatnonzero(~np.isfinite(values)):
            numbers[index] = None
        yield name, numbers


def _write_columns(table: RunTable, stream: BinaryIO) -> None:
    """Write the columns of a table as arrays of an npz archive: null is NaN in numbers and empty in text."""
    parts = list(table.parts())
    counts = [part.count for part in parts]
    columns = {}
    for name in table.heads:
        values = [table.typed(name, part.heads[name]) for part in parts]
        if None in values:
            number = table.kinds[name] in (int, float)
            values = [(np.nan if number else "") if each is None else each for each in values]
        columns[name] = np.repeat(np.array(values, None if values else float), counts)
    for name in table.figures:
        found = [part.figures.get(name) for part in parts]
        each = [
            np.full(n, np.nan) if array is None else array for array, n in zip(found, counts, strict=True)
        ]
        columns[name] = np.concatenate(each) if each else np.empty(0)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, column in columns.items():
            # A ZipInfo made by hand carries no clock and no permissions.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)


WHOLE: dict[str, Callable[[Store, int, BinaryIO], None]] = {
    "csv": _write_csv,
    "npz": _write_npz,
    "json": _write_json,
}
"""The formats of a run."""

FORMATS: dict[str, Callable[[RunTable, BinaryIO], None]] = {
    "csv": write_csv_table,
    "parquet": write_parquet,
    "json": write_json_rows,
    "npz": _write_columns,
    "xlsx": write_excel,
    "md": write_markdown,
    "tex": write_latex,
}
"""The formats of a table, which are the endings of its file too."""

BINARY = ("npz", "parquet", "xlsx")
PAGES = ("md", "tex")
"""The formats that hold a page, and no long tables."""
