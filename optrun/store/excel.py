"""A table as a workbook of a spreadsheet; needs openpyxl."""

from collections.abc import Iterator
from itertools import repeat
from math import isfinite
from typing import Any, BinaryIO

from optrun.errors import ConfigError, MissingExtraError, install
from optrun.store.run_table import RunTable
from optrun.store.text import inert

MOST_ROWS = 1_048_576
"""The rows of a sheet, its heading among them."""

MOST_EXACT = 1 << 53
"""The largest integer up to which a spreadsheet, whose numbers are floats, has all; a larger one is text."""

NOT_FINITE = "#NUM!"


def write_excel(table: RunTable, stream: BinaryIO) -> None:
    """Write a table as the only sheet of a workbook; NaN and infinities are the error value ``#NUM!``, null is empty.

    Numbers have the 16 digits that openpyxl writes. Raises MissingExtraError without openpyxl, and ConfigError for more
    rows than a sheet has.
    """
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise MissingExtraError(f"xlsx needs openpyxl: {install('openpyxl')}") from error
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet(table.what)
    sheet.freeze_panes = "A2"
    try:
        for row in _rows(table):
            sheet.append(row)
    except BaseException:
        sheet.close()  # openpyxl has a file open until then
        raise
    workbook.save(stream)


def _rows(table: RunTable) -> Iterator[list[Any]]:
    yield [inert(name) for name in table.columns]
    count = 1
    for part in table.parts():
        count += part.count
        if count > MOST_ROWS:
            raise ConfigError(
                f"a sheet of xlsx has {MOST_ROWS:,} rows, and these {table.what} are more: use parquet or csv"
            )
        before = [_cell(table.typed(name, value)) for name, value in part.heads.items()]
        columns = [
            map(_cell, part.figures[name].tolist()) if name in part.figures else repeat(None, part.count)
            for name in table.figures
        ]
        for row in zip(*columns, strict=True) if columns else repeat((), part.count):
            yield [*before, *row]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, int) and abs(value) > MOST_EXACT:
        return str(value)
    return NOT_FINITE if isinstance(value, float) and not isfinite(value) else value
