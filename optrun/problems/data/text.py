"""Text tables: their encoding, their separator, and their cells, column by column."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, counted
from optrun.problems.data.cells import Cells, Decimal, is_code, numbers_in, shows_point
from optrun.problems.data.faults import MOST_LINES
from optrun.problems.data.header import names_of
from optrun.problems.data.no_table import KINDS, other_text, padded_title, titles
from optrun.problems.data.pandas_cells import cells_by_pandas

PANDAS_FROM = 1 << 20
"""From this many bytes on, pandas is faster, though its import takes half a second."""

AT_ONCE = 1 << 12
"""Number of lines that are converted together."""

SEPARATORS = "\t;|,"
"""In the order in which they are tried: a comma comes last, since it may be a decimal sign."""

SNIFFED = 20
"""Number of lines in which a separator is looked for."""

_BINARY = bytes([*range(9), *range(14, 27)])
"""Bytes that no text has."""
_UTF8 = re.compile(b"\xc3[\x80-\xbf]")
_SURELY_UTF8 = re.compile(b"\xc3[\x81\x84\x89\x8d\x8f\x90\x9c\x9d\x9f\xa1-\xaa\xac-\xba\xbc-\xbf]")
"""Ã, and no sign of punctuation, which may follow it in the encoding of Windows."""
_QUOTED = re.compile(r'"[^"]*"')
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*\Z', re.IGNORECASE)
"""With such a line Excel names the separator."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """The cells of a file, before it is known whether the first line has names."""

    first: Sequence[str]
    """The cells of the first line."""
    first_line: int
    """Its number."""
    cells: Sequence[Cells]
    """The columns below."""
    lines: Array
    """The line number of each row below, ``[N]``."""
    understood: Sequence[str] = ()
    """What is unusual about the file, in words: its encoding, its separator."""
    faults: Sequence[str] = ()
    """What is wrong with lines."""
    unit: str = "line"
    """What the lines are called."""
    has_names: bool = field(default=False)
    """Whether the first line surely has the names of columns."""
    decimal: Decimal | None = None
    """The decimal sign where numbers show none: a point between cells that commas separate."""


def error_in(path: Path, message: str, line: int | None = None) -> ConfigError:
    """Return the error for a file, or for a line of it."""
    where = f"{str(path)!r}, line {line}" if line else repr(str(path))
    return ConfigError(f"data: {where}: {message}", field="data")


def read_text(path: Path, content: bytes, texts: Collection[str] = ()) -> RawTable:
    """Return the cells of a text table, with its separator, one of ``,;|``, tab and blanks.

    Columns of these names, or numbers such as ``column 3``, remain texts.

    Raises ConfigError if it is no text, or has no line.
    """
    encoding = _encoding(path, content)
    head, skipped, separator = _head(content, encoding)
    if not head:
        raise error_in(path, "no line to read")
    if other := other_text(head[0]):
        raise error_in(path, other)
    source = _Source(path, content, encoding, separator, skipped)
    rows = source.rows()
    first_line, first = next(rows, (0, []))
    if not first:  # its lines are of quotes with nothing between them
        raise error_in(path, "no line to read")
    if not any(map(str.strip, first)):
        raise error_in(
            path, "all cells are empty: delete it, so that the names of columns come first", first_line
        )
    filled = (cells for _, cells in rows if any(map(str.strip, cells)))
    if title := padded_title([first, *islice(filled, 2)]):
        raise error_in(path, title)
    width = len(first)
    first = [cell.strip() for cell in first]
    kept = [i for i, name in enumerate(names_of(first)) if name in texts or f"column {i + 1}" in texts]
    found = None
    if len(content) >= PANDAS_FROM and source.separator != " ":
        found = cells_by_pandas(content, encoding, separator, skipped=first_line, width=width, texts=kept)
    if found is None:
        cells, lines, faults = _by_csv(source, width, kept)
    else:
        cells, lines, faults = found, np.arange(first_line + 1, first_line + 1 + found[0].size), []
    if (faults or width == 1) and (title := titles(_bare(head), SEPARATORS)):
        raise error_in(path, title)
    understood = [f"encoding {encoding}"] if encoding not in ("utf-8", "utf-8-sig") else []
    if separator != ",":
        understood.append(f"separated by {_named(separator)}")
    decimal: Decimal | None = "." if separator == "," and width > 1 else None
    return RawTable(first, first_line, cells, lines, understood, faults, decimal=decimal)


def _encoding(path: Path, content: bytes) -> str:
    """Return the encoding: UTF-8, UTF-16 with its mark, or else that of Windows, which also is Latin-1."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        tried: Sequence[str] = ["utf-16"]
    elif len(content.translate(None, _BINARY)) < len(content):
        tried = []
    elif content.isascii():
        return "utf-8"
    else:
        tried = ["utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8", "cp1252", "latin-1"]
    for encoding in tried:
        with suppress(UnicodeDecodeError):
            content.decode(encoding)
            if not encoding.startswith("utf") and (line := _line_of_utf8(content)):
                other = _other_line(content)
                raise error_in(
                    path, f"UTF-8 in line {line}, and another encoding in line {other}: save it in one"
                )
            return encoding
    kinds = [f", but {kind}" for start, kind in KINDS.items() if content.startswith(start)]
    raise error_in(path, f"not a text file{kinds[0] if kinds else ': it has bytes that no text has'}")


