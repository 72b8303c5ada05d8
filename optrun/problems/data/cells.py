"""The cells of a column as text, and what they mean: numbers, words, or nothing."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np

from optrun.arrays import Array
from optrun.problems.data.columns import DataColumn, Kind, number_text

Decimal = Literal[".", ","]

MOST_DIGITS = 18
"""An integer with more digits may exceed 64 bits, and is a real number."""

MISSING = frozenset([
    "", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "None", "?",
])  # fmt: skip
"""Words for a missing cell, in any column."""

MISSING_NUMBERS = frozenset(["-", "--", ".", "na", "none", "missing"])
"""Words for a missing cell where all others are numbers."""

# Separated thousands do not begin with 0: 0,123 and 0.123 have a decimal sign.
COMMA = re.compile(r"[-+]?(\d+|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][-+]?\d+)?\Z")
BY_POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+\Z")
BY_COMMAS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?\Z")
BY_BLANKS = re.compile("[-+]?[1-9]\\d{0,2}([ '\u00a0\u202f]\\d{3})+([.,]\\d+)?\\Z")
POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?\Z")
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}\Z")
_NO_INTEGER = re.compile("[.eE]")
_SIGNS = str.maketrans("", "", "+-")
_CODE = re.compile(r"\s*0\d+\s*\Z")


def numbers_in(cells: Sequence[str]) -> Array | None:
    """Return cells as numbers ``[N]``, integers if all are; None if one is no finite number in Python's syntax."""
    text = "".join(cells)
    if not cells:
        return np.zeros(0, np.int64)
    if "_" in text or not text.isascii():  # Python's own digit separator; digits of other scripts
        return None
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        return None
    if not np.isfinite(values).all():
        return None
    if "".join(text.split()).translate(_SIGNS).isdecimal() and np.abs(values).max() < 10**MOST_DIGITS:
        return np.array(list(map(int, cells)), np.int64)
    return values


def is_code(cell: str) -> bool:
    """Whether a cell has digits that begin with 0, such as a postal code, which a number loses."""
    return _CODE.match(cell) is not None


def is_ambiguous(text: str) -> bool:
    """Whether the comma or the point of a text such as 1,234 may be a decimal sign, or separate thousands."""
    return _EITHER.match(text) is not None


def has_comma(text: str) -> bool:
    """Whether a text is a number if its comma is a decimal sign."""
    return COMMA.match(text) is not None


def has_point(text: str) -> bool:
    """Whether a text is a number whose point is a decimal sign."""
    return bool(POINT.match(text)) and not BY_POINTS.match(text)


def has_grouping_points(text: str) -> bool:
    """Whether several points in a text separate thousands, so that none is a decimal sign."""
    return text.count(".") > 1 and bool(BY_POINTS.match(text))


