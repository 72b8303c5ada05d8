"""Plots as text: braille curves with axes, for terminals and pipes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from optrun.arrays import Array
from optrun.plots.braille import NO_SERIES, Mark, letter, plot, put_mark
from optrun.plots.ticks import PlotAxis, axis_of, labels, spans_decades, values_prefer_log

POINT = "o"
NOTHING = (np.zeros(0, np.int64), np.zeros(0))
BLOCKS = "▁▂▃▄▅▆▇█"
SMALLEST = (24, 5)
FINE = 1 << 20
"""The resolution to which the values of a given x axis are rounded; steps are integers already."""


@dataclass(frozen=True)
class Series:
    """A labelled curve: values `y [n]` at the steps `x [n]`, increasing integers.

    With a given `x_axis`, `x` are any numbers, increasing if `joined`.
    """

    label: str
    x: Array
    y: Array
    marks: Sequence[Mark] = ()
    joined: bool = True
    """Whether to draw a curve; False draws points."""


@dataclass(frozen=True)
class Drawing:
    """Lines of text, and the index of the series that each character belongs to, or NO_SERIES."""

    lines: list[str]
    owners: list[list[int]]

    def spans(self, line: int) -> list[tuple[str, int]]:
        """Return a line split into pieces `(text, owner)`, so that they can be coloured."""
        pairs = zip(self.lines[line], self.owners[line], strict=True)
        return [
            ("".join(character for character, _ in piece), owner)
            for owner, piece in groupby(pairs, key=lambda pair: pair[1])
        ]


def draw(
    series: Sequence[Series], *, width: int, height: int, log: bool | None = None, title: str = ""
) -> list[str]:
    """Return a plot of at most `height` lines of `width` characters (24 × 5 or more); several curves carry letters.

    Every column spans the minimum to the maximum within it, so a spike of one step is visible. Values that are not
    finite, or not positive on a log axis, are gaps. ``log`` None chooses a log axis if the values are positive (except
    a few zeros) and span more than two decades.
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
    """Return the plot of `draw` with the owner of every character; `x_axis` replaces the axis of steps."""
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
            put_mark(mark, index, x_axis, y_axis, characters, owners)
    for row in range(rows):
        edge = f"{at_row[row]:>{margin - 1}} ┤" if row in at_row else " " * margin + "│"
        canvas.add(edge + characters[row], [NO_SERIES] * len(edge) + owners[row])
    for line in _x_scale(x_axis, margin, columns):
        canvas.add(line)
    for line, owner in legend:
        canvas.add(line, owner)
    return Drawing(canvas.lines, canvas.owners)


def sparkline(values: Array, width: int) -> str:
    """Return a curve as a line of at most `width` block characters, on a log scale if it spans two decades."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    parts = np.array_split(finite, min(width, finite.size))
    means = np.array([part.mean() for part in parts])
    axis = axis_of(means.min(), means.max(), spans_decades(means.min(), means.max()))
    return "".join(BLOCKS[level] for level in np.rint(axis.place(means) * (len(BLOCKS) - 1)).astype(int))


class _Canvas:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.owners: list[list[int]] = []

    def add(self, line: str, owners: list[int] | None = None) -> None:
        self.lines.append(line)
        self.owners.append(owners or [NO_SERIES] * len(line))


def _axes(series: Sequence[Series], log: bool | None) -> tuple[list[tuple[Array, Array]], PlotAxis, PlotAxis]:
    """Return the curves with NaN in every gap, the y axis and the axis of steps."""
    curves = [(each.x, _finite(each.y)) for each in series]
    marked = _marked(series)
    low, high = _range([marked, *(y for _, y in curves)])
    if log is None:
        log = spans_decades(low, high) or (low == 0 and values_prefer_log([y for _, y in curves]))
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
    """Return the finite y of all marks."""
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
            lines[-1] = (f"{text}   {entry}", [*owners, *[NO_SERIES] * 3, *[index] * len(entry)])
        else:
            lines.append((entry, [index] * len(entry)))
    if len(lines) > most:
        lines = [*lines[: most - 1], ("… and more", [NO_SERIES] * len("… and more"))]
    return lines
