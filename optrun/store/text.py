"""Results as text: CSV, JSON, and tables of a page in Markdown and LaTeX."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from io import StringIO
from itertools import repeat
from math import inf, isfinite
from typing import Any, BinaryIO, cast

from optrun.arrays import Array
from optrun.errors import printable
from optrun.store.run_table import RunTable

ROWS = 1 << 13
"""Of a text, of which so many at a time are in memory."""

MARKDOWN_SPECIAL = {each: f"\\{each}" for each in "\\`*_|<>[]"}
LATEX_SPECIAL = {each: f"\\{each}" for each in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def write_csv_table(table: RunTable, stream: BinaryIO) -> None:
    """Write a table as CSV: the shortest numbers that read back as the same floats; nothing stands for null."""
    stream.write(heading(table.columns))
    if table.single is not None:
        cells: list[Iterable[str]] = [map(_csv_cell, values) for values in table.heads.values()]
        cells += [
            ("" if value is None else repr(float(value)) for value in values)
            for values in table.single.values()
        ]
        stream.writelines(f"{','.join(row)}\n".encode() for row in zip(*cells, strict=True))
        return
    for part in table.parts(ROWS):
        before = [_csv_cell(value) for value in part.heads.values()]
        stream.write(lines(part.figures, table.figures, part.count, before))


def write_json_rows(table: RunTable, stream: BinaryIO) -> None:
    """Write a table as a list of one JSON object for each row; null is a figure that is lacking or not finite."""
    before = "[\n"
    for part in table.parts(ROWS):
        heads = {name: None if value in (inf, -inf) else value for name, value in part.heads.items()}
        columns = [_finite(part.figures.get(name), part.count) for name in table.figures]
        for row in zip(*columns, strict=True) if columns else repeat((), part.count):
            document = {**heads, **dict(zip(table.figures, row, strict=True))}
            text = json.dumps(document, ensure_ascii=False, allow_nan=False)
            stream.write(f"{before}{text}".encode())
            before = ",\n"
    stream.write(b"\n]\n" if before == ",\n" else b"[]\n")


def write_markdown(table: RunTable, stream: BinaryIO) -> None:
    """Write a table for a page in Markdown, its figures with six digits."""
    (head, *body), right = _page(table)
    rule = ["---:" if each else "---" for each in right]
    escaped = [[_escaped(cell, MARKDOWN_SPECIAL) for cell in row] for row in (head, *body)]
    rows = [escaped[0], rule, *escaped[1:]]
    stream.write("".join(f"| {' | '.join(row)} |\n" for row in rows).encode())


def write_latex(table: RunTable, stream: BinaryIO) -> None:
    """Write a table for LaTeX's booktabs, its figures with six digits."""
    rows, right = _page(table)
    kinds = "".join("r" if each else "l" for each in right)
    head, *body = (" & ".join(_escaped(cell, LATEX_SPECIAL) for cell in row) + " \\\\\n" for row in rows)
    text = ["% needs \\usepackage{booktabs}\n", f"\\begin{{tabular}}{{{kinds}}}\n\\toprule\n"]
    text += [head, "\\midrule\n", *body, "\\bottomrule\n\\end{tabular}\n"]
    stream.write("".join(text).encode())


def heading(names: Sequence[str]) -> bytes:
    """Return the first line of a CSV."""
    header = StringIO()
    csv.writer(header, lineterminator="\n").writerow([inert(name) for name in names])
    return header.getvalue().encode()


def lines(
    columns: Mapping[str, Array], names: Sequence[str], count: int, before: Sequence[str] = ()
) -> bytes:
    """Return rows of a CSV: the cells ``before``, equal in all rows, then ``count`` cells of each column."""
    cells = [_csv_cells(columns[name]) if name in columns else repeat("", count) for name in names]
    rows: Iterable[tuple[str, ...]] = zip(*cells, strict=True) if cells else repeat((), count)
    return "".join(f"{','.join((*before, *row))}\n" for row in rows).encode()


def inert(text: str) -> str:
    """Return a cell of one line that no spreadsheet takes for a formula."""
    return printable(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)


def _csv_cells(values: Array) -> Iterable[str]:
    if values.dtype.kind != "U":
        return map(repr, values.tolist())  # the shortest text that reads back as the same float
    words = values.tolist()
    cells = {word: _csv_cell(word) for word in set(words)}
    return map(cells.__getitem__, words)


def _csv_cell(value: Any) -> str:
    """Return a value of a config as a cell, quoted where that is needed; nothing stands for null."""
    if type(value) in (int, float):
        return repr(value)
    if value in (None, ""):
        return ""
    return _quoted(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@lru_cache(1024)
def _quoted(plain: str) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="").writerow([inert(plain)])
    return text.getvalue()


def _finite(values: Array | None, count: int) -> Iterable[Any]:
    if values is None:
        return repeat(None, count)
    if values.dtype.kind != "f":
        return cast(list[Any], values.tolist())
    return (value if isfinite(value) else None for value in values.tolist())


def _page(table: RunTable) -> tuple[list[list[str]], list[bool]]:
    """Return the rows of a table, its heading first, and which columns are numbers; empty columns are left out."""
    cells: dict[str, list[str]] = {name: [] for name in table.columns}
    for part in table.parts():
        for name, value in part.heads.items():
            cells[name] += [_short(value)] * part.count
        for name in table.figures:
            found = part.figures.get(name)
            cells[name] += [""] * part.count if found is None else [f"{each:.6g}" for each in found.tolist()]
    shown = {name: column for name, column in cells.items() if any(column)} or cells
    right = [table.kinds.get(name, float) in (int, float) for name in shown]
    return [list(shown), *map(list, zip(*shown.values(), strict=True))], right


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _escaped(text: str, special: Mapping[str, str]) -> str:
    return "".join(special.get(letter, letter) for letter in printable(text))
