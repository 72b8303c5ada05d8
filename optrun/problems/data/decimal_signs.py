"""The decimal sign of a table, which its numbers show.

The comma of 1,234 and the point of 1.234 may be decimal signs, or separate thousands. The other numbers of the table
say which. Where they do not, the decimal sign of a training table must be set, but where commas separate the cells and
all numbers of a column have a point. That of new samples is the training table's; a sign that separates no thousands
there is refused where it may do so here.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from optrun.problems.data.cells import (
    BY_BLANKS,
    BY_COMMAS,
    BY_POINTS,
    COMMA,
    Cells,
    Decimal,
    has_point,
    is_ambiguous,
)

Thousands = Literal["", ",", ".", " "]
"""What separates thousands; empty if nothing does."""


def signs_in_words(decimal: Decimal | None, thousands: Thousands) -> list[str]:
    """Return what is unusual about the signs in numbers, in words."""
    return ["decimal commas"] * (decimal == ",") + ["thousands are separated"] * bool(thousands)


def mixed_signs(points: Sequence[str], decimal: Decimal | None) -> list[str]:
    """Return what is wrong with columns that have decimal points, given their labels, where the sign is a comma."""
    if decimal != "," or not points:
        return []
    return [f"{', '.join(points)} with decimal points, where numbers have commas: make them alike"]


def usual_sign(columns: Iterable[Cells], separator: Decimal | None) -> Decimal | None:
    """Return the decimal sign that a table's ``separator`` tells, unless thousands may be separated.

    They may where whole numbers stand beside some with a point before three digits, as they do below and above 1.000.
    """
    for cells in columns:
        texts = list(_texts([cells]))
        if any(map(str.isdecimal, texts)) and any("." in text and is_ambiguous(text) for text in texts):
            return None
    return separator


def thousands_sign(columns: Iterable[Cells], decimal: Decimal | None) -> Thousands:
    """Return what separates thousands in a table whose decimal sign is known."""
    found: Thousands = ""
    for text in _texts(columns):
        if decimal == "." and BY_COMMAS.match(text):
            return ","
        if decimal == "," and (BY_POINTS.match(text) or (COMMA.match(text) and "." in text)):
            return "."
        if BY_BLANKS.match(text):
            found = " "
    return found


def sign_of(
    columns: Sequence[Cells], usual: Decimal | None, *, has_thousands: bool
) -> tuple[Decimal | None, str]:
    """Return the decimal sign of columns of numbers, and what is wrong with it, or nothing.

    Where the numbers show none it is the ``usual`` one, that of the training samples if these are others; there the
    other sign separates thousands if it ``has_thousands``.
    """
    shown = _shown(columns)
    if len(shown) == 1:
        return next(iter(shown)), ""
    if shown:
        point = f", such as {shown['.']!r}" if shown["."] else ""
        return (
            usual,
            f"numbers with a decimal comma, such as {shown[',']!r}, and others with decimal points{point}: make them "
            "alike",
        )
    unclear = (
        text for text in _texts(columns) if is_ambiguous(text) and (usual is None or usual not in text)
    )
    if (usual is None or not has_thousands) and (text := next(unclear, "")):
        sign = "comma" if "," in text else "point"
        digits = text.replace(",", "").replace(".", "")
        # Three digits behind a sign that is not the usual one remain unclear: a fourth tells.
        fraction = re.sub("[.,]", usual, text) if usual else f"{text.replace(',', '.')}0"
        return (
            usual,
            f"the {sign} of {text!r} may be a decimal sign or separate thousands, which no number in training does: "
            f"write such numbers as {fraction} or {digits}, or set decimal",
        )
    return usual, ""


def _shown(columns: Iterable[Cells]) -> dict[Decimal, str]:
    """Return by decimal sign a number that surely has it; the text is empty where numbers are no texts any more."""
    columns = list(columns)
    found: dict[Decimal, str] = {}
    for text in _texts(columns):
        if sign := _sign_in(text):
            found.setdefault(sign, text)
    if any(cells.has_points for cells in columns):
        found.setdefault(".", "")
    return found


def _sign_in(text: str) -> Decimal | None:
    if is_ambiguous(text):
        return None
    if BY_POINTS.match(text) or (COMMA.match(text) and not BY_COMMAS.match(text)):
        return ","
    return "." if BY_COMMAS.match(text) or has_point(text) else None


def _texts(columns: Iterable[Cells]) -> Iterable[str]:
    """Return the texts that may be numbers, each once."""
    texts = (text.strip() for cells in columns for text in cells.texts)
    return dict.fromkeys(text for text in texts if text[-1:].isdecimal())