def _line_of_utf8(content: bytes) -> int:
    """Return the number of the first line that has a letter such as ö in UTF-8; 0 without one.

    In the encoding of Windows its bytes are Ã and a sign such as ¶. A word that ends in Ã may stand before a quote or a
    dash, as in «MANHÃ», but not in a line that is UTF-8.
    """
    for number, line in enumerate(content.splitlines(), 1):
        if _SURELY_UTF8.search(line) or (_UTF8.search(line) and not _other_line(line)):
            return number
    return 0


def _other_line(content: bytes) -> int:
    """Return the number of the first line that is not UTF-8; 0 without one."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return len(content[: error.start + 1].splitlines())
    return 0


def _head(content: bytes, encoding: str) -> tuple[list[str], int, str]:
    """Return the first lines that are not blank, how many lines come before them, and the separator."""
    head: list[str] = []
    skipped, named = 0, ""
    for line in io.TextIOWrapper(io.BytesIO(content), encoding, newline=None):
        if not head and (not line.strip() or _SEP_LINE.match(line.strip())):
            named = named or (_SEP_LINE.match(line.strip()) or ["", ""])[1]
            skipped += 1
        elif line.strip():
            head.append(line)
        if len(head) == SNIFFED:
            break
    return head, skipped, named or _separator(head)


def _bare(head: Sequence[str]) -> list[str]:
    return [_QUOTED.sub("", line).strip("\n\r") for line in head]


def _separator(head: Sequence[str]) -> str:
    """Return the separator outside of quotes: one that is as often in each line, else the most frequent one."""
    bare = _bare(head)
    for each in SEPARATORS:
        if len({line.count(each) for line in bare}) == 1 and each in bare[0]:
            return each
    if not bare:
        return ","
    separator = max(",;\t|", key=bare[0].count)
    return " " if separator not in bare[0] and " " in bare[0].strip() else separator


@dataclass(frozen=True)
class _Source:
    """The text of a table, which can be gone through again."""

    path: Path
    content: bytes
    encoding: str
    separator: str
    skipped: int

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not blank, with the number of its last line; ConfigError for a stray quote."""
        lines: Iterator[str] = io.TextIOWrapper(io.BytesIO(self.content), self.encoding, newline="")
        lines = chain([""] * self.skipped, islice(lines, self.skipped, None))
        is_blank = self.separator == " "
        if is_blank:
            lines = (f"{line.strip()}\n" for line in lines)
        reader = csv.reader(lines, delimiter=self.separator, strict=True, skipinitialspace=True)
        ended = 0
        try:
            for cells in reader:
                ended = reader.line_num
                if cells and (len(cells) > 1 or cells[0].strip()):
                    yield reader.line_num, cells
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise error_in(self.path, "a quote opens in this row and never closes", ended + 1) from None
            begun = f", in the row that begins in line {ended + 1}" * (reader.line_num > ended + 1)
            raise error_in(self.path, f"{error}{begun}", reader.line_num) from None


