"""Results as Parquet, which pandas, Polars, DuckDB and Spark read; needs PyArrow."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from optrun.errors import MissingExtraError, install
from optrun.store.run_table import GROUP_ROWS, RUN, Part, RunTable


def write_parquet(table: RunTable, stream: BinaryIO) -> None:
    """Write a table: run (int32), step (int64), figures (float64), null where a run has none, and swept parameters.

    A column of swept parameters has their type: bool, int64, double, or string. Raises MissingExtraError without
    PyArrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError as error:
        raise MissingExtraError(f"Parquet needs PyArrow: {install('pyarrow')}") from error
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    heads = {name: pa.int32() if name == RUN else types[table.kinds[name]] for name in table.heads}
    figures = {name: types[table.kinds.get(name, float)] for name in table.figures}
    schema = pa.schema([*heads.items(), *figures.items()])

    def rows(parts: Sequence[Part]) -> Any:
        index = np.repeat(np.arange(len(parts)), [part.count for part in parts])
        columns = [
            pa.array([table.typed(name, part.heads[name]) for part in parts], kind).take(index)
            for name, kind in heads.items()
        ]
        for name, kind in figures.items():
            found = [(part.figures.get(name), part.count) for part in parts]
            columns.append(
                pa.concat_arrays(
                    [pa.nulls(count, kind) if each is None else pa.array(each, kind) for each, count in found]
                )
            )
        return pa.table(columns, schema=schema)

    with pq.ParquetWriter(stream, schema) as writer:
        parts: list[Part] = []
        count = 0
        for part in table.parts(GROUP_ROWS):
            parts.append(part)
            count += part.count
            if count >= GROUP_ROWS:
                writer.write_table(rows(parts))
                parts, count = [], 0
        if parts:
            writer.write_table(rows(parts))
