"""Results as Parquet, which pandas, Polars, DuckDB and Spark read; needs PyArrow."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from optrun.arrays import Array
from optrun.errors import MissingExtraError, install
from optrun.store.curves import STEP
from optrun.store.store import Store

RUN = "run"
GROUP_ROWS = 1 << 17
"""Rows of a row group, of which one at a time is in memory."""


def write_parquet(
    store: Store,
    runs: Sequence[int],
    metrics: Sequence[str],
    stream: BinaryIO,
    settings: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the curves of runs: run (int32), step (int64), and the metrics (float64), null where a run has none.

    Columns with the swept parameters follow, ``settings`` by run. Raises MissingExtraError without PyArrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError as error:
        raise MissingExtraError(f"Parquet needs PyArrow: {install('pyarrow')}") from error
    names = [name for name in metrics if name != STEP]
    taken = {RUN, *metrics}
    swept = dict.fromkeys(path for setting in settings for path in setting if path not in taken)
    kinds = {path: _kind([setting[path] for setting in settings if path in setting]) for path in swept}
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema(
        [(RUN, pa.int32()), (STEP, pa.int64())]
        + [(name, pa.float64()) for name in names]
        + [(path, types[kind]) for path, kind in kinds.items()]
    )

    def table(run: int, curves: Mapping[str, Array], start: int) -> Any:
        steps = curves[STEP][start : start + GROUP_ROWS]
        rows = len(steps)
        columns = [pa.repeat(pa.scalar(run, pa.int32()), rows), pa.array(steps)]
        for name in names:
            values = curves.get(name)
            columns.append(
                pa.nulls(rows, pa.float64()) if values is None else pa.array(values[start : start + rows])
            )
        for path, kind in kinds.items():
            value = settings[run].get(path)
            columns.append(pa.repeat(pa.scalar(_as(kind, value), types[kind]), rows))
        return pa.table(columns, schema=schema)

    with pq.ParquetWriter(stream, schema) as writer:
        tables: list[Any] = []
        rows = 0
        for run in runs:
            curves = store.curves(run)
            for start in range(0, len(curves.get(STEP, ())), GROUP_ROWS):
                tables.append(table(run, curves, start))
                rows += len(tables[-1])
                if rows >= GROUP_ROWS:
                    writer.write_table(pa.concat_tables(tables))
                    tables, rows = [], 0
        if tables:
            writer.write_table(pa.concat_tables(tables))


def _kind(values: Sequence[Any]) -> type:
    """Return the type of a column that holds some values of a config; text for what is no number."""
    found = {type(value) for value in values if value is not None}
    if len(found) == 1 and found <= {bool, int, float}:
        return found.pop()
    return float if found == {int, float} else str


def _as(kind: type, value: Any) -> Any:
    if value is None or isinstance(value, kind):
        return value
    return float(value) if kind is float else json.dumps(value, ensure_ascii=False)
