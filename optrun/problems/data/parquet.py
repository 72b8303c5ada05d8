"""Parquet files, read by PyArrow."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optrun.errors import ConfigError, MissingExtraError, install
from optrun.problems.data.cells import MOST_DIGITS, Cells, is_code
from optrun.problems.data.columns import number_text
from optrun.problems.data.text import RawTable, error_in
from optrun.regular_files import open_regular

MOST_CELLS = 1 << 27
"""Largest number of cells, 1 GiB of numbers: a small file may say that it has any number of them."""

_INDEX = re.compile(r"__index_level_\d+__\Z")
"""Name under which pandas writes an index."""


def read_parquet(path: Path) -> RawTable:
    """Return the cells of a Parquet file; an index that pandas has written is left out.

    Raises ConfigError if the file is damaged or too large, and MissingExtraError without PyArrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(f"a Parquet file needs PyArrow: {install('optrun[data]')}") from error
    try:
        with open_regular(path) as file:
            source = parquet.ParquetFile(file)
            rows, columns = source.metadata.num_rows, source.metadata.num_columns
            if rows * columns > MOST_CELLS:
                raise error_in(
                    path, f"{rows:,} rows × {columns:,} columns are more than {MOST_CELLS:,} cells"
                )
            table = source.read()
        found = [
            (name, _cells(pyarrow, column))
            for name, column in zip(table.column_names, table.columns, strict=True)
            if not _INDEX.match(name)
        ]
    except ConfigError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise error_in(path, f"not a readable Parquet file ({' '.join(str(error).split())[:200]})") from None
    return RawTable(
        [name for name, _ in found],
        0,
        [cells for _, cells in found],
        np.arange(1, rows + 1),
        unit="row",
        has_names=True,
    )


def _cells(pyarrow: Any, column: Any) -> Cells:
    types = pyarrow.types
    if types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type):
        is_whole = types.is_integer(column.type)
        if is_whole and not column.null_count and column.type != pyarrow.uint64():
            return Cells(numbers=column.to_numpy().astype(np.int64))
        numbers = column.cast(pyarrow.float64(), safe=False).to_numpy()
        is_whole = is_whole and not (np.abs(numbers) >= 10**MOST_DIGITS).any()
        if not np.isinf(numbers).any():
            return Cells(numbers=numbers, is_whole=is_whole)
        distinct, codes = np.unique(numbers, return_inverse=True)
        return Cells(codes.astype(np.int32), [number_text(number) for number in distinct.tolist()])
    known: dict[str, int] = {}
    return Cells(
        np.array([known.setdefault(text, len(known)) for text in _texts(pyarrow, column)], np.int32),
        list(known),
        are_words=any(map(is_code, known)),
    )


def _texts(pyarrow: Any, column: Any) -> Iterator[str]:
    """Yield cells as texts: a date begins with its year, a list is what Python shows."""
    try:
        column = column.cast(pyarrow.string())
    except pyarrow.ArrowException:
        yield from ("" if cell is None else str(cell) for cell in column.to_pylist())
    else:
        yield from (cell or "" for cell in column.to_pylist())
