"""What is given for a table and is none, in words: other kinds of files, and titles above the names of columns."""

import re
from collections.abc import Sequence

from optrun.errors import counted
from optrun.problems.data.cells import is_number

_SPREADSHEET = "an Excel file or a ZIP archive: save the sheet as CSV, or unpack it"

KINDS = {
    b"PK\x03\x04": _SPREADSHEET,
    b"\xd0\xcf\x11\xe0": _SPREADSHEET,
    b"PAR1": "a Parquet file: let its name end in .parquet",
    b"\x1f\x8b": "a gzip file: let its name end in .gz",
}
"""What a binary file is by its first bytes, and what to do."""

SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")

_MARKUP = re.compile(r"\s*<(!doctype|html|head|body|table|\?xml)\b", re.IGNORECASE)
_JSON = re.compile(r"\s*(\{|\[\s*[\[{])")

MOST_TITLES = 5
"""Largest number of first lines that may be titles."""


def unread_kind(suffix: str) -> str:
    """Return the message about a file of a kind that is not read."""
    if suffix.lower() in SPREADSHEETS:
        return "a spreadsheet is not read: save the sheet as CSV"
    return (
        "known are .csv, .tsv, .txt, .data (also .gz), .parquet, .npz and MNIST's files (…-images-idx3-ubyte, also "
        ".gz): pandas writes what it has read by to_csv or to_parquet"
    )


def other_text(line: str) -> str:
    """Return what a text is whose first line is this one, if it surely is no table; empty if it may be one."""
    if _MARKUP.match(line):
        return (
            "a page of HTML or XML, no table: download the table itself, or read the page by pandas.read_html"
        )
    if _JSON.match(line):
        return "JSON, no table: save it as CSV, such as by pandas.read_json and to_csv"
    return ""


def titles(bare: Sequence[str], separators: str) -> str:
    """Return the message about first lines that have another number of cells than all below; empty without such.

    ``bare`` are the first lines of a text whose lines have not equally many cells, without what is in quotes.
    """
    for above in range(1, min(MOST_TITLES, len(bare) - 2) + 1):
        for each in separators:
            counts = {line.count(each) for line in bare[above:]}
            # Below a first line that is as wide as the rest, a short line is no title.
            others = {bare[0].count(each), bare[above - 1].count(each)}
            if len(counts) == 1 and each in bare[above] and not others & counts:
                width, first = bare[above].count(each) + 1, _shown(bare[0])
                if above == 1:
                    return (
                        f"the first line, {first}, has {counted(bare[0].count(each) + 1, 'cell')}, and each below has "
                        f"{width}: delete it if it is a title, complete it if it names the columns"
                    )
                return (
                    f"the first {above} lines, {first} …, have not the {width} cells of those below: delete titles, "
                    "so that the names of columns come first"
                )
    return ""


def padded_title(rows: Sequence[Sequence[str]]) -> str:
    """Return the message about a first line with one cell, above names, above a sample; empty if it is none.

    Of two columns of words the first line may be a sample, or a name, beside a missing cell.
    """
    if len(rows) < 3 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return ""
    first, second, third = ([cell.strip() for cell in row] for row in rows)
    are_names = all(cell and not is_number(cell) for cell in second) and len({*second}) == len(second)
    if first[0] and not any(first[1:]) and are_names and (len(first) > 2 or any(map(is_number, third))):
        return f"the first line is a title, {_shown(first[0])}: delete it, so that the names of columns come first"
    return ""


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
