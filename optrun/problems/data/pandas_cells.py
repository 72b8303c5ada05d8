"""Cells of large text tables, read by pandas where that gives what the csv module does."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.problems.data.cells import MOST_DIGITS, Cells, numbers_in, shows_point

AT_FIRST = 100
"""Number of lines that are read as texts to see whether columns have decimal points."""

AT_ONCE = 1 << 16
"""Bytes that are looked at together."""


def cells_by_pandas(
    content: bytes, encoding: str, separator: str, *, skipped: int, width: int, texts: Sequence[int] = ()
) -> list[Cells] | None:
    """Return the columns below the first ``skipped`` lines, a tenth of the time that the csv module takes.

    The columns ``texts`` remain texts.

    None without pandas, for UTF-16, for a single column, where blanks are a line without a cell, and wherever pandas
    may read something else than the csv module.
    """
    if encoding == "utf-16" or width == 1:
        return None
    try:
        import pandas
    except ImportError:
        return None
    # Before version 3.1 only this parser rounded as Python does.
    exact: dict[str, Any] = {}
    if tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1):
        exact["float_precision"] = "round_trip"

    def read(texts: Sequence[int], **chosen: Any) -> Any:
        return pandas.read_csv(
            io.BytesIO(content),
            sep=separator,
            encoding=encoding,
            header=None,
            names=range(width),
            skiprows=skipped,
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            dtype=dict.fromkeys(texts, str),
            on_bad_lines="error",
            **exact,
            **chosen,
        )

    try:
        frame = read(texts)
    except (ValueError, OverflowError):  # a ParserError is a ValueError
        return None
    if frame.empty:
        return None
    # No copies from here on: a large file takes as long to copy as to look through.
    begin, end = 0, len(content)
    for _ in range(skipped):
        begin = content.find(b"\n", begin) + 1
    while content[end - 1] in b"\r\n":
        end -= 1
    # Other counts of lines: blank ones, or line breaks within cells.
    if len(frame) != content.count(b"\n", begin, end) + 1:
        return None
    # Quotes within a cell, or returns without a new line, which the csv module reads differently.
    if b"\r" in content and content.count(b"\r") != content.count(b"\r\n"):
        return None
    sign = separator.encode()
    if content.find(b'"', begin, end) < 0:
        separators = content.count(sign, begin, end)
        line_end = content.find(b"\n", begin, end)
        in_first = content.count(sign, begin, end if line_end < 0 else line_end)
    else:
        ends = b"[\r\n" + re.escape(sign) + b"]"
        lines = b"\n" + content[begin:end] + b"\n"
        bare = re.sub(b"(?<=" + ends + b')"[^"]*"(?=' + ends + b")", b"", lines)
        if b'"' in bare:
            return None
        separators, in_first = bare.count(sign), bare.count(sign, 0, bare.index(b"\n", 1))
    # pandas takes the first cells for an index if the first line is longer, refuses longer ones below it, and fills up
    # shorter ones.
    if in_first != width - 1 or separators != len(frame) * (width - 1):
        return None
    columns = {i: frame[i] for i in range(width)}
    if odd := [i for i, each in columns.items() if _is_another_as_text(each)]:
        columns |= dict(read(odd, usecols=odd).items())
    cells = [_cells(pandas, each, are_texts=i in texts) for i, each in columns.items()]
    known = [each for each in cells if each is not None]
    if len(known) < width:
        return None
    whole = [i for i, each in enumerate(known) if each.numbers is not None and each.numbers.dtype.kind == "i"]
    if whole and _may_have_codes(content, begin, separator):
        again = read(whole, usecols=whole)
        for i in whole:
            as_texts = _cells(pandas, again[i])
            if as_texts is not None and as_texts.code:
                known[i] = as_texts
    # Also of 1.234, whose point may separate thousands, the texts are kept. Most tables show by their first lines that
    # theirs are no such points.
    real = [i for i, each in enumerate(known) if each.numbers is not None and each.numbers.dtype.kind == "f"]
    for most in (AT_FIRST, None):
        if not real or not all(_may_be_thousands(known[i].numbers) for i in real):
            return known
        again = read(real, usecols=real, nrows=most)
        if any(shows_point(again[i].tolist()) for i in real):
            return known
    for i in real:
        known[i] = _cells(pandas, again[i]) or known[i]
    return known


def _may_be_thousands(numbers: Array | None) -> bool:
    """Whether the fractions among numbers ``[N]`` may be texts such as 1.234, all of them."""
    assert numbers is not None
    sizes = np.abs(numbers[numbers != np.floor(numbers)])
    return bool(((sizes >= 1) & (sizes < 1000) & (np.round(sizes * 1000) / 1000 == sizes)).all())


def _may_have_codes(content: bytes, begin: int, separator: str) -> bool:
    """Whether a digit may follow a 0 that begins a cell: parts are looked at that the caches of a processor hold."""
    ends = np.zeros(256, bool)
    ends[list(b'"' + separator.encode())] = ends[: ord(" ") + 1] = True
    characters = np.frombuffer(content, np.uint8)
    if begin == 0:
        characters = np.concatenate([np.frombuffer(b"\n", np.uint8), characters])
    for start in range(max(begin - 1, 0), len(characters) - 2, AT_ONCE):
        part = characters[start : start + AT_ONCE + 2]
        found = part[1:-1] == ord("0")
        found &= part[2:] - np.uint8(ord("0")) < 10
        found &= part[:-2] - np.uint8(ord(".")) > ord("9") - ord(".")  # neither a digit nor a point
        if found.any() and ends[part[:-2][found]].any():
            return True
    return False


def _is_another_as_text(series: Any) -> bool:
    """Whether texts tell more than values: true and TRUE may be two words, and long integers have a real zero."""
    kind = series.dtype.kind
    return kind in "bu" or (
        kind == "i" and np.abs(series.to_numpy().astype(np.float64)).max() >= 10**MOST_DIGITS
    )


def _cells(pandas: Any, series: Any, *, are_texts: bool = True) -> Cells | None:
    if series.dtype.kind in "if":
        values = series.to_numpy()
    else:
        codes, texts = pandas.factorize(series)
        texts = texts.tolist()
        if not all(type(text) is str for text in texts):
            return None
        numbers = None if are_texts else numbers_in(texts)
        if numbers is None:
            return Cells(codes.astype(np.int32), texts)
        values = numbers[codes]
    return Cells(numbers=values) if np.isfinite(values).all() else None
