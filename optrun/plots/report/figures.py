"""What figures of Plotly are made of, as plain data: colours of values, numbers, axes, bands."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from optrun.errors import printable

Chart = dict[str, Any]
"""The `data` and the `layout` of a figure of Plotly, and its `height` in pixels."""

COLOURS = (
    "#2f86d1",
    "#e0662b",
    "#1fa37c",
    "#cc79a7",
    "#d9a400",
    "#7f6fd0",
    "#8a949e",
    "#3fb8d6",
    "#b5533c",
    "#7fa323",
)
"""Colours that are seen on white and on black."""

DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
"""Lines and points of the first ten values, the next ten, …"""

MOST_SHOWN = 8
"""How many values are drawn from the beginning; the others at a click on the legend."""


class Palette:
    """The look of each value, the same in all charts; the best values are drawn from the beginning."""

    def __init__(self, values: Sequence[str], always: str) -> None:
        self._places = {value: place for place, value in enumerate(values)}
        self._always = always
        self._drawn = {*values[:MOST_SHOWN], always}

    def of(self, values: Sequence[str], most: int = MOST_SHOWN) -> "Palette":
        """Return the same look of each value, so many others being drawn from the beginning."""
        found = Palette(list(self._places), self._always)
        found._drawn = {*values[:most], self._always}
        return found

    @property
    def note(self) -> str:
        """What is not drawn from the beginning, in words; nothing where all is."""
        more = len(self._places) - MOST_SHOWN
        return "" if more < 1 else "a click on the legend draws the other values as well"

    def draws(self, value: str) -> bool:
        """Whether a value is drawn from the beginning."""
        return value in self._drawn

    def line(self, value: str) -> dict[str, Any]:
        """Return colour and dash of the line of a value."""
        place = self._places[value]
        return {
            "color": self.colour(value),
            "dash": DASHES[place // len(COLOURS) % len(DASHES)],
            "width": 1.8,
        }

    def colour(self, value: str) -> str:
        """Return the colour of a value."""
        return COLOURS[self._places[value] % len(COLOURS)]

    def symbol(self, value: str) -> str:
        """Return the shape of the points of a value."""
        return SYMBOLS[self._places[value] // len(COLOURS) % len(SYMBOLS)]

    def shade(self, value: str) -> str:
        """Return the colour of the area about a line."""
        red, green, blue = (int(self.colour(value)[start : start + 2], 16) for start in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.15)"

    def trace(self, value: str, *, legend: bool = True) -> dict[str, Any]:
        """Return what all traces of a value share."""
        return {
            "name": label(value),
            "legendgroup": label(value),
            "showlegend": legend,
            "visible": True if self.draws(value) else "legendonly",
        }


def label(text: str) -> str:
    """Return a text that Plotly, which knows some markup, shows as it is."""
    return escape(printable(text), quote=False)


def numbers(values: Iterable[float | None], *, positive: bool = False) -> list[float | None]:
    """Return numbers in five significant digits; None for what is not finite, or cannot be on a log axis."""
    return [
        None
        if value is None or not math.isfinite(value) or (positive and value <= 0)
        else float(f"{value:.5g}")
        for value in map(_plain, values)
    ]


def _plain(value: Any) -> float | None:
    return None if value is None else float(value)


def axis(title: str, *, log: bool = False, **options: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    own = {
        "type": "log" if log else "linear",
        "exponentformat": "e",
        "showline": True,
        "automargin": True,
    }
    return {"title": {"text": label(title)}, **own, **options}


def axis_range(values: Sequence[float], *, log: bool) -> dict[str, Any]:
    """Return the range of an axis that holds values, as an option of it."""
    seen = [each for each in values if math.isfinite(each) and (each > 0 or not log)]
    if not seen or min(seen) == max(seen):
        return {}
    low, high = (math.log10(end) if log else end for end in (min(seen), max(seen)))
    margin = 0.06 * (high - low)
    return {"range": [low - margin, high + margin]}


def layout(**options: Any) -> dict[str, Any]:
    """Return the layout that all charts have."""
    return {"margin": {"l": 60, "r": 10, "t": 30, "b": 45}, "hovermode": "closest", **options}


def banded(
    value: str,
    x: Sequence[float],
    middle: Sequence[float],
    band: Sequence[Sequence[float]],
    palette: Palette,
    *,
    log: bool,
    legend: bool = True,
    **axes: str,
) -> list[dict[str, Any]]:
    """Return the traces of a line and of the area between two others; ``axes`` are those they belong to."""
    shared = {"x": numbers(x), "mode": "lines", **axes}
    traces: list[dict[str, Any]] = []
    for place, edge in enumerate(band):
        traces.append(
            {
                **palette.trace(value, legend=False),
                **shared,
                "y": numbers(edge, positive=log),
                "line": {"width": 0},
                "hoverinfo": "skip",
                **({"fill": "tonexty", "fillcolor": palette.shade(value)} if place else {}),
            }
        )
    own = {**palette.trace(value, legend=legend), **shared, "line": palette.line(value)}
    return [*traces, {**own, "y": numbers(middle, positive=log)}]
