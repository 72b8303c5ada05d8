"""Results in the formats of others: CSV, NPZ, JSON and Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import repeat
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.errors import UnknownNameError, did_you_mean, printable
from optrun.store.blobs import write_npz
from optrun.store.directory import replace_file
from optrun.store.parquet import write_parquet
from optrun.store.store import Store
from optrun.store.store_errors import store_errors
from optrun.store.types import FIRST_COLUMNS

PARQUET = "parquet"
METRICS, SUMMARY = "metrics.csv", "summary.csv"
ROWS = 1 << 13
"""Of a text, of which so many at a time are in memory."""


def export(store: Store, run: int, format: str, stream: BinaryIO) -> None:
    """Write one run to a stream.

        csv   the curves: columns step, loss, lr, then the other metrics as they were recorded
        npz   the curves by name, the evaluations as eval/…, the final parameters as params/…
        json  one object: run, seed, config, status, reason, steps, summary, curves, evaluations; NaN is null
        parquet  the curves: run, step, then the metrics as in csv

    Raises UnknownNameError for another format, StoreError where the run is missing or damaged, MissingExtraError.
    """
    if format not in FORMATS:
        raise UnknownNameError(f"unknown export format {format!r}.{did_you_mean(format, FORMATS)}")
    FORMATS[format](store, run, stream)


def export_all(
    store: Store, format: str, stream: BinaryIO, settings: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the curves of all runs in their order, as csv or parquet: run, step, loss, lr, then the other metrics.

    A metric that a run does not have is empty. The swept parameters follow, ``settings`` of each run.
    Raises StoreError where a run is damaged, MissingExtraError.
    """
    names: dict[str, None] = {}
    for run in range(store.size):
        names |= dict.fromkeys(store.columns(run))
    ordered = _in_order(names or dict.fromkeys(FIRST_COLUMNS))
    if format == PARQUET:
        write_parquet(store, range(store.size), ordered, stream, settings)
        return
    taken = {"run", *ordered}
    swept = list(dict.fromkeys(path for setting in settings for path in setting if path not in taken))
    stream.write(_heading(["run", *ordered, *swept]))
    for run in range(store.size):
        curves = store.curves(run)
        after = _cells([settings[run].get(path) for path in swept]) if swept else ()
        for start in range(0, len(curves.get("step", ())), ROWS):
            stream.write(_lines(curves, ordered, start, (str(run),), after))


def write_csv(store: Store, run: int = 0) -> None:
    """Write or replace the run directory's metrics.csv, whole or not at all."""
    lines = _csv(store.curves(run))
    with store_errors(store.path):
        replace_file(store.path / METRICS, lambda stream: stream.writelines(lines))


def write_summary(store: Store, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Have summary.csv hold one row per run: it is written where it differs, whole or not at all."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_inert, columns))
    writer.writerows([_inert(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    path, content = store.path / SUMMARY, text.getvalue().encode()
    with store_errors(store.path):
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, lambda stream: stream.writelines([content]))


def _write_csv(store: Store, run: int, stream: BinaryIO) -> None:
    stream.writelines(_csv(store.curves(run)))


def _csv(curves: Mapping[str, Array]) -> Iterator[bytes]:
    names = _in_order(curves or FIRST_COLUMNS)
    yield _heading(names)
    for start in range(0, len(curves.get("step", ())), ROWS):
        yield _lines(curves, names, start)


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (*FIRST_COLUMNS, name).index(name))


def _heading(names: list[str]) -> bytes:
    header = StringIO()
    csv.writer(header, lineterminator="\n").writerow([_inert(name) for name in names])
    return header.getvalue().encode()


def _lines(
    curves: Mapping[str, Array],
    names: list[str],
    start: int,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> bytes:
    count = len(curves["step"][start : start + ROWS])
    # repr is the shortest text that reads back as the same float.
    columns: list[Iterable[str]] = [
        map(repr, curves[name][start : start + ROWS].tolist()) if name in curves else repeat("", count)
        for name in names
    ]
    return "".join(f"{','.join((*before, *row, *after))}\n" for row in zip(*columns, strict=True)).encode()


def _cells(values: Sequence[Any]) -> list[str]:
    """Return values of a config as cells, quoted where that is needed; nothing stands for null."""
    cells = []
    for value in values:
        text = StringIO()
        plain = (
            value
            if value is None or isinstance(value, (str, float))
            else json.dumps(value, ensure_ascii=False)
        )
        csv.writer(text, lineterminator="").writerow([_inert(plain) if isinstance(plain, str) else plain])
        cells.append(text.getvalue() if value not in (None, "") else "")
    return cells


def _write_npz(store: Store, run: int, stream: BinaryIO) -> None:
    evaluations = {f"eval/{name}": values for name, values in store.evaluations(run).items()}
    params = {f"params/{name}": values for name, values in store.params(run).items()}
    write_npz(stream, store.curves(run) | evaluations | params)


def _write_parquet(store: Store, run: int, stream: BinaryIO) -> None:
    write_parquet(store, [store.run(run).run], _in_order(store.columns(run)), stream)


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


def _inert(name: str) -> str:
    """Return a heading of one line that no spreadsheet takes for a formula."""
    return printable(f"'{name}" if name.startswith(("=", "+", "-", "@")) else name)


FORMATS: dict[str, Callable[[Store, int, BinaryIO], None]] = {
    "csv": _write_csv,
    "npz": _write_npz,
    "json": _write_json,
    PARQUET: _write_parquet,
}
TABLES = ("csv", PARQUET)
"""The formats that hold many runs."""
