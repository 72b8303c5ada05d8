"""Curves as text: braille dots in a frame, for any terminal and for pipes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from optrun.arrays import Array
from optrun.plots.braille import NOBODY, Mark, letter, plot, put
from optrun.plots.ticks import PlotAxis, axis_of, helps, labels, log_shows_more

POINT = "o"
NOTHING = (np.zeros(0, np.int64), np.zeros(0))
BLOCKS = "▁▂▃▄▅▆▇█"
SMALLEST = (24, 5)
FINE = 1 << 20
"""Into how many parts an x axis that is not one of steps is divided."""


@dataclass(frozen=True)
class Series:
    """A curve: what it is called, and values `y` at the steps `x`, increasing integers; both `[n]`.

    On an x axis that is given, `x` are any numbers, increasing where the values are joined.
    """

    label: str
    x: Array
    y: Array
    marks: Sequence[Mark] = ()
    joined: bool = True
    """Whether it is a curve, and not points."""


@dataclass(frozen=True)
class Drawing:
    """Lines of text, and whose each character is: the index of a series, or NOBODY."""

    lines: list[str]
    owners: list[list[int]]

    def spans(self, line: int) -> list[tuple[str, int]]:
        """Return a line in pieces `(text, owner)`, to be coloured."""
        pairs = zip(self.lines[line], self.owners[line], strict=True)
        return [
            ("".join(character for character, _ in piece), owner)
            for owner, piece in groupby(pairs, key=lambda pair: pair[1])
        ]


def draw(
    series: Sequence[Series], *, width: int, height: int, log: bool | None = None, title: str = ""
) -> list[str]:
    """Return curves drawn in `height` lines of `width` characters at most; several carry letters.

    Every column shows the least and the greatest value within it, so a spike of one step is seen. Values that
    are not finite, or not positive on a log axis, are gaps. ``log`` None chooses a log axis where values are
    positive, but for a few zeros, and span more than two decades. Less than 24 × 5 characters are taken as 24 × 5.
    """
    return drawing(series, width=width, height=height, log=log, title=title).lines


def drawing(
    series: Sequence[Series],
    *,
    width: int,
    height: int,
    log: bool | None = None,
    title: str = "",
    x_axis: PlotAxis | None = None,
) -> Drawing:
    """Return what `draw` does, with the owner of every character; `x_axis` is one that need not be of steps."""
    width, height = max(width, SMALLEST[0]), max(height, SMALLEST[1])
    chosen, y_axis, steps = _axes(series, log)
    x_axis, grid = x_axis or steps, steps
    if x_axis is not steps:
        chosen = [(np.rint(x_axis.place(x) * FINE).astype(np.int64), y) for x, y in chosen]
        grid = PlotAxis(0, FINE, whole=True)
    canvas = _Canvas()
    if title:
        heading = f"{title} (log)" if y_axis.log else title
        canvas.add(heading[:width])
    legend = _legend(series, width, height // 3)
    rows = height - len(canvas.lines) - len(legend) - 2
    some = any(np.isfinite(y).any() for _, y in chosen) or _marked(series).size > 0
    ticks = y_axis.ticks(max(2, rows // 3)) if some else []
    names = labels(ticks)
    margin = max((len(name) for name in names), default=0) + 1
    columns = width - margin - 1
    places = (rows - 1 - np.rint(y_axis.place(np.array(ticks)) * (rows - 1))).astype(int).tolist()
    at_row = dict(zip(places, names, strict=True))
    curves = [points if each.joined else NOTHING for each, points in zip(series, chosen, strict=True)]
    characters, owners = plot(curves, grid, y_axis, rows, columns)
    if not some:
        characters[rows // 2] = "no finite values".center(columns)
    for index, each in enumerate(series):
        character = letter(index) if len(series) > 1 else POINT
        points = (
            [] if each.joined else [Mark(*point, character) for point in zip(each.x, each.y, strict=True)]
        )
        for mark in (*points, *each.marks):
            put(mark, index, x_axis, y_axis, characters, owners)
    for row in range(rows):
        edge = f"{at_row[row]:>{margin - 1}} ┤" if row in at_row else " " * margin + "│"
        canvas.add(edge + characters[row], [NOBODY] * len(edge) + owners[row])
    for line in _x_scale(x_axis, margin, columns):
        canvas.add(line)
    for line, owner in legend:
        canvas.add(line, owner)
    return Drawing(canvas.lines, canvas.owners)


def sparkline(values: Array, width: int) -> str:
    """Return a curve in one line of at most `width` block characters, on a log scale where that helps."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    parts = np.array_split(finite, min(width, finite.size))
    means = np.array([part.mean() for part in parts])
    axis = axis_of(means.min(), means.max(), helps(means.min(), means.max()))
    return "".join(BLOCKS[level] for level in np.rint(axis.place(means) * (len(BLOCKS) - 1)).astype(int))


