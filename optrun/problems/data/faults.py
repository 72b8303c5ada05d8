"""What is wrong with columns of a table, in words: where, how often, and which option mends it."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.errors import counted
from optrun.problems.data.cells import (
    Decimal,
    has_comma,
    has_grouping_points,
    has_point,
    is_ambiguous,
    is_number,
)
from optrun.problems.data.columns import DataColumn, Table
from optrun.problems.data.dataset import MANY, listed

MOST_CATEGORIES = 100
"""Largest number of words that are taken as categories unless a user says so."""

FEW = 10
"""Up to so many words may each occur only once or twice."""

MOST_LINES = 5
"""Largest number of lines and cells that a message lists."""

_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2}([T ]\d.*)?)?\Z"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})( .*)?\Z"
    r"|\d{1,2}[-. ]{1,2}[^\W\d_]{3,9}\.?[-, ]+\d{2,4}\Z|[^\W\d_]{3,9}\.? \d{1,2},? \d{4}\Z"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\Z"
)


_UNIT = re.compile(r"[-+]?([$€£¥]\s?[-+]?[\d.,]+|[\d.,]+\s?[%€$£¥])\Z")
_LETTERS = re.compile(r"[-+]?\d([\d.,]*\d)?\s?([^\s\d.,+-]\S{0,5})\Z")
_KNOWN_UNIT = re.compile(
    r"[ghklmst°KL]\Z|(?i:[mck][gml]|lbs?|oz|in|inch|ft|yd|mi|ms|sec|min|hrs?|hours|days?|weeks|months|yrs?|years"
    r"|[kmgt]b|[kmg]?hz|k[wv]|b?hp|cc|km/h|mph|°[cf]|usd|eur|gbp)\Z"
)


def feature_faults(
    column: DataColumn,
    label: str,
    table: Table,
    *,
    missing: str,
    absent: Sequence[str],
    categories: Sequence[str],
    is_auto: bool,
    decimal: Decimal | None,
) -> Iterator[str]:
    """Yield what is wrong with a column as a feature; with ``is_auto`` all of words are categories, too.

    ``absent`` are its words for missing cells.
    """
    lacks = column.missing
    if lacks.all():
        yield f"{label} is empty{_count_as_missing(absent)}: drop it"
        return
    if column.words is not None and column.name not in categories:
        yield from _word_faults(column, label, table, is_auto=is_auto, decimal=decimal)
    if lacks.any() and missing == "error":
        yield (
            f"{_lacking(label, column, table, absent)}: missing: median fills them in; mode, indicator and drop are "
            f"others{_renamed(column, absent)}"
        )


def _lacking(label: str, column: DataColumn, table: Table, absent: Sequence[str]) -> str:
    lacks = column.missing
    cells = f"{lacks.sum():,} of {counted(len(column), 'cell')} ({places(table, lacks)})"
    return f"{label} lacks {cells}{_count_as_missing(absent)}"


def _count_as_missing(absent: Sequence[str]) -> str:
    count = "counts" if len(absent) == 1 else "count"
    return f", where {listed([*map(repr, absent)])} {count} as missing" if absent else ""


def _renamed(column: DataColumn, absent: Sequence[str]) -> str:
    if column.words is None or not absent:
        return ""
    return f"; if {absent[0]!r} is a word like the others, write another one for it in the file"


def _word_faults(
    column: DataColumn, label: str, table: Table, *, is_auto: bool, decimal: Decimal | None
) -> Iterator[str]:
    words, counts = words_of(column)
    cells, first = int(counts.sum()), f"{shortened(words[0])!r} ({place_of(column, words[0], table)})"
    if share(counts, map(_is_date, words)) > 0.8:
        yield (
            f"{label} holds dates or times, such as {first}: drop it, or make numbers of it with pandas, such as "
            ".dt.year"
        )
    elif share(counts, map(_has_unit, words)) > 0.8 or _have_one_unit(words, counts):
        yield (
            f"{label} holds numbers with a unit, such as {first}: remove the unit, drop the column, or list it under "
            "categories"
        )
    elif decimal is None and (unclear := _unclear(words)):
        yield f"{label}: {unclear}"
    elif decimal != "," and (word := next(filter(has_grouping_points, words), "")):
        yield f"{label}: the points of {word!r} separate thousands, those of others are decimal signs: make them alike"
    elif share(counts, map(_is_like_number, words)) > 0 and (
        odd := [word for word in words if not is_number(word)]
    ):
        named = ", ".join(
            f"{shortened(word)!r} ({place_of(column, word, table)})" for word in odd[:MOST_LINES]
        )
        count = sum(int(count) for word, count in zip(words, counts, strict=True) if not is_number(word))
        more = ", …" if len(odd) > MOST_LINES else ""
        are = "is no finite number" if count == 1 else "are no finite numbers"
        yield (
            f"{label}: {count:,} of {counted(cells, 'cell')} {are}: {named}{more}: correct or empty them, drop the "
            "column, or list it under categories"
        )
    elif not is_auto:
        yield (
            f"{label} holds words, such as {first}: list it under categories, too, add auto there for all columns of "
            "words, or drop it"
        )
    elif len(words) > MOST_CATEGORIES or 2 < len(words) == cells or len(words) > max(FEW, cells / 2):
        yield (
            f"{label} holds {len(words):,} different words in {counted(cells, 'cell')}, such as {first}, like names or "
            "free text: drop it, or list it under categories"
        )


def _unclear(words: Sequence[str]) -> str:
    """Return what is unclear about words that are numbers of an unknown decimal sign; empty if nothing is."""
    comma, point = next(filter(has_comma, words), ""), next(filter(has_point, words), "")
    if comma and point:
        return f"{comma!r} has a comma, and {point!r} a decimal point: make them alike"
    if word := comma or next(filter(is_ambiguous, words), ""):
        sign = "comma" if comma else "point"
        return f"the {sign} of {word!r} may be a decimal sign or separate thousands: set decimal: ',' or '.'"
    return ""


def inexact(column: DataColumn, label: str) -> list[str]:
    """Return what is wrong with a column of numbers that are told apart, as classes and groups are."""
    if column.words is not None or column.values.dtype.kind != "f":
        return []
    large = np.abs(column.values) >= 2**53
    if not large.any():
        return []
    return [
        f"{label} has whole numbers such as {column.values[large][0]:.17g}, too long to be exact, so that different "
        "ones may be equal: write a letter before each"
    ]


def target_faults(
    column: DataColumn,
    label: str,
    table: Table,
    *,
    missing: str,
    absent: Sequence[str],
    is_category: bool,
    decimal: Decimal | None,
) -> Iterator[str]:
    """Yield what is wrong with a column as the target; ``absent`` are its words for missing cells."""
    lacks = column.missing
    if lacks.all():
        yield f"{label}, the target, is empty{_count_as_missing(absent)}: name another with target"
        return
    if lacks.any() and missing == "error":
        yield (
            f"{_lacking(f'{label}, the target,', column, table, absent)}: missing: drop leaves out such rows"
            f"{_renamed(column, absent)}"
        )
    if column.words is None or is_category:
        return
    words, counts = words_of(column)
    odd = [word for word in words if not _is_like_number(word)]
    if decimal is None and not odd and (unclear := _unclear(words)):
        yield f"{label}, the target: {unclear}"
        return
    if all(map(is_number, words)):
        return
    if share(counts, map(_is_date, words)) > 0.8:
        yield f"{label}, the target, holds dates or times, such as {words[0]!r}: name another with target"
    elif (len(words) > MANY or counts.max() == 1) and share(counts, map(_has_unit, words)) > 0.8:
        yield (
            f"{label}, the target, holds numbers with a unit, such as {words[0]!r}: remove the unit, or, where these "
            "are classes, list the column under categories"
        )
    elif odd and len(odd) < len(words):
        yield (
            f"{label}, the target: {shortened(odd[0])!r} is not a number, as other targets are "
            f"({place_of(column, odd[0], table)}): correct or empty it, or, where these are "
            "classes, list the column under categories"
        )
    elif not odd:
        wrong = next((word for word in words if not is_number(word)), words[0])
        yield (
            f"{label}, the target: {shortened(wrong)!r} is no finite number ({place_of(column, wrong, table)}): set "
            "decimal, or correct it"
        )


def words_of(column: DataColumn) -> tuple[list[str], Array]:
    """Return the words that occur in a column of words, in the order of their lines, and how often each does."""
    assert column.words is not None
    codes, first, counts = np.unique(column.values[column.values >= 0], return_index=True, return_counts=True)
    order = np.argsort(first)
    return [column.words[code] for code in codes[order]], counts[order]


def share(counts: Array, chosen: Iterator[bool]) -> float:
    """Return the share of the cells whose words are chosen."""
    return float(counts[np.fromiter(chosen, bool, len(counts))].sum() / counts.sum())


def place_of(column: DataColumn, word: str, table: Table) -> str:
    """Return where a word first occurs, such as ``line 3``."""
    assert column.words is not None
    row = np.flatnonzero(column.values == column.words.index(word))[0]
    return f"{table.unit} {table.lines[row]}"


def places(table: Table, chosen: Array) -> str:
    """Return the lines of chosen rows, such as ``lines 3, 5``, shortened if there are many."""
    lines = table.lines[chosen]
    more = ", …" if len(lines) > MOST_LINES else ""
    return f"{table.unit}{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:MOST_LINES]))}{more}"


def shortened(text: str) -> str:
    """Return a text, cut to 40 characters."""
    return text if len(text) <= 40 else f"{text[:40]}…"


def _is_date(word: str) -> bool:
    return bool(_DATE.match(word)) and not is_number(word)


def _has_unit(word: str) -> bool:
    return bool(_UNIT.match(word))


def _have_one_unit(words: Sequence[str], counts: Array) -> bool:
    """Whether most cells are numbers with the same unit behind, more of them than a few doses or sizes."""
    found = [_LETTERS.match(word) for word in words]
    units = [each[2] if each else "" for each in found]
    # Other letters behind whole numbers may be those of codes, such as 1A, or of ranks, such as 5th.
    possible = {
        each[2] for each in found if each and (_KNOWN_UNIT.match(each[2]) or {*",."} & {*(each[1] or "")})
    }
    return len(words) > FEW and any(
        share(counts, (each == unit for each in units)) > 0.8 for unit in possible
    )


def _is_like_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return has_comma(word)
    return "_" not in word
