"""Small HTML tables, as notebooks show them; all texts are escaped."""

from collections.abc import Sequence
from html import escape
from typing import Any

from optrun.errors import printable


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Return a table; numbers are at the right, floats have four digits, and None is empty."""
    lines = [f"<p>{_text(caption)}</p>"] if caption else []
    lines += [
        "<table>",
        "<thead>",
        f"<tr>{''.join(f'<th>{_text(each)}</th>' for each in header)}</tr>",
        "</thead>",
    ]
    lines += ["<tbody>", *(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows), "</tbody>", "</table>"]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    place = ' style="text-align: right"' if number else ""
    return f"<td{place}>{_text('' if value is None else f'{value:.4g}' if isinstance(value, float) else value)}</td>"


def _text(value: Any) -> str:
    return escape(printable(str(value)))