class _Canvas:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.owners: list[list[int]] = []

    def add(self, line: str, owners: list[int] | None = None) -> None:
        self.lines.append(line)
        self.owners.append(owners or [NOBODY] * len(line))


def _axes(series: Sequence[Series], log: bool | None) -> tuple[list[tuple[Array, Array]], PlotAxis, PlotAxis]:
    """Return the curves with NaN in every gap, and the axes that hold them."""
    curves = [(each.x, _finite(each.y)) for each in series]
    marked = _marked(series)
    low, high = _range([marked, *(y for _, y in curves)])
    if log is None:
        log = helps(low, high) or (low == 0 and log_shows_more([y for _, y in curves]))
    if log and not low > 0:
        curves = [(x, np.where(y > 0, y, np.nan)) for x, y in curves]
        low, high = _range([marked[marked > 0], *(y for _, y in curves)])
        log = low > 0
    x_low, x_high = _range([x[[0, -1]] for x, _ in curves if x.size])
    return (
        curves,
        axis_of(low, high, log),
        PlotAxis(x_low, x_high if x_high > x_low else x_low + 1, whole=True),
    )


def _marked(series: Sequence[Series]) -> Array:
    """Return the finite heights of marks."""
    heights = np.array([mark.y for each in series for mark in each.marks], np.float64)
    return heights[np.isfinite(heights)]


def _finite(values: Array) -> Array:
    y = np.asarray(values, np.float64)
    finite = np.isfinite(y)
    return y if finite.all() else np.where(finite, y, np.nan)


def _range(arrays: Sequence[Array]) -> tuple[float, float]:
    ends = [(np.fmin.reduce(array), np.fmax.reduce(array)) for array in arrays if array.size]
    known = [(float(low), float(high)) for low, high in ends if low <= high]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else (0.0, 0.0)


def _x_scale(axis: PlotAxis, margin: int, columns: int) -> list[str]:
    ticks = axis.ticks(max(2, columns // 14))
    line, text = ["─"] * columns, [" "] * (margin + 1 + columns)
    for tick, name in zip(ticks, labels(ticks), strict=True):
        column = round(float(axis.place(np.array(tick))) * (columns - 1))
        line[column] = "┬"
        start = min(margin + 1 + column - len(name) // 2, len(text) - len(name))
        text[start : start + len(name)] = name
    return [" " * margin + "└" + "".join(line), "".join(text).rstrip()]


def _legend(series: Sequence[Series], width: int, most: int) -> list[tuple[str, list[int]]]:
    if len(series) < 2:
        return []
    lines: list[tuple[str, list[int]]] = []
    for index, each in enumerate(series):
        entry = f"{letter(index)} {each.label}"[: width - 3]
        if lines and len(lines[-1][0]) + 3 + len(entry) <= width:
            text, owners = lines[-1]
            lines[-1] = (f"{text}   {entry}", [*owners, *[NOBODY] * 3, *[index] * len(entry)])
        else:
            lines.append((entry, [index] * len(entry)))
    if len(lines) > most:
        lines = [*lines[: most - 1], ("… and more", [NOBODY] * len("… and more"))]
    return lines
