"""Pieces of HTML: escaped text, numbers, sortable tables, intervals drawn in a cell."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from optrun.analysis.selection import NONE
from optrun.errors import printable

WIDTH, HEIGHT, MARGIN = 150, 14, 5
"""The size of a drawn interval in pixels."""

FENCES = 3.0
"""How far beyond the quartiles a value is still within the axis of intervals, in units of their distance."""


def shown(value: object) -> str:
    """Return a value as text that HTML cannot mistake for markup."""
    return escape(printable(str(value)))


def text_of(value: object) -> str:
    """Return a value of a config as a text: of a part its name."""
    if isinstance(value, Mapping):
        value = value.get("name", "…")
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


def breakable(text: str) -> str:
    """Return a text as `shown` does, which may go on in another line behind a sign."""
    return "<wbr>".join(map(shown, re.split(r"(?<=[_(=])", text)))


def interval(low: float | None, high: float | None, form: str = ".4g") -> str:
    """Return an interval in brackets; an empty text where there is none."""
    return "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"


@dataclass(frozen=True)
class Td:
    """A cell of a table; ``markup`` is HTML in place of the text."""

    text: str
    key: float | None = None
    """The number that the table is sorted by, and that puts the cell to the right; NaN comes last."""
    markup: str = ""
    title: str = ""
    style: str = ""
    link: str = ""
    """The id of what the text leads to."""

    @property
    def is_number(self) -> bool:
        """Whether the cell is put to the right."""
        return self.key is not None and not self.markup

    def to_html(self) -> str:
        """Return the element."""
        given = {"title": shown(self.title), "style": shown(self.style)}
        if self.key is not None:
            given |= {
                "class": "" if self.markup else "number",
                "data-key": f"{self.key:.17g}" if math.isfinite(self.key) else "",
            }
        attributes = "".join(f' {name}="{value}"' for name, value in given.items() if value or name[0] == "d")
        content = self.markup or shown(self.text)
        if self.link:
            content = f'<a href="#{shown(self.link)}">{content}</a>'
        return f"<td{attributes}>{content}</td>"


def numeric(value: float | None, form: str = ".4g", missing: str = "") -> Td:
    """Return a cell with a number, or what is said where there is none."""
    return Td(missing, math.nan) if value is None else Td(format(value, form), value)


def table(heads: Sequence[str], rows: Iterable[Sequence[Td]], *, caption: str = "", kind: str = "") -> str:
    """Return a table that sorts by the column that is clicked; columns without text are left out."""
    body = [list(row) for row in rows]
    kept = [
        place for place, _ in enumerate(heads) if any(row[place].text or row[place].markup for row in body)
    ]
    is_number = [any(row[place].is_number for row in body) for place, _ in enumerate(heads)]
    head = "".join(
        f'<th scope="col"{" class=number" if is_number[place] else ""}>'
        f'<button type="button">{breakable(heads[place])}</button></th>'
        for place in kept
    )
    lines = "\n".join(f"<tr>{''.join(row[place].to_html() for place in kept)}</tr>" for row in body)
    title = f"<caption>{shown(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table class="sortable {kind}">{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table></div>"
    )


@dataclass(frozen=True)
class Strip:
    """The axis of intervals that are drawn below each other."""

    low: float
    high: float
    mark: float | None = None
    """Where a vertical line is drawn."""

    @classmethod
    def over(cls, values: Iterable[float | None], mark: float | None = None) -> "Strip":
        """Return the axis that holds the values, but for those far from most of them."""
        finite = sorted(each for each in values if each is not None and math.isfinite(each))
        if not finite:
            return cls(0.0, 1.0, mark)
        first, third = finite[len(finite) // 4], finite[3 * len(finite) // 4]
        reach = FENCES * (third - first)
        seen = [each for each in finite if first - reach <= each <= third + reach]
        seen += [] if mark is None else [mark]
        return cls(min(seen), max(seen), mark)

    def draw(self, value: float | None, low: float | None, high: float | None) -> Td:
        """Return a cell with a dot and the line of its interval; a dot beyond the axis is hollow."""
        if value is None:
            return Td("")
        middle = HEIGHT / 2
        parts = []
        if self.mark is not None:
            at = self._place(self.mark)
            parts.append(f'<line class="mark" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>')
        if low is not None and high is not None:
            parts.append(
                f'<line x1="{self._place(low)}" x2="{self._place(high)}" y1="{middle:g}" y2="{middle:g}"/>'
            )
        beyond = "" if self.low <= value <= self.high else ' class="beyond"'
        parts.append(f'<circle{beyond} cx="{self._place(value)}" cy="{middle:g}" r="3.5"/>')
        drawn = (
            f'<svg class="strip" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'
        )
        return Td("", value, markup=drawn)

    def _place(self, value: float) -> str:
        part = 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)
        return f"{MARGIN + (WIDTH - 2 * MARGIN) * min(1.0, max(0.0, part)):.1f}"