def shows_point(cells: Iterable[str]) -> bool:
    """Whether one of the numbers in Python's syntax has a point, or an exponent, that separates no thousands."""
    return any(_NO_INTEGER.search(cell) and not is_ambiguous(cell.strip()) for cell in cells)


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number in Python's syntax, without digit separators."""
    return numbers_in([cell]) is not None


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a column: numbers ``[N]``, or else codes ``[N]`` of distinct texts."""

    codes: Array | None = None
    texts: Sequence[str] = ()
    numbers: Array | None = None
    """NaN is missing."""
    is_whole: bool = False
    """Whether the numbers are whole, though they are real since some are missing."""
    are_words: bool = False
    """Whether texts are words though all may be numbers, such as 01."""

    @cached_property
    def code(self) -> str:
        """The first text that `is_code`; empty if there is none."""
        return next((text.strip() for text in self.texts if is_code(text)), "")

    def words_for_missing(self, kind: Kind) -> list[str]:
        """Return the words that stand for missing cells, such as NA, in a column of a kind."""
        known = MISSING | MISSING_NUMBERS if kind == "numbers" else MISSING
        return sorted({text.strip() for text in self.texts} & known - {""})

    @property
    def size(self) -> int:
        """The number of cells."""
        return len(self.codes if self.numbers is None else self.numbers)  # type: ignore[arg-type]

    @property
    def has_points(self) -> bool:
        """Whether the cells are numbers in Python's syntax that are not whole."""
        return self.numbers is not None and self.numbers.dtype.kind == "f" and not self.is_whole

    def with_first(self, text: str) -> "Cells":
        """Return the cells with one more before them."""
        if self.numbers is not None:
            first = numbers_in([text])
            if first is not None and not is_code(text) and (self.has_points or not is_ambiguous(text)):
                return Cells(numbers=np.concatenate([first, self.numbers]))
            distinct, codes = np.unique(self.numbers, return_inverse=True)
            texts: Sequence[str] = [number_text(number) for number in distinct.tolist()]
        else:
            assert self.codes is not None
            codes, texts = self.codes, self.texts
        texts = [*texts, text]
        return Cells(np.concatenate([[len(texts) - 1], codes]).astype(np.int32), texts)

    def column(self, name: str, decimal: Decimal | None, *, keep_codes: bool = False) -> DataColumn:
        """Return the column that the cells are, given the decimal sign of numbers; without, unclear ones are words.

        To ``keep_codes``, so that 01 and 1 differ, all texts are words where one is such a code.
        """
        if self.numbers is not None:
            return DataColumn(name, self.numbers, is_whole=self.is_whole or self.numbers.dtype.kind == "i")
        assert self.codes is not None
        texts = [text.strip() for text in self.texts]
        if self.are_words or (keep_codes and self.code):
            return self._of_words(name, texts)
        parsed = [None if text in MISSING else _number(text, decimal) for text in texts]
        words = {
            text for text, value in zip(texts, parsed, strict=True) if value is None and text not in MISSING
        }
        has_numbers = any(value is not None for value in parsed)
        if has_numbers and words <= MISSING_NUMBERS:
            numbers = np.array([math.nan if value is None else value for value in parsed])[self.codes]
            is_whole = all(type(value) is int for value in parsed if value is not None)
            return DataColumn(name, numbers, is_whole=is_whole)
        are_booleans = all(text.lower() in ("true", "false") for text in texts if text not in MISSING)
        return self._of_words(name, [capital(text) for text in texts] if are_booleans else texts)

    def read_as(self, kind: Kind, name: str, decimal: Decimal | None) -> DataColumn:
        """Return the column that the cells are where they are read as those of another table, which tells the kind.

        Cells that are of another kind are words.
        """
        if self.numbers is not None:
            column = self.column(name, decimal)
            return column if kind == "numbers" else column.as_words()
        texts = [text.strip() for text in self.texts]
        if kind == "booleans":
            texts = [capital(text) for text in texts]
        if kind == "numbers":
            parsed = [None if text in MISSING else _number(text, decimal) for text in texts]
            if all(
                value is not None or text in MISSING | MISSING_NUMBERS
                for text, value in zip(texts, parsed, strict=True)
            ):
                numbers = np.array([math.nan if value is None else value for value in parsed])
                return DataColumn(name, numbers[self.codes] if len(numbers) else numbers)
            texts = [
                ("" if text in MISSING_NUMBERS else text) if value is None else number_text(value)
                for text, value in zip(texts, parsed, strict=True)
            ]
        return self._of_words(name, texts)

    def _of_words(self, name: str, texts: Sequence[str]) -> DataColumn:
        assert self.codes is not None
        known = {word: i for i, word in enumerate(sorted({*texts} - MISSING))}
        places = np.array([known.get(text, -1) for text in texts], np.int32)
        return DataColumn(name, places[self.codes] if len(places) else self.codes, tuple(known))


def capital(text: str) -> str:
    """Return a boolean as Python writes it, and any other text as it is."""
    return text.capitalize() if text.lower() in ("true", "false") else text


def _number(text: str, decimal: Decimal | None) -> float | None:
    """Return a number, an integer if it is written as a whole one; None for a word."""
    if decimal == "," and COMMA.match(text):
        text = text.replace(".", "").replace(",", ".")
    elif decimal == "," and BY_POINTS.match(text):
        text = text.replace(".", "")
    elif (decimal == "," and POINT.match(text)) or (decimal is None and is_ambiguous(text)):
        return None
    elif decimal == "." and BY_COMMAS.match(text):
        text = text.replace(",", "")
    elif BY_BLANKS.match(text):
        text = re.sub("[ '\u00a0\u202f]", "", text).replace(",", ".")
    values = numbers_in([text])
    return None if values is None else cast(float, values[0].item())