def _by_csv(source: _Source, width: int, texts: Sequence[int]) -> tuple[list[Cells], Array, list[str]]:
    """Return the columns below the first line, their line numbers, and what is wrong with lines."""
    lines: list[int] = []
    ragged: list[tuple[int, int]] = []
    strange: dict[str, list[int]] = {}

    def chunks(note: bool) -> Iterator[list[tuple[str, ...]]]:
        rows = islice(source.rows(), 1, None)
        while chunk := list(islice(rows, AT_ONCE)):
            if note:
                lines.extend(line for line, cells in chunk if len(cells) == width)
                for line, cells in chunk:
                    if len(cells) != width:
                        ragged.append((line, len(cells)))
                        for each in SEPARATORS:
                            if each != source.separator and any(each in cell for cell in cells):
                                strange.setdefault(each, []).append(line)
            even = [cells for _, cells in chunk if len(cells) == width]
            yield list(zip(*even, strict=True)) if even else [()] * width

    numbers: dict[int, list[Array]] = {i: [] for i in range(width) if i not in texts}
    coded: set[int] = set()
    pointed: set[int] = set()
    for columns in chunks(True):
        for i in list(numbers):
            values = numbers_in(columns[i])
            if values is None:
                del numbers[i]
            else:
                numbers[i].append(values)
                if values.dtype.kind == "i" and any(map(is_code, columns[i])):
                    coded.add(i)
                if values.dtype.kind == "f" and i not in pointed and shows_point(columns[i]):
                    pointed.add(i)
    # Texts are kept of codes, which are categories if a user says so, and of 1.234, whose point may separate thousands,
    # unless other numbers show that it does not.
    shows = bool(pointed & numbers.keys())
    for i in [i for i, parts in numbers.items() if parts]:
        if i in coded if _joined(numbers[i]).dtype.kind == "i" else not shows:
            del numbers[i]
    places: dict[int, dict[str, int]] = {i: {} for i in range(width) if i not in numbers}
    codes: dict[int, list[Array]] = {i: [] for i in places}
    for columns in chunks(False) if places else ():
        for i, known in places.items():
            found = [known.setdefault(cell, len(known)) for cell in columns[i]]
            codes[i].append(np.array(found, np.int32))
    faults = []
    if len(ragged) > 1 and not lines and {count for _, count in ragged} == {width + 1}:
        faults.append(
            f"each line has one cell more than the {width} of the first, which is to name all columns; R's write.table "
            "leaves out the names of rows with row.names = FALSE"
        )
    elif ragged:
        named = ", ".join(f"{line} ({count})" for line, count in ragged[:MOST_LINES])
        more = ", …" if len(ragged) > MOST_LINES else ""
        faults.append(
            f"{counted(len(ragged), 'line')} with another number of cells than the {width} of the first: "
            f"line{'s' * (len(ragged) > 1)} {named}{more}"
            + "".join(
                f"; there is {_named(each)} in line{'s' * (len(found) > 1)} {', '.join(map(str, found[:MOST_LINES]))}"
                for each, found in strange.items()
            )
        )
    cells = [
        Cells(numbers=_joined(numbers[i]))
        if i in numbers
        else Cells(np.concatenate(codes[i] or [np.zeros(0, np.int32)]), list(places[i]))
        for i in range(width)
    ]
    return cells, np.array(lines, np.int64), faults


def _named(separator: str) -> str:
    return {"\t": "tabs", " ": "blanks"}.get(separator, separator)


def _joined(parts: Sequence[Array]) -> Array:
    # Whole numbers are integers only if all of them are.
    return np.concatenate(parts) if parts else np.zeros(0)
